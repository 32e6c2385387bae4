//! The cheapest design that holds, and what the money buys: with the file of each design, so that a page can take it.

use serde::{Deserialize, Serialize};
use tidegate_plan::{
    Plan, file,
    judge::{Effort, Judge},
    optimize::{Confirmed, Design, Found, Wishes, optimize},
    price::Book,
};

use crate::{Failed, Tell, Told};

/// What is to be searched, and how closely a design is looked at before it is believed.
#[derive(Debug, Deserialize)]
pub struct Asked {
    text: String,
    #[serde(default)]
    effort: Effort,
    /// Users more than planned that the roomy design must hold: a share.
    margin: Option<f64>,
    /// Trials of the fluid model, at most.
    trials: Option<u32>,
}

/// How far it is: a design is being confirmed, or was.
#[derive(Debug, Serialize)]
pub struct Searching {
    /// Which one, from 1.
    design: u32,
    monthly: Option<f64>,
    runs: u32,
    wanted: u32,
    /// None while it is not known.
    holds: Option<bool>,
}

/// What was found, and the files of its designs.
#[derive(Debug, Serialize)]
pub struct Optimized {
    #[serde(flatten)]
    found: Found,
    texts: Texts,
}

#[derive(Debug, Serialize)]
struct Texts {
    cheapest: Option<String>,
    roomy: Option<String>,
    conflated: Option<String>,
    frontier: Vec<String>,
}

/// Searches.
pub fn search(asked: &Asked, tell: Tell<'_>) -> Result<Optimized, Failed> {
    let plan = file::parse(&asked.text).map_err(Failed::of_file)?;
    let Some(book) = Book::by_name(&plan.book) else {
        let names = Book::NAMES.join(", ");
        return Err(Failed::of(format!(
            "there is no price book `{}`; there are {names}",
            plan.book
        )));
    };
    let own = Wishes::default();
    let wishes = Wishes {
        margin: asked.margin.unwrap_or(own.margin),
        trials: asked.trials.map_or(own.trials, |trials| trials.min(own.trials)),
        ..own
    };
    let mut design = 0;
    let mut confirm = |plan: &Plan| {
        design += 1;
        confirmed(plan, asked.effort, design, tell)
    };
    let found =
        optimize(&plan, &book, &wishes, &mut confirm).map_err(|refused| Failed::of(refused.to_string()))?;
    let text = |design: &Design| file::write(&design.plan);
    Ok(Optimized {
        texts: Texts {
            cheapest: found.cheapest.as_ref().map(text),
            roomy: found.roomy.as_ref().map(text),
            conflated: found.conflated.as_ref().map(|(_, design)| text(design)),
            frontier: found.frontier.iter().map(text).collect(),
        },
        found,
    })
}

/// Whether all but the budget holds, event by event.
fn confirmed(plan: &Plan, effort: Effort, design: u32, tell: Tell<'_>) -> Confirmed {
    let Ok(mut judge) = Judge::new(plan, &effort) else {
        return Confirmed::NO;
    };
    let mut searching = Searching {
        design,
        monthly: None,
        runs: 0,
        wanted: judge.wanted(),
        holds: None,
    };
    loop {
        tell(&Told::Searching(&searching));
        let more = judge.step();
        (searching.runs, searching.wanted) = (judge.runs(), judge.wanted());
        if !more {
            break;
        }
    }
    let judgement = judge.judgement();
    let confirmed = Confirmed::of(&judgement.clauses);
    searching.monthly = judgement.bill.map(|bill| bill.total);
    searching.holds = Some(confirmed.holds);
    tell(&Told::Searching(&searching));
    confirmed
}
