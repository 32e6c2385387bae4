//! The report as JSON: one line-broken object, the same bytes for the same plan and seed.

use super::Report;

pub fn json(report: &Report) -> String {
    let text = serde_json::to_string_pretty(report).expect("all keys are strings");
    text + "\n"
}
