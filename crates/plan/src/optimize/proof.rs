//! Why nothing holds within the budget: what no design can save, or the clause that the best of them breaks.

use serde::Serialize;

use super::{
    Design,
    search::Search,
    trial::{Measured, over},
};
use crate::{
    compile, engine,
    plan::Plan,
    price::{self, Book, Line},
};

/// See the module.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "why", rename_all = "kebab-case")]
pub enum Impossible {
    /// What leaves to the users and the least each node costs are together above the budget.
    Traffic {
        lines: Vec<Line>,
        nodes: f64,
        floor: f64,
    },
    /// A design holds, for more money.
    TooDear { monthly: f64 },
    /// The largest design of all breaks it.
    Clause { clause: Measured },
    /// Designs held by the fluid model, and none event by event.
    Unconfirmed,
}

/// Of a search that found nothing, or nothing cheap enough.
pub(super) fn impossible(
    search: &mut Search<'_>,
    plan: &Plan,
    book: &Book,
    cheapest: Option<&Design>,
) -> Impossible {
    let ample = search.plan(&search.ample());
    if let Some(floor) = floor(search, &ample, plan, book) {
        return floor;
    }
    if let Some(cheapest) = cheapest {
        return Impossible::TooDear {
            monthly: cheapest.monthly,
        };
    }
    let ample = search.ample();
    let broken = search.trial(&ample).and_then(|trial| {
        let clause = trial.worst_clause().filter(|clause| over(clause) > 0.0);
        clause.cloned()
    });
    broken.map_or(Impossible::Unconfirmed, |clause| Impossible::Clause { clause })
}

/// What leaves from a design that loses nothing, and the least the nodes cost; none if the budget has room for both.
fn floor(search: &Search<'_>, ample: &Plan, plan: &Plan, book: &Book) -> Option<Impossible> {
    let bill_of = |plan: &Plan| {
        let network = compile::compile(plan).ok()?;
        let outcome = engine::fluid::run(&network);
        price::bill(plan, &network, book, &outcome).ok()
    };
    let of_nodes = |lines: &[Line]| -> f64 {
        let of_nodes = lines.iter().filter(|line| line.node.is_some());
        of_nodes.map(|line| line.amount).sum()
    };
    let (whole, lean) = (bill_of(ample)?, bill_of(&search.plan(&search.lean()))?);
    let lines: Vec<Line> = whole.lines.into_iter().filter(is_egress).collect();
    let nodes = of_nodes(&lean.lines);
    let floor = nodes + lines.iter().map(|line| line.amount).sum::<f64>();
    (floor > plan.contract.budget).then_some(Impossible::Traffic { lines, nodes, floor })
}

/// Traffic to the users: no design sends less of it, and what nodes send each other some design avoids.
fn is_egress(line: &Line) -> bool {
    line.node.is_none() && line.what.starts_with("egress")
}
