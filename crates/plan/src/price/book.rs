//! A price book: a vendor's list for one region, as TOML.
//!
//! ```text
//!   name, currency, region, as_of = "2026-07-20"
//!   [entries]
//!   "c7g.medium" = { kind, rate, unit, included_gb?, provenance, source }
//! ```
//!
//! It does not know the day: who asks whether a book is stale says what today is.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

/// Days after which a book is stale.
pub const STALE_DAYS: i64 = 90;

/// See the module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Book {
    pub name: String,
    pub currency: String,
    pub region: String,
    /// `YYYY-MM-DD`.
    pub as_of: String,
    pub entries: BTreeMap<String, Entry>,
}

/// One price.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    pub kind: Sells,
    pub rate: f64,
    pub unit: Unit,
    /// Gigabytes of egress a month that come with it.
    #[serde(default)]
    pub included_gb: f64,
    pub provenance: Provenance,
    /// In words: whose list, and of when.
    pub source: String,
}

/// What is sold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sells {
    Machine,
    Postgres,
    PostgresDisk,
    Redis,
    Lb,
    LbUnit,
    Disk,
    Queue,
    Stream,
    Egress,
    Interzone,
    /// Messages of a hosted service, its minutes, and what it costs without any.
    Hosted,
}

/// What a rate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    Hour,
    Month,
    Gb,
    GbMonth,
    MillionRequests,
    /// Of connections.
    MillionMinutes,
    /// Of a unit of a load balancer.
    LcuHour,
}

/// How well a figure is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Provenance {
    /// From the vendor's own data.
    Primary,
    /// From a copy of it.
    Secondary,
    Assumed,
}

/// Why a text is no price book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BookError {
    /// From 1, where it is known.
    pub line: Option<usize>,
    pub what: String,
}

impl fmt::Display for BookError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

impl std::error::Error for BookError {}

impl Book {
    /// Those that come with the planner.
    pub const NAMES: [&str; 2] = ["aws-us-east-1", "hetzner-eu"];

    /// A book that comes with the planner; none if there is none of that name.
    pub fn by_name(name: &str) -> Option<Self> {
        let text = match name {
            "aws-us-east-1" => include_str!("../../../../prices/aws-us-east-1.toml"),
            "hetzner-eu" => include_str!("../../../../prices/hetzner-eu.toml"),
            _ => return None,
        };
        Self::parse(text).ok()
    }

    /// Reads a book, ours or a user's.
    pub fn parse(text: &str) -> Result<Self, BookError> {
        let book: Self = toml::from_str(text).map_err(|error| BookError {
            line: error.span().map(|span| line_at(text, span.start)),
            what: error.message().to_owned(),
        })?;
        if day(&book.as_of).is_none() {
            return Err(BookError {
                line: None,
                what: format!("as_of: {:?} is not a date such as 2026-07-20", book.as_of),
            });
        }
        for (name, entry) in &book.entries {
            for (key, value) in [("rate", entry.rate), ("included_gb", entry.included_gb)] {
                if !(0.0..=1e9).contains(&value) {
                    return Err(BookError {
                        line: None,
                        what: format!("{name:?}: {key}: {value} is not from 0 to 1e9"),
                    });
                }
            }
        }
        Ok(book)
    }

    /// The price of a size; case does not matter.
    pub fn entry(&self, size: &str) -> Option<&Entry> {
        self.entries
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(size))
            .map(|(_, entry)| entry)
    }

    /// The first price of what is sold by one only: disks, egress.
    pub fn of(&self, kind: Sells) -> Option<&Entry> {
        self.entries.values().find(|entry| entry.kind == kind)
    }

    /// Whether it is older than [`STALE_DAYS`]; none if `today` is not a date.
    pub fn is_stale(&self, today: &str) -> Option<bool> {
        Some(day(today)? - day(&self.as_of)? > STALE_DAYS)
    }
}

fn line_at(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}

/// Days since some day, of a date of the Gregorian calendar.
fn day(date: &str) -> Option<i64> {
    let bytes = date.as_bytes();
    let is_date = bytes.len() == 10
        && bytes.iter().enumerate().all(|(at, byte)| {
            if at == 4 || at == 7 {
                *byte == b'-'
            } else {
                byte.is_ascii_digit()
            }
        });
    if !is_date {
        return None;
    }
    let (year, month, of_month): (i64, i64, i64) = (
        date[..4].parse().ok()?,
        date[5..7].parse().ok()?,
        date[8..].parse().ok()?,
    );
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(is_leap),
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=length).contains(&of_month) {
        return None;
    }
    // A year is counted from March, so that the leap day is its last.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    Some(
        365 * year + year.div_euclid(4) - year.div_euclid(100)
            + year.div_euclid(400)
            + (153 * month + 2) / 5
            + of_month,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_books_that_come_with_it_are_right() {
        for (name, text) in [
            (
                "aws-us-east-1",
                include_str!("../../../../prices/aws-us-east-1.toml"),
            ),
            ("hetzner-eu", include_str!("../../../../prices/hetzner-eu.toml")),
        ] {
            let book = Book::parse(text).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(book.name, name);
            assert_eq!(Book::by_name(name), Some(book));
        }
        assert_eq!(Book::by_name("nowhere"), None);
    }

    #[test]
    fn an_error_says_its_line_or_its_value() {
        let aws = include_str!("../../../../prices/hetzner-eu.toml");
        let error = Book::parse(&aws.replace("5.39", "\"much\"")).unwrap_err();
        assert_eq!(error.line, Some(11), "{error}");
        for bad in ["-1.0", "nan", "inf", "1e308"] {
            let error = Book::parse(&aws.replace("5.39", bad)).unwrap_err();
            assert!(error.what.contains("\"hetzner-lb\": rate"), "{error}");
        }
        let error = Book::parse(&aws.replace("2025-10-01", "2025-02-29")).unwrap_err();
        assert!(error.what.contains("2025-02-29"), "{error}");
    }

    #[test]
    fn a_book_is_stale_after_ninety_days() {
        let book = Book::by_name("aws-us-east-1").unwrap();
        assert_eq!(book.is_stale("2026-10-18"), Some(false));
        assert_eq!(book.is_stale("2026-10-19"), Some(true));
        assert_eq!(book.is_stale("é026-10-1"), None);
        assert_eq!(day("2024-03-01").unwrap() - day("2024-02-28").unwrap(), 2);
        assert_eq!(day("2026-01-01").unwrap() - day("2025-12-31").unwrap(), 1);
    }
}
