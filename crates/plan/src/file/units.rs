//! Quantities as people write them: `120ms`, `1h30min`, `2KiB`, `99.9%`, `1/30s`.
//!
//! A number without its unit is refused where a unit belongs: "is that seconds or milliseconds?" is a
//! question nobody should have to ask of a plan. What is printed is read back as exactly the same number:
//! units of ten move the decimal point in the text and never multiply.

/// Units of time that move the decimal point of a second.
const FRACTIONS: [(&str, i32); 4] = [("ns", -9), ("us", -6), ("ms", -3), ("s", 0)];
/// Units of time above, with their seconds.
const MULTIPLES: [(&str, f64); 3] = [("min", 60.0), ("h", 3_600.0), ("d", 86_400.0)];
/// Units of size; those of 1024 first, because we print them.
const SIZES: [(&str, f64); 7] = [
    ("B", 1.0),
    ("KiB", 1024.0),
    ("MiB", 1_048_576.0),
    ("GiB", 1_073_741_824.0),
    ("kB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
];
/// How many of [`SIZES`] are printed.
const SIZES_PRINTED: usize = 4;
/// Longest text of one quantity; the smallest of numbers has 326 characters.
const BYTES_MAX: usize = 400;

/// Reads `120ms`, `1.5s`, `20min`, `1h30min`: seconds.
pub(super) fn parse_duration(text: &str) -> Option<f64> {
    let (seconds, _) = parts(text)?;
    Some(seconds)
}

/// Writes seconds.
pub(super) fn print_duration(seconds: f64) -> String {
    if seconds == 0.0 {
        return "0s".to_owned();
    }
    for (unit, factor) in [("h", 3_600.0), ("min", 60.0)] {
        let count = seconds / factor;
        if count >= 1.0 && count == count.floor() && count * factor == seconds {
            return format!("{count}{unit}");
        }
    }
    let unit = FRACTIONS
        .iter()
        .rev()
        .find(|(_, places)| seconds >= power(*places));
    let (unit, places) = unit.unwrap_or(&FRACTIONS[0]);
    format!("{}{unit}", shifted(seconds, -places))
}

/// Reads a duration: hours.
pub(super) fn parse_hours(text: &str) -> Option<f64> {
    match parts(text)? {
        // Not by way of seconds, which would round.
        (_, Some(hours)) => Some(hours),
        (seconds, None) => Some(seconds / 3_600.0),
    }
}

/// Writes hours.
pub(super) fn print_hours(hours: f64) -> String {
    format!("{hours}h")
}

/// Reads `99.9%`: 0.999.
pub(super) fn parse_share(text: &str) -> Option<f64> {
    let number = text.strip_suffix('%')?.trim_end();
    scaled(number, -2)
}

/// Writes a share in percent.
pub(super) fn print_share(share: f64) -> String {
    format!("{}%", shifted(share, 2))
}

/// Reads `200B`, `2KiB`, `1MB`: whole bytes.
pub(super) fn parse_bytes(text: &str) -> Option<f64> {
    let (number, unit) = number_and_rest(text)?;
    let (_, factor) = SIZES.iter().find(|(name, _)| *name == unit)?;
    let bytes = scaled(number, 0)? * factor;
    (bytes == bytes.floor()).then_some(bytes)
}

/// Writes bytes with the largest unit that leaves them whole.
pub(super) fn print_bytes(bytes: f64) -> String {
    let is_whole = |(_, factor): &&(&str, f64)| {
        let count = bytes / factor;
        count >= 1.0 && count == count.floor()
    };
    let unit = SIZES[..SIZES_PRINTED].iter().rev().find(is_whole);
    let (unit, factor) = unit.unwrap_or(&SIZES[0]);
    format!("{}{unit}", bytes / factor)
}

/// Reads `0.5/s`, `20/min`, `1/30s`: a second.
pub(super) fn parse_rate(text: &str) -> Option<f64> {
    let (count, per) = text.split_once('/')?;
    let count = scaled(count.trim(), 0)?;
    let per = per.trim();
    let seconds = match per.starts_with(|first: char| first.is_ascii_digit()) {
        true => parse_duration(per)?,
        false => parse_duration(&format!("1{per}"))?,
    };
    let rate = count / seconds;
    rate.is_finite().then_some(rate)
}

/// Writes a rate: `1/30s` where that says it best.
pub(super) fn print_rate(rate: f64) -> String {
    let plain = format!("{rate}/s");
    if plain.len() <= "0.05/s".len() {
        return plain;
    }
    let (every, per_minute) = ((1.0 / rate + 0.5).floor(), (rate * 60.0 + 0.5).floor());
    [
        format!("1/{}", print_duration(every)),
        format!("{per_minute}/min"),
    ]
    .into_iter()
    .find(|text| parse_rate(text) == Some(rate))
    .unwrap_or(plain)
}

/// Reads `16KiB/s`: bytes a second.
pub(super) fn parse_byte_rate(text: &str) -> Option<f64> {
    parse_bytes(text.strip_suffix("/s")?.trim_end())
}

/// Writes bytes a second.
pub(super) fn print_byte_rate(rate: f64) -> String {
    format!("{}/s", print_bytes(rate))
}

/// Reads `p95 < 120ms`: the percentile as a share, and seconds.
pub(super) fn parse_target(text: &str) -> Option<(f64, f64)> {
    let (percentile, within) = text.strip_prefix('p')?.split_once('<')?;
    Some((
        scaled(percentile.trim_end(), -2)?,
        parse_duration(within.trim_start())?,
    ))
}

/// Writes a target.
pub(super) fn print_target(percentile: f64, within: f64) -> String {
    format!("p{} < {}", shifted(percentile, 2), print_duration(within))
}

/// Seconds of a duration, and its hours if it is of hours only.
fn parts(text: &str) -> Option<(f64, Option<f64>)> {
    let (mut seconds, mut hours) = (0.0, None);
    let (mut rest, mut last) = (text, f64::INFINITY);
    if text.len() > BYTES_MAX {
        return None;
    }
    while !rest.is_empty() {
        let (number, unit_and_more) = number_and_rest(rest)?;
        let letters = unit_and_more.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, more) = unit_and_more.split_at(letters);
        let (part, size) = match FRACTIONS.iter().find(|(name, _)| *name == unit) {
            Some((_, places)) => (scaled(number, *places)?, power(*places)),
            None => {
                let (_, factor) = MULTIPLES.iter().find(|(name, _)| *name == unit)?;
                (scaled(number, 0)? * factor, *factor)
            }
        };
        // From large to small, each once: `1h30min`.
        if size >= last {
            return None;
        }
        if unit == "h" && rest.len() == text.len() && more.is_empty() {
            hours = scaled(number, 0);
        }
        (seconds, last, rest) = (seconds + part, size, more);
    }
    (last < f64::INFINITY && f64::is_finite(seconds)).then_some((seconds, hours))
}

/// A number as it stands, and what follows it.
fn number_and_rest(text: &str) -> Option<(&str, &str)> {
    let len = text
        .bytes()
        .take_while(|byte| byte.is_ascii_digit() || *byte == b'.')
        .count();
    let (number, rest) = text.split_at(len);
    (len > 0).then_some((number, rest.trim_start()))
}

/// A number of digits and at most one point between them, times a power of ten.
fn scaled(number: &str, places: i32) -> Option<f64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if number.len() > BYTES_MAX || !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    format!("{number}e{places}").parse().ok()
}

/// A number times a power of ten, by moving its point: exact.
fn shifted(number: f64, places: i32) -> String {
    let text = number.to_string();
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let point = (whole.len() as i32 + places).max(0) as usize;
    let mut digits = format!("{whole}{fraction}");
    if (whole.len() as i32 + places) < 0 {
        digits.insert_str(0, &"0".repeat((-places) as usize - whole.len()));
    }
    while digits.len() < point {
        digits.push('0');
    }
    let (whole, fraction) = digits.split_at(point);
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        whole => whole,
    };
    match fraction.trim_end_matches('0') {
        "" => whole.to_owned(),
        fraction => format!("{whole}.{fraction}"),
    }
}

fn power(places: i32) -> f64 {
    match places {
        -9 => 1e-9,
        -6 => 1e-6,
        -3 => 1e-3,
        _ => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantities_are_read_as_people_write_them() {
        for (text, seconds) in [
            ("120ms", 0.12),
            ("120 ms", 0.12),
            ("1.5s", 1.5),
            ("20min", 1_200.0),
            ("1h30min", 5_400.0),
            ("60h", 216_000.0),
            ("2d", 172_800.0),
            ("40us", 4e-5),
            ("0s", 0.0),
        ] {
            assert_eq!(parse_duration(text), Some(seconds), "{text}");
        }
        assert_eq!(parse_hours("19h30min"), Some(19.5));
        assert_eq!(parse_hours("43.1h"), Some(43.1));
        assert_eq!(parse_share("99.9%"), Some(0.999));
        assert_eq!(parse_bytes("2KiB"), Some(2_048.0));
        assert_eq!(parse_rate("1/30s"), Some(1.0 / 30.0));
        assert_eq!(parse_rate("20/min"), Some(20.0 / 60.0));
        assert_eq!(parse_byte_rate("16KiB/s"), Some(16_384.0));
        assert_eq!(parse_target("p99.9 < 1s"), Some((0.999, 1.0)));
    }

    #[test]
    fn what_has_no_unit_or_no_sense_is_refused() {
        for text in [
            "", "10", "ms", "-1s", "1e3s", "10 sec", "5m", "1min1h", "1h1h", "1.s", ".5s", "1..2s", "nans",
            "infs", "1_000s", "٣s", "1s ",
        ] {
            assert_eq!(parse_duration(text), None, "{text:?}");
        }
        assert_eq!(parse_duration(&"9".repeat(1_000_000)), None);
        for text in ["", "1", "%", "-1%", "1 /s"] {
            assert_eq!(parse_share(text), None, "{text:?}");
        }
        for text in ["1", "1/", "/s", "1/0s", "-1/s", "1/s/s", "1/m"] {
            assert_eq!(parse_rate(text), None, "{text:?}");
        }
        for text in ["2", "2K", "2kib", "0.5B", "-1B"] {
            assert_eq!(parse_bytes(text), None, "{text:?}");
        }
        for text in ["95 < 1s", "p95", "p95 < 120", "p < 1s", "p95 > 1s"] {
            assert_eq!(parse_target(text), None, "{text:?}");
        }
    }

    #[test]
    fn what_is_printed_reads_well() {
        for (seconds, text) in [
            (0.12, "120ms"),
            (0.0015, "1.5ms"),
            (5_400.0, "90min"),
            (90.0, "90s"),
            (216_000.0, "60h"),
            (4e-5, "40us"),
            (1e-9, "1ns"),
        ] {
            assert_eq!(print_duration(seconds), text);
        }
        assert_eq!(print_share(0.999), "99.9%");
        assert_eq!(print_share(0.0), "0%");
        assert_eq!(print_share(1.5), "150%");
        assert_eq!(print_rate(1.0 / 30.0), "1/30s");
        assert_eq!(print_rate(0.02), "0.02/s");
        assert_eq!(print_rate(20.0), "20/s");
        assert_eq!(print_target(0.95, 0.12), "p95 < 120ms");
        assert_eq!(print_bytes(204_800.0), "200KiB");
        assert_eq!(print_bytes(0.0), "0B");
    }

    #[test]
    fn the_smallest_numbers_are_read_back() {
        for number in [f64::MIN_POSITIVE, 5e-324, 1e-100, 1.0 / 3e60] {
            assert_eq!(parse_duration(&print_duration(number)), Some(number));
            assert_eq!(parse_hours(&print_hours(number)), Some(number));
            assert_eq!(parse_share(&print_share(number)), Some(number));
            assert_eq!(parse_rate(&print_rate(number)), Some(number));
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(number in 0.0f64..1e7, exponent in 0i32..9, whole in 0u32..u32::MAX) {
            let small = format!("{number}e-{exponent}").parse::<f64>().unwrap();
            for number in [number, small, number.floor(), f64::from(whole)] {
                prop_assert_eq!(parse_duration(&print_duration(number)), Some(number));
                prop_assert_eq!(parse_hours(&print_hours(number)), Some(number));
                prop_assert_eq!(parse_share(&print_share(number)), Some(number));
                prop_assert_eq!(parse_rate(&print_rate(number)), Some(number));
            }
            prop_assert_eq!(parse_bytes(&print_bytes(f64::from(whole))), Some(f64::from(whole)));
        }
    }
}
