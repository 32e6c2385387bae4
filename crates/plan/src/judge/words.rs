//! How figures are said: three digits and the unit that fits them.

/// `184 ms`, `1.2 s`, `12 min`.
pub(crate) fn time(seconds: f64) -> String {
    let size = seconds.abs();
    if size < 0.9995e-3 {
        format!("{} µs", digits(seconds * 1e6))
    } else if size < 0.9995 {
        format!("{} ms", digits(seconds * 1e3))
    } else if size < 119.5 {
        format!("{} s", digits(seconds))
    } else if size < 7_200.0 {
        format!("{} min", digits(seconds / 60.0))
    } else {
        format!("{} h", digits(seconds / 3_600.0))
    }
}

/// `99.93 %`: as many nines as there are, and two digits more.
pub(crate) fn share(share: f64) -> String {
    let percent = share * 100.0;
    // What is missing of the whole tells how many digits mean something.
    let rest = (100.0 - percent).abs().min(percent.abs());
    let places = match rest {
        rest if rest >= 10.0 => 1,
        rest if rest >= 0.1 => 2,
        rest if rest >= 0.01 => 3,
        rest if rest >= 0.001 => 4,
        rest if rest >= 5e-7 => 6,
        _ => 0,
    };
    format!("{} %", short(format!("{percent:.places$}")))
}

/// `612.40`.
pub(crate) fn money(amount: f64) -> String {
    format!("{amount:.2}")
}

/// `p95`, `p99.9`.
pub(crate) fn percentile(share: f64) -> String {
    let text = format!("{:.3}", share * 100.0);
    format!("p{}", text.trim_end_matches('0').trim_end_matches('.'))
}

fn digits(value: f64) -> String {
    match value.abs() {
        size if size >= 99.95 || size == 0.0 => format!("{value:.0}"),
        size if size >= 9.995 => short(format!("{value:.1}")),
        size if size >= 0.01 => short(format!("{value:.2}")),
        _ => "0".to_owned(),
    }
}

/// Without the zeros after its point.
fn short(text: String) -> String {
    if !text.contains('.') {
        return text;
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits_and_their_unit() {
        let said = [
            0.0,
            3.2e-6,
            0.000_999_9,
            0.184,
            0.052,
            0.999_9,
            1.25,
            90.0,
            600.0,
            90_000.0,
        ]
        .map(time);
        assert_eq!(
            said,
            [
                "0 µs", "3.2 µs", "1 ms", "184 ms", "52 ms", "1 s", "1.25 s", "90 s", "10 min", "25 h"
            ]
        );
        let said = [0.999, 0.9995, 0.999_312, 0.999_999_4, 1.0, 0.5, 0.0].map(share);
        assert_eq!(
            said,
            [
                "99.9 %",
                "99.95 %",
                "99.931 %",
                "99.99994 %",
                "100 %",
                "50 %",
                "0 %"
            ]
        );
        assert_eq!(
            (percentile(0.95), percentile(0.999)),
            ("p95".into(), "p99.9".into())
        );
        assert_eq!(money(612.4), "612.40");
        assert!(!time(f64::NAN).is_empty() && !share(f64::INFINITY).is_empty());
    }
}
