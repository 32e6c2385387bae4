//! Rules on connections that end together: how many come back, how fast, whom they ask, and whether they were told when.

use super::{
    Found, Severity,
    facts::{Facts, counted, many, over, percent, times},
};
use crate::{
    judge::words::{share, time},
    plan::{Fault, Jitter, Kind},
};

/// What is cut within so many seconds comes back together.
const TOGETHER: f64 = 10.0;
/// And a share that is more than that is a storm.
const STORM: f64 = 0.1;
/// Room to spare of those who take reconnects.
const SPARE: f64 = 2.0;

/// L12.
pub(super) fn storm(facts: &Facts<'_>, found: &mut Found) {
    let edge = facts.edge();
    let id = facts.id(edge);
    let clients = &facts.plan.scenario.clients;
    let lost = facts.held();
    let pace = facts.pace();
    let takes = pace.as_ref().map_or(0.0, |pace| lost / pace.a_second);
    let slowest = pace.as_ref().map_or(edge, |pace| pace.node);
    let told = format!(
        "one machine of `{id}` holds {} connections at the peak; when it dies `{}` takes {} of them a second, all in {}",
        many(lost),
        facts.id(slowest),
        many(pace.as_ref().map_or(f64::INFINITY, |pace| pace.a_second)),
        time(takes)
    );
    if clients.jitter == Jitter::None {
        let severity = match takes > clients.backoff_first.max(0.1) {
            true => Severity::Error,
            false => Severity::Warning,
        };
        let evidence = format!(
            "{told}. Without jitter they all come {} after it, and who was refused comes again together",
            time(clients.backoff_first)
        );
        found
            .note(severity, evidence, "`jitter = \"full\"`")
            .at("clients.jitter")
            .at_node(id, "count");
    }
    if clients.backoff_max < SPARE * takes {
        let severity = match takes > clients.timeout {
            // Who waits in the line has given up when it is their turn.
            true => Severity::Error,
            false => Severity::Warning,
        };
        let evidence = format!(
            "{told}. The longest backoff is {}, less than twice that, so that more come than are taken",
            time(clients.backoff_max)
        );
        let fix = format!(
            "`backoff_max = \"{:.0}s\"`, or have them ask less (`tokens = true`)",
            libm::ceil(SPARE * takes).max(10.0)
        );
        found
            .note(severity, evidence, fix)
            .at("clients.backoff_max")
            .at_node(id, "count");
    }
    let options = &facts.options[edge];
    if options.tokens == Some(false) {
        let asked: Vec<&str> = facts
            .nodes()
            .filter(|&(place, node)| place != edge && node.kind != Kind::Lb && facts.is_in_connect(place))
            .map(|(_, node)| node.id.as_str())
            .collect();
        let severity = match takes > clients.backoff_max.max(1.0) {
            true => Severity::Error,
            false => Severity::Warning,
        };
        let evidence = format!("each connect asks `{}` who it is. {told}", asked.join("`, `"));
        let fix =
            "`tokens = true`: a signed token is checked by `ws` itself, and who comes back asks nobody else";
        found.note(severity, evidence, fix).at_node(id, "tokens");
    }
    if options.resume_window == Some(0.0) && facts.node(edge).kind == Kind::Ws {
        let evidence = format!(
            "no session is kept for who comes back: each of {} joins its rooms again and asks for what it missed",
            many(lost)
        );
        found
            .note(Severity::Note, evidence, "`resume_window = \"2min\"`")
            .at_node(id, "resume_window");
    }
}

/// L13.
pub(super) fn synchronised(facts: &Facts<'_>, found: &mut Found) {
    let edge = facts.edge();
    let node = facts.node(edge);
    if node.kind == Kind::Hosted {
        two_hours(facts, edge, found);
    }
    let planned = deploys(facts, edge);
    let machines = f64::from(facts.machines(edge).max(1));
    let drain = facts.options[edge].drain.unwrap_or(0.0);
    let cut = (TOGETHER / drain.max(TOGETHER)) / machines;
    if facts.is_managed(edge) || planned <= 0.0 || cut <= STORM {
        return;
    }
    let severity = match drain < TOGETHER {
        true => Severity::Error,
        false => Severity::Warning,
    };
    let evidence = format!(
        "{planned:.1} deploys are expected, and each takes {} of `{}` in turn, {}: {} of all connections, {}, are cut within \
         {TOGETHER:.0} s, {}",
        counted(facts.machines(edge), "machine"),
        node.id,
        over(drain),
        share(cut),
        many(cut * facts.peak()),
        times(facts.machines(edge))
    );
    let needed = libm::ceil(TOGETHER / (STORM * machines) / 5.0) * 5.0;
    found
        .note(
            severity,
            evidence,
            format!("`drain = \"{needed:.0}s\"`: each client is told its moment"),
        )
        .at_node(&node.id, "drain");
}

/// Deploys of that node in the scenario, by chance and for sure.
fn deploys(facts: &Facts<'_>, place: usize) -> f64 {
    let failures = &facts.plan.failures;
    let for_sure = failures
        .scheduled
        .iter()
        .filter(|failure| failure.node == facts.id(place) && failure.what == Fault::Deploy)
        .count();
    for_sure as f64 + failures.deploys_per_week * facts.plan.scenario.hours / (7.0 * 24.0)
}

/// A gateway that ends every connection after two hours ends those together that began together.
fn two_hours(facts: &Facts<'_>, edge: usize, found: &mut Found) {
    /// API Gateway's longest connection.
    const LONGEST: f64 = 7_200.0;
    if facts.size(edge).name != "api-gateway" || facts.network().length <= LONGEST {
        return;
    }
    let steepest = facts
        .network()
        .users
        .windows(2)
        .map(|two| {
            let ((from, before), (to, after)) = (two[0], two[1]);
            (after - before) * (TOGETHER / (to - from).max(TOGETHER))
        })
        .fold(0.0, f64::max);
    if steepest <= STORM * facts.peak() {
        return;
    }
    let evidence = format!(
        "{} users come within {TOGETHER:.0} s, {} of the most there are; a connection ends after {}, and so theirs end together",
        many(steepest),
        percent(steepest / facts.peak().max(1.0)),
        time(LONGEST)
    );
    found
        .note(
            Severity::Warning,
            evidence,
            "have clients renew their connections before, after a random time; or hold them yourself: `kind = \"ws\"`",
        )
        .at_node(facts.id(edge), "kind");
}

/// L34.
pub(super) fn no_drain(facts: &Facts<'_>, found: &mut Found) {
    let edge = facts.edge();
    let node = facts.node(edge);
    let planned = deploys(facts, edge);
    if facts.is_managed(edge) || facts.machines(edge) < 2 || planned <= 0.0 {
        return;
    }
    let drain = facts.options[edge].drain.unwrap_or(0.0);
    let held = facts.held();
    let Some(pace) = facts.pace() else {
        return;
    };
    let takes = held / pace.a_second;
    if drain >= takes {
        return;
    }
    let clients = &facts.plan.scenario.clients;
    let is_spread = clients.jitter != Jitter::None && clients.backoff_max >= takes;
    let severity = match is_spread {
        true => Severity::Warning,
        false => Severity::Error,
    };
    let evidence = format!(
        "a machine of `{}` sends {} connections away {}, and `{}` takes {} a second: they need {}; {planned:.1} deploys are expected",
        node.id,
        many(held),
        over(drain),
        facts.id(pace.node),
        many(pace.a_second),
        time(takes)
    );
    let fix = format!(
        "`drain = \"{:.0}s\"`, and one machine after the other",
        libm::ceil(SPARE * takes).max(30.0)
    );
    found.note(severity, evidence, fix).at_node(&node.id, "drain");
}
