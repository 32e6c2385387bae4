//! Numbers and names for people: three figures that matter, with their unit.

use std::borrow::Cow;

use tidegate_plan::{
    judge::{Promise, What},
    plan::Weigh,
    price::Unit,
};

use super::escape::is_hostile;

/// A text from a file, without what could steer a terminal.
pub fn plain(text: &str) -> Cow<'_, str> {
    match text.chars().any(|char| char != '\n' && is_hostile(char)) {
        true => text
            .chars()
            .map(|char| match char != '\n' && is_hostile(char) {
                true => '\u{FFFD}',
                false => char,
            })
            .collect(),
        false => Cow::Borrowed(text),
    }
}

/// Three figures: 0.0123, 1.23, 12.3, 123, 1234.
fn figures(value: f64) -> String {
    let size = value.abs();
    let digits = match size {
        _ if size >= 99.95 || size == 0.0 => 0,
        _ if size >= 9.995 => 1,
        _ if size >= 0.9995 => 2,
        _ if size >= 0.099_95 => 3,
        _ => 4,
    };
    let text = format!("{value:.digits$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// With a mark at each thousand: `1,234,567`.
fn thousands(whole: &str) -> String {
    let (sign, digits) = whole.split_at(usize::from(whole.starts_with('-')));
    let mut text = sign.to_owned();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count: `0.4`, `12`, `3,400`, `1.63 M`, `2.1 G`.
pub fn count(value: f64) -> String {
    let size = value.abs();
    match size {
        _ if !value.is_finite() => "–".to_owned(),
        _ if size >= 1e9 => format!("{} G", figures(value / 1e9)),
        _ if size >= 1e6 => format!("{} M", figures(value / 1e6)),
        _ if size >= 99.5 => thousands(&format!("{value:.0}")),
        _ => figures(value),
    }
}

/// A time, seconds: `850 µs`, `34.2 ms`, `1.2 s`.
pub fn time(seconds: f64) -> String {
    match seconds {
        _ if !seconds.is_finite() => "–".to_owned(),
        0.0 => "0".to_owned(),
        _ if seconds < 0.999_5e-3 => format!("{} µs", figures(seconds * 1e6)),
        _ if seconds < 0.999_5 => format!("{} ms", figures(seconds * 1e3)),
        _ if seconds < 119.5 => format!("{} s", figures(seconds)),
        _ => span(seconds),
    }
}

/// A longer time: `3.6 min`, `2.5 h`, `60 h`.
pub fn span(seconds: f64) -> String {
    match seconds {
        _ if seconds < 119.5 => format!("{} s", figures(seconds)),
        _ if seconds < 7_200.0 => format!("{} min", figures(seconds / 60.0)),
        _ if seconds < 200.0 * 3_600.0 => format!("{} h", figures(seconds / 3_600.0)),
        _ => format!("{} d", figures(seconds / 86_400.0)),
    }
}

/// A place in the run: `43h10min`, and seconds where they are not whole minutes.
pub fn moment(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    let (hours, minutes, seconds) = (whole / 3_600, whole / 60 % 60, whole % 60);
    match (minutes, seconds) {
        (0, 0) => format!("{hours}h"),
        (minutes, 0) => format!("{hours}h{minutes:02}min"),
        (minutes, seconds) => format!("{hours}h{minutes:02}min{seconds:02}s"),
    }
}

/// A share in per cent, with the digits that tell it from 100 %: `43 %`, `99.91 %`, `99.9987 %`.
pub fn share(share: f64) -> String {
    if !share.is_finite() {
        return "–".to_owned();
    }
    let missing = (1.0 - share).abs();
    let percent = match missing {
        // Two figures of what is missing, cut rather than rounded: 99.9 % is not reached by 99.8996 %.
        _ if missing > 0.0 && missing < 0.1 => {
            let digits = (1.0 - missing.log10()).floor().clamp(0.0, 9.0) as i32 - 1;
            let digits = digits.max(1);
            let scale = 10_f64.powi(digits);
            let cut = (share * 100.0 * scale + 1e-6).floor() / scale;
            format!("{cut:.*}", digits as usize)
                .trim_end_matches('0')
                .trim_end_matches('.')
                .to_owned()
        }
        _ => figures(share * 100.0),
    };
    format!("{percent} %")
}

/// Money: `$860`, `$12.35`, `€1,234`.
pub fn money(amount: f64, currency: &str) -> String {
    let size = match amount.abs() < 99.995 {
        true => format!("{:.2}", amount.abs()),
        false => thousands(&format!("{:.0}", amount.abs())),
    };
    let sign = if amount < 0.0 { "−" } else { "" };
    match currency {
        "USD" => format!("{sign}${size}"),
        "EUR" => format!("{sign}€{size}"),
        other => format!("{sign}{size} {}", plain(other)),
    }
}

/// An amount of a bill, to the cent.
pub fn cents(amount: f64) -> String {
    let text = format!("{amount:.2}");
    let (whole, cents) = text.split_once('.').unwrap_or((&text, "00"));
    format!("{}.{cents}", thousands(whole))
}

/// What a rate is for, in a bill.
pub fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Hour => "h",
        Unit::Month => "months",
        Unit::Gb => "GB",
        Unit::GbMonth => "GB-months",
        Unit::MillionRequests => "M requests",
        Unit::MillionMinutes => "M minutes",
        Unit::LcuHour => "unit-hours",
    }
}

/// What a clause is about: `p95 of chat`.
pub fn clause_name(promise: &Promise, weigh: Weigh) -> String {
    match promise.what {
        What::Uptime => match weigh {
            Weigh::UserMinutes => "uptime, of user-minutes".to_owned(),
            Weigh::Requests => "uptime, of requests".to_owned(),
            Weigh::Time => "uptime, of the clock".to_owned(),
        },
        What::Latency => {
            let percentile = figures(promise.percentile.unwrap_or(0.0) * 100.0);
            match &promise.class {
                Some(class) => format!("p{percentile} of {}", plain(class)),
                None => format!("p{percentile} of all classes"),
            }
        }
        What::Budget => "bill, a month".to_owned(),
        What::Loss => "lost for good".to_owned(),
        What::Reconnect => "95 % reconnected".to_owned(),
    }
}

/// A clause's value in its own unit.
pub fn clause_value(promise: &Promise, value: f64, currency: &str) -> String {
    match promise.what {
        What::Uptime | What::Loss => share(value),
        What::Latency | What::Reconnect => time(value),
        What::Budget => money(value, currency),
    }
}

/// A clause's limit: `≥ 99.9 %`, `≤ 120 ms`.
pub fn clause_limit(promise: &Promise, currency: &str) -> String {
    let sign = match promise.what {
        What::Uptime => '≥',
        What::Latency | What::Budget | What::Loss | What::Reconnect => '≤',
    };
    format!("{sign} {}", clause_value(promise, promise.promised, currency))
}

/// A chance: `97 %`; never for sure.
pub fn chance(probability: f64) -> String {
    match probability {
        _ if probability < 0.01 => "< 1 %".to_owned(),
        _ if probability > 0.99 => "> 99 %".to_owned(),
        _ => format!("{:.0} %", probability * 100.0),
    }
}

/// An interval in a clause's unit, which is said once: `99.61 to 99.7 %`.
pub fn clause_interval(promise: &Promise, [low, high]: [f64; 2], currency: &str) -> String {
    let (low, high) = (
        clause_value(promise, low, currency),
        clause_value(promise, high, currency),
    );
    match (low.rsplit_once(' '), high.rsplit_once(' ')) {
        _ if low == high => low,
        (Some((number, unit)), Some((_, other))) if unit == other => format!("{number} to {high}"),
        _ => format!("{low} to {high}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_figures_that_matter() {
        let counts = [
            0.0,
            0.4,
            12.0,
            99.6,
            3_400.0,
            1_630_000.0,
            2.1e9,
            -1_234.0,
            f64::NAN,
        ];
        assert_eq!(
            counts.map(count),
            ["0", "0.4", "12", "100", "3,400", "1.63 M", "2.1 G", "-1,234", "–"]
        );
        let times = [
            0.0,
            850e-6,
            0.0342,
            0.9999,
            1.2,
            119.0,
            216.0,
            9_000.0,
            f64::INFINITY,
        ];
        assert_eq!(
            times.map(time),
            [
                "0", "850 µs", "34.2 ms", "1 s", "1.2 s", "119 s", "3.6 min", "2.5 h", "–"
            ]
        );
        assert_eq!([60.0 * 3_600.0, 30.0 * 86_400.0].map(span), ["60 h", "30 d"]);
        assert_eq!(
            [0.0, 155_400.0, 155_401.0].map(moment),
            ["0h", "43h10min", "43h10min01s"]
        );
        assert_eq!(
            [860.0, 12.349, 1_234.4, -3.5].map(|amount| money(amount, "USD")),
            ["$860", "$12.35", "$1,234", "−$3.50"]
        );
        assert_eq!(money(5.0, "CHF"), "5.00 CHF");
        assert_eq!([1_234.567, 0.004].map(cents), ["1,234.57", "0.00"]);
    }

    #[test]
    fn a_share_is_never_rounded_to_what_was_promised() {
        let shares = [0.0, 0.431, 0.9, 0.999, 0.99899999, 0.99991, 0.999999, 1.0, 0.95];
        assert_eq!(
            shares.map(share),
            [
                "0 %",
                "43.1 %",
                "90 %",
                "99.9 %",
                "99.89 %",
                "99.991 %",
                "99.9999 %",
                "100 %",
                "95 %"
            ]
        );
    }

    #[test]
    fn a_name_does_not_steer_the_terminal() {
        assert_eq!(plain("a\u{1b}[31m\nb\u{202e}"), "a\u{fffd}[31m\nb\u{fffd}");
        assert!(matches!(plain("ü → x"), Cow::Borrowed(_)));
    }
}
