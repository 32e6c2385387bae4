//! The minutes of a run as a table.

use std::fmt::Write;

use tidegate_plan::{Network, Outcome};

/// A row for each minute.
pub fn csv(network: &Network, outcome: &Outcome) -> String {
    let mut text =
        String::from("minute,wanted,connected,published,delivered,failed,bad_user_s,p50_s,p95_s,p99_s");
    for station in &network.stations {
        let name = field(&station.name);
        let _ = write!(text, ",{name}.busy,{name}.waiting,{name}.machines");
    }
    text.push('\n');
    for (at, minute) in outcome.minutes.iter().enumerate() {
        let [p50, p95, p99] = minute.latency_s;
        let _ = write!(
            text,
            "{at},{},{},{},{},{},{},{p50},{p95},{p99}",
            minute.wanted, minute.connected, minute.published, minute.delivered, minute.failed, minute.bad_s
        );
        for station in 0..network.stations.len() {
            let at = |of: &[f32]| of.get(station).copied().unwrap_or(0.0);
            let machines = minute.machines.get(station).copied().unwrap_or(0);
            let _ = write!(text, ",{},{},{machines}", at(&minute.busy), at(&minute.waiting));
        }
        text.push('\n');
    }
    text
}

/// A name as a part of a column's: without what separates, quotes or begins a formula.
fn field(name: &str) -> String {
    name.chars()
        .map(
            |char| match char.is_ascii_alphanumeric() || "-_. ".contains(char) {
                true => char,
                false => '_',
            },
        )
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_one_column() {
        assert_eq!(field("=ws,\"1\"\n"), "_ws__1__");
    }
}
