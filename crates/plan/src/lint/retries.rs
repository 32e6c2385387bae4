//! Rules on trying again: how tries multiply, and who gives up before whom.

use super::{
    Found, Severity,
    facts::{Facts, percent, written},
    list,
};
use crate::{
    judge::words::time,
    plan::{CLIENTS, Jitter},
};

/// Tries of one event, over all layers, above which a failure feeds itself.
const TRIES_MAX: f64 = 4.0;
/// A budget that allows a retry for each ten successes.
const BUDGET: &str = "10%";

/// Who tries again.
struct Layer {
    /// Of the node that is asked; none of the clients themselves.
    node: Option<usize>,
    retries: u32,
    budget: Option<f64>,
    has_jitter: bool,
}

impl Layer {
    /// Tries for each thing wanted when everything fails.
    fn tries(&self) -> f64 {
        let all = f64::from(self.retries);
        1.0 + self.budget.map_or(all, |budget| all.min(budget))
    }

    fn key(&self, facts: &Facts<'_>, key: &str) -> String {
        match self.node {
            None => format!("clients.{key}"),
            Some(place) => format!("node.{}.retry_{key}", facts.id(place)),
        }
    }

    fn who(&self, facts: &Facts<'_>) -> String {
        match self.node {
            None => "clients".to_owned(),
            Some(place) => format!("callers of `{}`", facts.id(place)),
        }
    }
}

/// L10.
pub(super) fn layers(facts: &Facts<'_>, found: &mut Found) {
    let layers = layers_of(facts);
    if layers.is_empty() {
        return;
    }
    let tries: f64 = layers.iter().map(Layer::tries).product();
    let busiest = (facts.nodes().map(|(place, _)| place))
        .filter(|&place| facts.is_in_path(place) && !facts.is_managed(place))
        .max_by(|&a, &b| facts.busy(a).total_cmp(&facts.busy(b)));
    let busy = busiest.map_or(0.0, |place| facts.busy(place));
    let would_fill = busy * tries > 1.0;
    let load = busiest.map_or_else(String::new, |place| {
        format!(
            "; `{}` is {} busy in the worst minutes, and would be asked for {}",
            facts.id(place),
            percent(busy),
            percent(busy * tries)
        )
    });
    let said: Vec<String> = layers
        .iter()
        .map(|layer| {
            let budget = match layer.budget {
                None => "without a budget".to_owned(),
                Some(budget) => format!("within a budget of {}", percent(budget)),
            };
            format!("{} try {} times more {budget}", layer.who(facts), layer.retries)
        })
        .collect();
    let unbounded: Vec<&Layer> = layers.iter().filter(|layer| layer.budget.is_none()).collect();
    if tries > TRIES_MAX || !unbounded.is_empty() {
        let severity = match (tries > TRIES_MAX, would_fill) {
            (true, true) => Severity::Error,
            (true, false) | (false, true) => Severity::Warning,
            (false, false) => Severity::Note,
        };
        let evidence = format!(
            "{}: when everything fails each event is sent {tries:.1} times{load}",
            list(&said)
        );
        let keys: Vec<String> = match unbounded.is_empty() {
            false => unbounded
                .iter()
                .map(|layer| layer.key(facts, budget_of(layer)))
                .collect(),
            true => layers
                .iter()
                .map(|layer| layer.key(facts, budget_of(layer)))
                .collect(),
        };
        let named: Vec<String> = keys.iter().map(|key| format!("`{key} = \"{BUDGET}\"`")).collect();
        let fix = format!(
            "{} bounds them to {:.1} times; and let one layer try again, not all",
            list(&named),
            layers
                .iter()
                .map(|layer| 1.0 + layer.budget.map_or(0.1, |budget| budget.min(0.1)))
                .product::<f64>()
        );
        let finding = found.note(severity, evidence, fix);
        for key in keys {
            finding.at(key);
        }
        finding.nodes = layers
            .iter()
            .filter_map(|layer| Some(facts.id(layer.node?).to_owned()))
            .collect();
    }
    for layer in layers.iter().filter(|layer| !layer.has_jitter) {
        let evidence = format!(
            "{} wait the same time before they try again: what failed together comes back together, {} times",
            layer.who(facts),
            layer.retries
        );
        let (key, fix) = match layer.node {
            None => ("clients.jitter".to_owned(), "`jitter = \"full\"`"),
            Some(_) => (layer.key(facts, "jitter"), "`retry_jitter = true`"),
        };
        let finding = found.note(Severity::Warning, evidence, fix);
        finding.at(key);
        finding.nodes = layer
            .node
            .map(|place| facts.id(place).to_owned())
            .into_iter()
            .collect();
    }
}

fn budget_of(layer: &Layer) -> &'static str {
    match layer.node {
        None => "retry_budget",
        Some(_) => "budget",
    }
}

/// Those an event passes that try again.
fn layers_of(facts: &Facts<'_>) -> Vec<Layer> {
    let clients = &facts.plan.scenario.clients;
    let mut layers = vec![Layer {
        node: None,
        retries: clients.retries,
        budget: clients.retry_budget,
        has_jitter: clients.jitter != Jitter::None,
    }];
    layers.extend(
        facts
            .nodes()
            .filter(|&(place, _)| facts.is_in_path(place))
            .map(|(place, _)| {
                let options = &facts.options[place];
                Layer {
                    node: Some(place),
                    retries: options.retries.unwrap_or(0),
                    budget: options.retry_budget,
                    has_jitter: options.retry_jitter != Some(false),
                }
            }),
    );
    layers.retain(|layer| layer.retries > 0);
    layers
}

/// L11.
pub(super) fn timeouts(facts: &Facts<'_>, found: &mut Found) {
    let clients = &facts.plan.scenario.clients;
    let strictest = facts.strictest();
    if clients.timeout < strictest && strictest.is_finite() {
        let evidence = format!(
            "clients give up after {}, and {} is still in time by the contract: they send again what is on its way",
            time(clients.timeout),
            time(strictest)
        );
        found
            .note(
                Severity::Error,
                evidence,
                format!("`timeout = \"{}\"`", written(strictest * 3.0)),
            )
            .at("clients.timeout");
    }
    for (place, node) in facts.nodes() {
        let Some(own) = facts.options[place].timeout else {
            continue;
        };
        let tries = f64::from(facts.options[place].retries.unwrap_or(0)) + 1.0;
        let all = own * tries;
        let is_in_path = facts.is_in_path(place);
        let callers = facts.plan.topology.edges.iter().filter(|edge| edge.to == node.id);
        for edge in callers {
            let (who, limit, key) = match facts.place(&edge.from) {
                None if edge.from == CLIENTS => ("clients".to_owned(), None, String::new()),
                None => continue,
                Some(from) => (
                    format!("callers of `{}`", edge.from),
                    facts.options[from].timeout,
                    format!("node.{}.timeout", edge.from),
                ),
            };
            if let Some(limit) = limit.filter(|limit| *limit <= all) {
                inverted(found, &who, limit, &key, node.id.as_str(), own, tries);
            }
        }
        if is_in_path && clients.timeout <= all {
            inverted(
                found,
                "clients",
                clients.timeout,
                "clients.timeout",
                &node.id,
                own,
                tries,
            );
        }
        let worth = strictest * facts.plan.contract.late_factor;
        if is_in_path && own > worth && worth.is_finite() {
            let evidence = format!(
                "callers of `{}` wait up to {} for an answer, and after {} it is as bad as none ({} times {}): they hold on to work \
                 that nobody wants",
                node.id,
                time(own),
                time(worth),
                facts.plan.contract.late_factor,
                time(strictest)
            );
            found
                .note(
                    Severity::Warning,
                    evidence,
                    format!(
                        "`timeout = \"{}\"`",
                        written(libm::floor(worth / 2.0 * 1e3) / 1e3)
                    ),
                )
                .at_node(&node.id, "timeout");
        }
    }
}

fn inverted(found: &mut Found, who: &str, limit: f64, key: &str, id: &str, own: f64, tries: f64) {
    let evidence = format!(
        "{who} give up after {}, and `{id}` is tried {tries:.0} times for {} each, {} in all: its last tries are for nobody",
        time(limit),
        time(own),
        time(own * tries)
    );
    let shorter = libm::floor(limit / (tries + 1.0) * 1e3) / 1e3;
    let fix = match shorter >= 0.001 {
        true => format!(
            "`timeout = \"{}\"` of `{id}`, or fewer `retries`",
            written(shorter)
        ),
        false => format!("no `retries` of `{id}`"),
    };
    found
        .note(Severity::Warning, evidence, fix)
        .at_node(id, "timeout")
        .at(key);
}
