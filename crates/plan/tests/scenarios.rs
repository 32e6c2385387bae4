//! The library in `scenarios/`: each is read, asks something, and has a design beside it that answers.

use std::{collections::BTreeMap, fs, path::Path};

use tidegate_plan::{
    Plan, file,
    plan::{Kind, Shape},
};

/// All files by their names, without `.toml`.
fn library() -> BTreeMap<String, Plan> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios");
    let mut plans = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        let name = name
            .strip_suffix(".toml")
            .expect("only plans are here")
            .to_owned();
        let plan = file::parse(&text).unwrap_or_else(|errors| {
            let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
            panic!("{name}:\n{}", errors.join("\n"))
        });
        plans.insert(name, plan);
    }
    plans
}

#[test]
fn every_scenario_asks_and_has_a_design_that_holds_beside_it() {
    let plans = library();
    let asked: Vec<&String> = plans.keys().filter(|name| !name.ends_with(".holds")).collect();
    assert!(asked.len() >= 10, "{asked:?}");
    assert_eq!(plans.len(), asked.len() * 2);
    for name in asked {
        let (plan, holds) = (&plans[name], &plans[&format!("{name}.holds")]);
        assert!(plan.briefing.text.len() > 100, "{name}: the briefing");
        assert!(
            plan.briefing.hints.len() >= 3 && plan.briefing.mistakes.len() >= 3,
            "{name}"
        );
        assert!(holds.briefing.text.len() > 100, "{name}: why it holds");
        // The same question: who comes and what was promised, for the same money, with the same misfortunes. How
        // clients behave is a part of the answer.
        let mut scenario = holds.scenario.clone();
        scenario.clients = plan.scenario.clients;
        assert_eq!(scenario, plan.scenario, "{name}");
        assert_eq!(
            (&holds.contract, &holds.failures),
            (&plan.contract, &plan.failures),
            "{name}"
        );
        assert_eq!((&holds.book, holds.seed), (&plan.book, plan.seed), "{name}");
        assert_ne!(holds.topology, plan.topology, "{name}");
    }
}

#[test]
fn every_scenario_is_rewritten_as_the_same_plan() {
    for (name, plan) in library() {
        assert_eq!(file::parse(&file::write(&plan)).unwrap(), plan, "{name}");
    }
}

#[test]
fn the_reference_is_the_reference() {
    let plans = library();
    for profile in ["chat", "match", "action"] {
        let plan = &plans[&format!("websocket-scaling-{profile}")];
        let (contract, scenario) = (&plan.contract, &plan.scenario);
        assert_eq!((contract.uptime, contract.budget), (0.999, 860.0));
        assert_eq!(
            (contract.latency[0].percentile, contract.latency[0].within),
            (0.95, 0.12)
        );
        assert_eq!(
            (scenario.hours, scenario.users.shape),
            (60.0, Some(Shape::LiveEvent))
        );
        assert_eq!((scenario.users.at(0.0), scenario.users.max()), (220.0, 3_400.0));
        assert!(scenario.classes.iter().any(|class| class.name == "chat"));
        assert!(scenario.bursts.len() >= 2);
        for mistake in [
            "Headroom before spikes",
            "Streams and workers scaled together",
            "Retries with backoff, priority and capacity",
            "Reconnect backoff and connection-aware planning",
        ] {
            assert!(
                plan.briefing
                    .mistakes
                    .iter()
                    .any(|text| text.starts_with(mistake)),
                "{mistake}"
            );
        }
        // One of each.
        assert!(plan.topology.nodes.iter().all(|node| node.count == 1));
        assert!(plan.topology.nodes.iter().any(|node| node.kind == Kind::Ws));
    }
}
