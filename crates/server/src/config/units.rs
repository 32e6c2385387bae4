//! Durations and sizes as people write them: a whole number and its unit, `10s`, `64KiB`.
//!
//! A bare number is refused everywhere: "is that seconds or milliseconds?" is a
//! question nobody should have to ask of a running server.

use std::time::Duration;

/// Units of time, with their nanoseconds; ascending.
const TIMES: &[(&str, u64)] = &[
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60 * 1_000_000_000),
    ("h", 3_600 * 1_000_000_000),
    ("d", 86_400 * 1_000_000_000),
];

/// Units of size, with their bytes; those of 1024 first, because we print them.
const SIZES: &[(&str, u64)] = &[
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

/// How many of [`SIZES`] are printed.
const SIZES_PRINTED: usize = 5;

/// Reads `250ms`, `10s`, `5m`, `24h` or `7d`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    parse(text, TIMES).map(Duration::from_nanos)
}

/// Reads `512B`, `64KiB`, `16MiB`, `1GiB`, `2TiB`, or the decimal `kB`, `MB`, `GB`, `TB`.
pub fn parse_size(text: &str) -> Option<u64> {
    parse(text, SIZES)
}

/// Writes a duration as it is read, with the largest unit that leaves it whole.
pub fn print_duration(duration: Duration) -> String {
    print(duration.as_nanos().try_into().unwrap_or(u64::MAX), TIMES)
}

/// Writes a size as it is read, with the largest unit that leaves it whole.
pub fn print_size(bytes: u64) -> String {
    print(bytes, &SIZES[..SIZES_PRINTED])
}

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

fn print(amount: u64, units: &[(&str, u64)]) -> String {
    let is_whole = |(_, factor): &&(&str, u64)| amount.is_multiple_of(*factor);
    let (name, factor) = match amount {
        0 => units.iter().find(|(name, _)| *name == "s").unwrap_or(&units[0]),
        _ => units.iter().rev().find(is_whole).unwrap_or(&units[0]),
    };
    format!("{}{name}", amount / factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_read_back() {
        for text in ["250ms", "0s", "1500ms", "10s", "90s", "5m", "24h", "7d"] {
            let duration = parse_duration(text).expect(text);
            assert_eq!(
                parse_duration(&print_duration(duration)),
                Some(duration),
                "{text}"
            );
        }
        assert_eq!(print_duration(Duration::from_secs(7_200)), "2h");
        assert_eq!(print_duration(Duration::ZERO), "0s");
        for text in ["0B", "512B", "64KiB", "1MiB", "3GiB", "1TiB"] {
            assert_eq!(print_size(parse_size(text).expect(text)), text);
        }
        assert_eq!(parse_size("1MB"), Some(1_000_000));
        assert_eq!(parse_size("16 MiB"), Some(16 << 20));
    }

    #[test]
    fn numbers_without_a_unit_and_nonsense_are_refused() {
        for text in [
            "",
            "10",
            "s",
            "-1s",
            "1.5s",
            "10 sec",
            "10S",
            "99999999999999999999s",
            "300000000000d",
        ] {
            assert_eq!(parse_duration(text), None, "{text:?}");
        }
        for text in ["64", "64K", "64kib", "KiB", "-1B", "99999999TiB"] {
            assert_eq!(parse_size(text), None, "{text:?}");
        }
    }
}
