//! The topology as a Graphviz graph.

use std::fmt::Write;

use tidegate_plan::{Plan, plan::CLIENTS};

use super::super::report::shown::plain;

/// A directed graph, from the clients on.
pub fn dot(plan: &Plan) -> String {
    let mut text =
        String::from("digraph plan {\n  rankdir=LR;\n  node [shape=box, fontname=\"sans-serif\"];\n");
    let _ = writeln!(
        text,
        "  label={};\n  {} [shape=ellipse];",
        quoted(&plan.title),
        quoted(CLIENTS)
    );
    for node in &plan.topology.nodes {
        let count = match node.count {
            1 => String::new(),
            count => format!("{count} × "),
        };
        let size = match node.size.as_str() {
            "" => String::new(),
            size => format!("\n{size}"),
        };
        let kind = node.kind.name();
        let label = match node.id == kind {
            true => format!("{count}{kind}{size}"),
            false => format!("{}\n{count}{kind}{size}", node.id),
        };
        let _ = writeln!(text, "  {} [label={}];", quoted(&node.id), quoted(&label));
    }
    for edge in &plan.topology.edges {
        let _ = writeln!(text, "  {} -> {};", quoted(&edge.from), quoted(&edge.to));
    }
    text.push_str("}\n");
    text
}

/// A string of the DOT language: a backslash begins an escape there, a quote ends it.
fn quoted(text: &str) -> String {
    let text = plain(text)
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n");
    format!("\"{text}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_does_not_leave_its_quotes() {
        assert_eq!(quoted("a\"]; b\\\n"), "\"a\\\"]; b\\\\\\n\"");
    }
}
