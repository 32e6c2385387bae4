//! Which figure that is not known exactly would turn a clause: what to measure next.
//!
//! Each figure a plan's network was compiled with is set to its low and to its high end, one at a time, and the fluid run
//! again. What differs from the fluid with all figures in the middle is laid on what was measured.

use std::cell::RefCell;

use serde::Serialize;

use super::{Clause, Promise, What, words};
use crate::{
    compile::compile_with,
    component::Figure,
    engine::fluid,
    plan::Plan,
    price::{self, Book},
};

/// A figure that is not known exactly, and what a clause would be at its ends.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Unknown {
    pub figure: &'static str,
    pub unit: &'static str,
    pub low: f64,
    pub mid: f64,
    pub high: f64,
    pub source: &'static str,
    /// The clause's figure, if this were at its low end, and at its high one.
    pub at_low: f64,
    pub at_high: f64,
    /// The clause holds at one end and breaks at the other.
    pub turns: bool,
}

impl Unknown {
    /// How far it moves the clause.
    pub fn range(&self) -> f64 {
        (self.at_high - self.at_low).abs()
    }

    /// `worker.job is 20 ms to 200 ms (assumed), which makes chat p95 80 ms to 190 ms`.
    pub fn sentence(&self, promise: &Promise) -> String {
        let value = |value: f64| match self.unit {
            "s" | "CPU s" => words::time(value),
            "CPU s/s" => format!("{} a second", words::time(value)),
            unit => format!("{value} {unit}"),
        };
        format!(
            "{} is {} to {} ({}), which makes {} {} to {}",
            self.figure,
            value(self.low),
            value(self.high),
            self.source,
            promise.name(),
            promise.say(self.at_low),
            promise.say(self.at_high)
        )
    }
}

/// Of each clause all figures that move it, the one that moves it most first.
pub fn unknowns(plan: &Plan, clauses: &[Clause]) -> Vec<Vec<Unknown>> {
    let mut found = vec![Vec::new(); clauses.len()];
    let asked: RefCell<Vec<Figure>> = RefCell::default();
    let note = |figure: &Figure| {
        let mut asked = asked.borrow_mut();
        if asked.iter().all(|known| known.name != figure.name) {
            asked.push(*figure);
        }
        figure.value.mid
    };
    let Some(middle) = figures(plan, clauses, &note) else {
        return found;
    };
    for figure in asked.into_inner() {
        if figure.value.low == figure.value.high {
            continue;
        }
        let at = |end: f64| {
            figures(plan, clauses, &|each| {
                if each.name == figure.name {
                    end
                } else {
                    each.value.mid
                }
            })
        };
        let (Some(low), Some(high)) = (at(figure.value.low), at(figure.value.high)) else {
            continue;
        };
        for (place, clause) in clauses.iter().enumerate() {
            let (Some(measured), Some(middle), Some(low), Some(high)) =
                (clause.measured, middle[place], low[place], high[place])
            else {
                continue;
            };
            let laid = |end: f64| laid_on(&clause.promise, measured, middle, end);
            let (at_low, at_high) = (laid(low), laid(high));
            if at_low == at_high {
                continue;
            }
            found[place].push(Unknown {
                figure: figure.name,
                unit: figure.unit,
                low: figure.value.low,
                mid: figure.value.mid,
                high: figure.value.high,
                source: figure.source,
                at_low,
                at_high,
                turns: clause.promise.is_kept_by(at_low) != clause.promise.is_kept_by(at_high),
            });
        }
    }
    for of_clause in &mut found {
        // Sorted stably, so that equals stay in the order they were asked for.
        of_clause.sort_by(|a: &Unknown, b| b.range().total_cmp(&a.range()));
    }
    found
}

/// Shares differ by what the fluid says they differ by, sizes by the factor it says.
fn laid_on(promise: &Promise, measured: f64, middle: f64, end: f64) -> f64 {
    match promise.what {
        What::Uptime | What::Loss => (measured + end - middle).clamp(0.0, 1.0),
        What::Latency | What::Budget | What::Reconnect if middle > 0.0 => measured * end / middle,
        What::Latency | What::Budget | What::Reconnect => measured + end - middle,
    }
}

/// The figure of each clause by the fluid, with figures chosen; none if the plan does not compile with them.
fn figures(plan: &Plan, clauses: &[Clause], choose: &dyn Fn(&Figure) -> f64) -> Option<Vec<Option<f64>>> {
    let network = compile_with(plan, choose).ok()?;
    let outcome = fluid::run(&network);
    let monthly = Book::by_name(&plan.book)
        .and_then(|book| price::bill(plan, &network, &book, &outcome).ok())
        .map(|bill| bill.total);
    let each = clauses.iter();
    Some(
        each.map(|clause| clause.promise.measure(plan, &outcome, monthly))
            .collect(),
    )
}
