//! What things cost: price books, each with where its figures come from.
//!
//! A [`Book`] is text, ours or a user's, that was checked once: every rate is finite and not negative.
//! What a design comes to with it is not computed here.

mod book;

pub use book::{Book, BookError, Entry, Provenance, STALE_DAYS, Sells, Unit};
