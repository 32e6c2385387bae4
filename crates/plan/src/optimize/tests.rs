use super::*;
use crate::judge::What;

/// Four hours of a small event, with a design that has one of each and loses its only `ws` in the middle.
const EVENT: &str = r#"
title = "A small event"
seed = 3
prices = "aws-us-east-1"

[contract]
uptime = "99.9%"
budget = 800
latency = { all = "p95 < 150ms" }

[scenario]
length = "4h"
users = { points = [["0h", 500], ["2h", 3000], ["4h", 500]] }

[class.chat]
rate = "0.02/s"
bytes = "300B"
room = { law = "geometric", mean = 25 }
durable = true

[class.state]
rate = "RATE"
bytes = "200B"
room = { law = "fixed", size = 10 }
coalescible = true
newest_of = "room"

[topology]
ways = ["clients -> ws -> server -> postgres"]

[node.ws]
kind = "ws"
size = "c7g.medium"
tokens = false
resume_window = "0s"

[node.server]
kind = "server"
size = "t4g.small"

[node.postgres]
kind = "postgres"
size = "db.t4g.small"

[[failure]]
at = "2h"
node = "ws"
what = "crash"
back_after = "3min"
"#;

fn event(rate: &str) -> Plan {
    crate::file::parse(&EVENT.replace("RATE", rate)).unwrap_or_else(|errors| panic!("{errors:?}"))
}

fn book() -> Book {
    Book::by_name("aws-us-east-1").expect("it comes with the planner")
}

/// Believes the fluid model.
fn trusting(_: &Plan) -> Confirmed {
    Confirmed {
        holds: true,
        is_close: false,
        clause: None,
    }
}

fn found(plan: &Plan) -> Found {
    optimize(plan, &book(), &Wishes::default(), &mut trusting).expect("it can be built and priced")
}

#[test]
fn the_cheapest_holds_and_nothing_one_step_cheaper_does() {
    let plan = event("0.5/s");
    let found = found(&plan);
    assert_eq!(found.given.headroom, 0.0, "the first design breaks");
    let cheapest = found.cheapest.expect("something holds");
    assert!(
        cheapest.monthly < 800.0 && cheapest.headroom >= 1.0,
        "{cheapest:?}"
    );
    assert!(Trial::of(&cheapest.plan, &book()).unwrap().holds(0.0));
    assert!(found.impossible.is_none() && found.conflated.is_none());
    // A second machine needs a bus, which nobody had drawn.
    let is_bus = |change: &&Change| change.what == "added" && change.to.contains("redis");
    assert_eq!(cheapest.changes.iter().filter(is_bus).count(), 1);
    // Its file says the same.
    let again = crate::file::parse(&crate::file::write(&cheapest.plan)).expect("a plan");
    assert_eq!(again.topology, cheapest.plan.topology);

    let (knobs, book) = (knob::knobs(&plan, &book()), book());
    let mut search = Search::new(plan.clone(), &book, &knobs, 10_000);
    let places = search
        .cheapest(&[search.lean(), search.given(), search.ample()], 0.0)
        .unwrap();
    assert_eq!(search.plan(&places), cheapest.plan);
    for down in search.downs(&places) {
        let trial = search.trial(&down).cloned().expect("it can be built");
        let at = search.trial(&places).unwrap().monthly;
        assert!(
            !trial.holds(0.0) || trial.monthly >= at - 0.005,
            "{:?}",
            search.plan(&down)
        );
    }
}

/// All designs of a smaller choice, one after the other.
#[test]
fn a_search_finds_what_trying_everything_finds() {
    let plan = event("0.5/s");
    let book = book();
    let mut knobs = knob::knobs(&plan, &book);
    // What costs nothing is taken, and of what costs only the cheapest few.
    for knob in &mut knobs {
        knob.shorten(if knob.what == "count" { 3 } else { 2 });
    }
    let mut search = Search::new(plan, &book, &knobs, 100_000);
    let starts = [search.lean(), search.given(), search.ample()];
    let places = search.cheapest(&starts, 0.0).expect("something holds");
    let by_search = search.trial(&places).unwrap().monthly;

    let mut least = f64::INFINITY;
    let mut design = search.lean();
    let mut tried = 0;
    'all: loop {
        if let Some(trial) = search.trial(&design).filter(|trial| trial.holds(0.0)) {
            least = least.min(trial.monthly);
        }
        tried += 1;
        for (place, knob) in knobs.iter().enumerate() {
            if knob.spends == Spends::Money {
                design[place] += 1;
                if design[place] < knob.len() {
                    continue 'all;
                }
                design[place] = 0;
            }
        }
        break;
    }
    assert!(tried > 100, "{tried}");
    // Of what costs nothing both took what they liked: cents of traffic between zones.
    assert!(
        (by_search - least).abs() < 0.5,
        "{by_search}, but {least} of {tried}"
    );
}

#[test]
fn traffic_that_costs_more_than_the_budget_is_proven_and_conflation_mends_it() {
    let mut plan = event("5/s");
    plan.contract.budget = 1_200.0;
    let found = found(&plan);
    let Some(Impossible::Traffic { lines, nodes, floor }) = &found.impossible else {
        panic!("{:?}", found.impossible);
    };
    let traffic: f64 = lines.iter().map(|line| line.amount).sum();
    assert!(traffic + nodes > 1_200.0 && (floor - traffic - nodes).abs() < 1e-6);
    assert!(found.cheapest.is_none_or(|design| design.monthly >= *floor));
    let (rate, design) = found.conflated.expect("less is sent");
    assert!(
        rate < 50.0 && design.monthly <= 1_200.0,
        "{rate} {}",
        design.monthly
    );
    let p95 = design
        .clauses
        .iter()
        .find(|clause| clause.promise.what == What::Latency);
    assert!(p95.unwrap().measured.unwrap() <= 0.150);
}

#[test]
fn what_events_refuse_gets_first_what_is_free_and_then_more_machines() {
    let plan = event("0.5/s");
    let first = found(&plan).cheapest.unwrap();
    for refusals in [1, 2] {
        let mut asked = 0;
        let mut doubting = |_: &Plan| {
            asked += 1;
            Confirmed {
                holds: asked > refusals,
                is_close: false,
                clause: None,
            }
        };
        let found = optimize(&plan, &book(), &Wishes::default(), &mut doubting).unwrap();
        let cheapest = found.cheapest.expect("the next one holds");
        assert_ne!(cheapest.plan, first.plan);
        let machines = |plan: &Plan| -> u32 { plan.topology.nodes.iter().map(|node| node.count).sum() };
        if refusals == 1 {
            assert_eq!(machines(&cheapest.plan), machines(&first.plan));
            assert!(
                (cheapest.monthly - first.monthly).abs() < 1.0,
                "cents of traffic between zones"
            );
        } else {
            assert!(
                cheapest.monthly > first.monthly + 1.0,
                "{} {}",
                cheapest.monthly,
                first.monthly
            );
        }
        assert!(cheapest.clauses.iter().all(|clause| trial::over(clause) < 0.0));
    }
}

/// Events that need room for 40 % more users than the fluid model does.
#[test]
fn a_reserve_is_as_large_as_events_want_it_and_not_much_larger() {
    let plan = event("0.5/s");
    let mut asked = 0;
    let mut wanting = |plan: &Plan| {
        asked += 1;
        Confirmed {
            holds: Trial::of(&loaded(plan, 1.4), &book()).is_some_and(|trial| trial.holds(0.0)),
            is_close: false,
            clause: None,
        }
    };
    let wishes = Wishes {
        margin: 0.0,
        ..Wishes::default()
    };
    let found = optimize(&plan, &book(), &wishes, &mut wanting).unwrap();
    assert!(asked <= 2 * wishes.confirmations, "{asked}");
    // The latency has room, so to allow more of it saves nothing: not the reserve either.
    let binds = |what| {
        found
            .binding
            .iter()
            .any(|shadow| shadow.clause.promise.what == what)
    };
    assert!(!binds(What::Latency), "{:?}", found.binding);
    let cheapest = found.cheapest.expect("larger machines hold it");
    let least = self::found(&loaded(&plan, 1.4)).cheapest.unwrap();
    let price = |design: &Plan| Trial::of(design, &book()).unwrap().monthly;
    let (got, could) = (price(&cheapest.plan), {
        let mut design = least.plan;
        design.scenario = cheapest.plan.scenario.clone();
        price(&design)
    });
    assert!(got < could * 1.15, "{got} where {could} would do");
}

#[test]
fn a_frontier_goes_up_and_the_roomy_design_is_on_it() {
    let found = found(&event("0.5/s"));
    for two in found.frontier.windows(2) {
        assert!(two[0].monthly <= two[1].monthly && two[0].headroom < two[1].headroom);
    }
    let roomy = found.roomy.expect("20 % more is possible");
    assert!(roomy.headroom >= 1.2 && roomy.monthly >= found.cheapest.unwrap().monthly);
}

#[test]
fn a_clause_that_costs_money_has_its_price() {
    let mut plan = event("0.5/s");
    // So short that only larger machines keep it.
    plan.contract.latency[0].within = 0.068;
    let found = found(&plan);
    for shadow in &found.binding {
        assert!(shadow.saves > 0.5 && shadow.monthly < found.cheapest.as_ref().unwrap().monthly);
    }
    // The uptime asks for the second machine.
    plan.contract.latency[0].within = 0.5;
    plan.contract.uptime = 0.9;
    let careless = optimize(&plan, &book(), &Wishes::default(), &mut trusting).unwrap();
    let careful = optimize(&event("0.5/s"), &book(), &Wishes::default(), &mut trusting).unwrap();
    assert!(careless.cheapest.unwrap().monthly < careful.cheapest.unwrap().monthly);
}

#[test]
fn the_same_plan_gives_the_same_answer() {
    let answer = || serde_json::to_string(&found(&event("0.5/s"))).unwrap();
    assert_eq!(answer(), answer());
}

#[test]
fn few_trials_end_the_search_and_not_the_answer() {
    for trials in [0, 1, 10, 100] {
        let wishes = Wishes {
            trials,
            ..Wishes::default()
        };
        let found = optimize(&event("0.5/s"), &book(), &wishes, &mut trusting).unwrap();
        assert!(found.trials <= trials.max(1), "{} of {trials}", found.trials);
    }
}
