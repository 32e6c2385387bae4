//! What things cost: price books, each with where its figures come from.
//!
//! A [`Book`] is text, ours or a user's, that was checked once: every rate is finite and not negative.
//! [`bill`] holds a run against it: quantity × rate = amount, line by line.

mod bill;
mod book;

pub use bill::{Bill, Line, MONTH_HOURS, NoPrice, bill};
pub use book::{Book, BookError, Entry, Provenance, STALE_DAYS, Sells, Unit};
