//! What `tidegate load calibrate` writes, and the costs that follow from it.
//!
//! What is measured is the server's process. What a plan asks for besides (the kernel's sockets, the operating system, TLS)
//! keeps its usual figure; of a publish the part that each further machine does keeps its share.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    Costs, Interval,
    figures::{WS_BASE_SYSTEM_BYTES, WS_CONNECTION_KERNEL_BYTES, WS_PUBLISH, WS_PUT_OUT},
};

/// What is measured and has no place in the model: a resume counts as a handshake there, and what it replays as nothing.
pub const UNUSED: [&str; 2] = ["resume", "replay"];
/// The form of the file that is understood.
const FORMAT: u32 = 1;

/// See the module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    pub format: u32,
    /// The day, as it was told.
    #[serde(default)]
    pub measured: Option<String>,
    pub payload_bytes: f64,
    pub machine: Machine,
    pub figure: BTreeMap<String, MeasuredFigure>,
}

/// Where it was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    pub cores: u32,
    /// Those the server could use, as the kernel lists them.
    pub server_cores: String,
    pub kernel: String,
    pub processor: String,
}

/// A value, and the interval that holds it 19 times of 20.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeasuredFigure {
    pub value: f64,
    pub low: f64,
    pub high: f64,
    pub unit: String,
    pub rounds: u32,
    pub how: String,
}

impl Measured {
    /// # Errors
    /// If the text is something else, or a figure is not in order; in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let measured: Self = toml::from_str(text).map_err(|error| {
            let line = error.span().map(|span| {
                let before = text.as_bytes()[..span.start.min(text.len())].iter();
                before.filter(|byte| **byte == b'\n').count() + 1
            });
            let place = line.map_or_else(String::new, |line| format!("line {line}: "));
            format!("{place}{}", error.message())
        })?;
        if measured.format != FORMAT {
            return Err(format!(
                "its `format` is {}, and {FORMAT} is understood",
                measured.format
            ));
        }
        for (name, figure) in &measured.figure {
            if Costs::default().named(name).is_none() && !UNUSED.contains(&name.as_str()) {
                let known: Vec<&str> = Costs::default().each().iter().map(|(name, ..)| *name).collect();
                return Err(format!(
                    "the figure `{name}` is unknown; known are {}, {}",
                    known.join(", "),
                    UNUSED.join(", ")
                ));
            }
            let MeasuredFigure { low, value, high, .. } = *figure;
            if !(0.0 <= low && low <= value && value <= high && high <= 1e12) {
                return Err(format!(
                    "`figure.{name}`: `low`, `value` and `high` must rise, from 0 on"
                ));
            }
        }
        if measured.figure.is_empty() {
            return Err("it has no figure".to_owned());
        }
        Ok(measured)
    }

    /// The costs before, with what was measured in place of what was not.
    #[must_use]
    pub fn over(&self, before: Costs) -> Costs {
        let mut costs = before;
        for (name, figure) in &self.figure {
            let value = Interval {
                low: figure.low,
                mid: figure.value,
                high: figure.high,
            };
            let Some(cost) = costs.named(name) else {
                continue;
            };
            *cost = match name.as_str() {
                "connection-bytes" => whole(sum(value, WS_CONNECTION_KERNEL_BYTES)),
                "base-bytes" => whole(sum(value, WS_BASE_SYSTEM_BYTES)),
                _ => value,
            };
            if name == "publish" && !self.figure.contains_key("put-out") {
                let share = WS_PUT_OUT.value.mid / WS_PUBLISH.value.mid;
                costs.put_out = Interval {
                    low: value.low * share,
                    mid: value.mid * share,
                    high: value.high * share,
                };
            }
        }
        costs
    }

    /// When and where, in one line: at most 200 bytes.
    pub fn place(&self) -> String {
        let Machine {
            cores,
            server_cores,
            kernel,
            processor,
        } = &self.machine;
        let on = format!("{cores} cores, the server on {server_cores}, Linux {kernel}, {processor}");
        let mut place = match &self.measured {
            Some(day) => format!("{day}: {on}"),
            None => on,
        };
        place.retain(|char| !char.is_control());
        while place.len() > 200 {
            place.pop();
        }
        place.trim_end().to_owned()
    }
}

fn sum(a: Interval, b: Interval) -> Interval {
    Interval {
        low: a.low + b.low,
        mid: a.mid + b.mid,
        high: a.high + b.high,
    }
}

/// A plan file has whole bytes.
fn whole(bytes: Interval) -> Interval {
    Interval {
        low: libm::floor(bytes.low),
        mid: libm::floor(bytes.mid + 0.5),
        high: libm::ceil(bytes.high),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
format = 1
measured = "2026-11-30"
payload_bytes = 500
[machine]
cores = 2
server_cores = "0"
kernel = "6.18"
processor = "a processor"
[figure.publish]
value = 3.0e-5
low = 2.0e-5
high = 5.0e-5
unit = "CPU s"
rounds = 5
how = "a line"
[figure.connection-bytes]
value = 600.4
low = 500.0
high = 700.5
unit = "bytes"
rounds = 4
how = "more"
[figure.replay]
value = 1.0e-6
low = 1.0e-6
high = 1.0e-6
unit = "CPU s"
rounds = 5
how = "each"
"#;

    #[test]
    fn what_was_measured_takes_its_place_and_the_rest_keeps_its_own() {
        let measured = Measured::parse(TEXT).unwrap();
        let costs = measured.over(Costs::default()).checked().unwrap();
        assert_eq!(costs.publish.high, 5e-5);
        assert!((costs.put_out.mid - 9e-6).abs() < 1e-12, "{:?}", costs.put_out);
        assert_eq!(costs.connection_bytes.mid, 4_696.0);
        assert_eq!(costs.delivery, Costs::default().delivery);
        assert_eq!(
            measured.place(),
            "2026-11-30: 2 cores, the server on 0, Linux 6.18, a processor"
        );
    }

    #[test]
    fn what_is_something_else_is_told() {
        for (old, new, word) in [
            ("format = 1", "format = 2", "format"),
            ("low = 2.0e-5", "low = 9.0e-5", "publish"),
            ("low = 2.0e-5", "low = nan", "publish"),
            ("figure.replay", "figure.reply", "`reply` is unknown"),
            ("rounds = 4", "round = 4", "line 22"),
            ("payload_bytes = 500", "", "payload_bytes"),
        ] {
            let error = Measured::parse(&TEXT.replacen(old, new, 1)).expect_err(new);
            assert!(error.contains(word), "{new}: {error}");
        }
        assert!(Measured::parse("x").is_err());
    }
}
