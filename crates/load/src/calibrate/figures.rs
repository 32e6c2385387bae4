//! What was measured, in words: TOML for the planner, a table, or JSON.
//!
//! ```text
//!   format = 1
//!   measured = "2026-11-30"
//!   [machine]      cores, kernel, processor, what the server may use
//!   [figure.NAME]  value, low and high of 95 %, unit, rounds, how
//! ```

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::{Ask, estimate::Estimate};
use crate::{
    Target,
    process::{Machine, cores_of},
};

/// One of them.
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) estimate: Estimate,
    pub(crate) how: String,
}

/// See the file.
pub(crate) struct Costs {
    date: Option<String>,
    machine: Machine,
    server_cores: String,
    payload: usize,
    figures: Vec<Figure>,
}

impl Costs {
    pub(crate) fn of(target: &Target, ask: &Ask, pid: u32, figures: Vec<Figure>) -> Self {
        Self {
            date: ask.date.clone(),
            machine: Machine::this(),
            server_cores: cores_of(pid),
            payload: target.payload,
            figures,
        }
    }

    pub(crate) fn to_toml(&self) -> String {
        let mut text = String::from(
            "# What Tidegate costs, measured by `tidegate load calibrate`.\n\
             # `tidegate plan calibrate PLAN --costs FILE` puts it into a plan.\n\nformat = 1\n",
        );
        if let Some(date) = &self.date {
            let _ = writeln!(text, "measured = {}", quoted(date));
        }
        let Machine {
            kernel,
            processor,
            cores,
        } = &self.machine;
        let _ = write!(
            text,
            "payload_bytes = {}\n\n[machine]\ncores = {cores}\nserver_cores = {}\nkernel = {}\nprocessor = {}\n",
            self.payload,
            quoted(&self.server_cores),
            quoted(kernel),
            quoted(processor)
        );
        for figure in &self.figures {
            let Estimate {
                low,
                value,
                high,
                rounds,
            } = figure.estimate;
            let _ = write!(
                text,
                "\n[figure.{}]\nvalue = {value:.4e}\nlow = {low:.4e}\nhigh = {high:.4e}\nunit = {}\nrounds = {rounds}\n\
                 how = {}\n",
                figure.name,
                quoted(figure.unit),
                quoted(&figure.how)
            );
        }
        text
    }

    pub(crate) fn print(&self, is_json: bool) {
        if is_json {
            let figures: Map<String, Value> = self
                .figures
                .iter()
                .map(|figure| {
                    let Estimate { low, value, high, .. } = figure.estimate;
                    let all = json!({"value": value, "low": low, "high": high, "unit": figure.unit});
                    (figure.name.to_owned(), all)
                })
                .collect();
            println!("{}", json!({"workload": "calibrate", "figures": figures}));
            return;
        }
        println!("{:<18} {:>10}   95 % sure", "", "value");
        for figure in &self.figures {
            let Estimate { low, value, high, .. } = figure.estimate;
            // Times read best in millionths.
            let (factor, unit) = match figure.unit {
                "bytes" => (1.0, "bytes"),
                "CPU s" => (1e6, "µs of CPU"),
                "CPU s/s" => (1e6, "µs of CPU a second"),
                _ => (1e6, "µs"),
            };
            let [low, value, high] = [low, value, high].map(|number| number * factor);
            println!("{:<18} {value:>10.2}   {low:.2} to {high:.2} {unit}", figure.name);
        }
    }
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for char in text.chars() {
        match char {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            char if char.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(char));
            }
            char => quoted.push(char),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_measured_is_written_with_all_that_is_known_of_it() {
        let costs = Costs {
            date: Some("2026-11-30".to_owned()),
            machine: Machine {
                kernel: "6.18".to_owned(),
                processor: "a \"fast\" one\n".to_owned(),
                cores: 2,
            },
            server_cores: "0".to_owned(),
            payload: 500,
            figures: vec![Figure {
                name: "delivery",
                unit: "CPU s",
                estimate: Estimate::of(&[8e-6, 8.2e-6]).expect("two rounds"),
                how: "a slope".to_owned(),
            }],
        };
        let text = costs.to_toml();
        for line in [
            "measured = \"2026-11-30\"",
            "processor = \"a \\\"fast\\\" one\\u000A\"",
            "[figure.delivery]",
            "value = 8.1000e-6",
            "rounds = 2",
        ] {
            assert!(text.lines().any(|each| each == line), "{line} in {text}");
        }
    }
}
