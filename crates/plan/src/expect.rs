//! What one machine of Tidegate does with so many connections, as its plan has it: what a running server is held against.
//!
//! The plan's own users come and go; here there are as many as somebody counted, and the fluid says what they
//! ask for. Bursts and failures are left out: a look of some seconds is meant to fall between them.

use serde::Serialize;

use crate::{
    compile::{CompileError, compile},
    component::figures::{WS_BASE_SYSTEM_BYTES, WS_CONNECTION_KERNEL_BYTES},
    engine::fluid,
    plan::{Kind, Plan, Users},
};

/// Length of the run, hours: the mean of some minutes.
const HOURS: f64 = 0.25;

/// See the module. Of one machine, on average; rates are a second.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Expected {
    pub node: String,
    pub machines: u32,
    pub connections: f64,
    /// At the plan's busiest moment.
    pub connections_max: f64,
    pub publications: f64,
    pub deliveries: f64,
    /// Cores that are busy.
    pub cpu: f64,
    pub cores: u32,
    /// Resident bytes of the process, without what it keeps of publications.
    pub memory: f64,
}

/// What a machine of a node is expected to do; of the plan's only `ws` node if none is named.
///
/// # Errors
/// If the plan cannot run, or has no such node; the error says which it has.
pub fn expected(plan: &Plan, node: Option<&str>, connections: f64) -> Result<Expected, CompileError> {
    let place = holder(plan, node)?;
    let node = &plan.topology.nodes[place];
    let network = compile(plan)?;
    let most = network
        .users
        .iter()
        .fold(0.0, |most: f64, &(_, users)| most.max(users));
    let machines = node.count.max(1);
    let share = f64::from(machines);

    let users = (connections * share).clamp(0.0, 1e7);
    let mut calm = plan.clone();
    calm.scenario.hours = HOURS;
    calm.scenario.users = Users {
        shape: None,
        points: vec![(0.0, users), (HOURS, users)],
    };
    calm.scenario.bursts.clear();
    calm.failures.scheduled.clear();
    (calm.failures.crashes_per_year, calm.failures.deploys_per_week) = (0.0, 0.0);
    let network = compile(&calm)?;
    let outcome = fluid::run(&network);
    let there = outcome.connected_mean.max(1e-9);
    let each = |total: f64| total / outcome.length / there * connections;
    let edge = network.edge.map_or(0, |edge| edge.0 as usize);
    let station = &network.stations[edge];
    let busy = outcome.stations[edge].busy_share * f64::from(station.servers);
    let base = (station.memory_base - WS_BASE_SYSTEM_BYTES.mid).max(0.0);
    let one = (station.memory_per_connection - WS_CONNECTION_KERNEL_BYTES.mid).max(0.0);
    Ok(Expected {
        node: node.id.clone(),
        machines,
        connections,
        connections_max: most / share,
        publications: each(outcome.classes.iter().map(|class| class.published).sum()),
        deliveries: each(outcome.classes.iter().map(|class| class.delivered).sum()),
        cpu: busy * (users / there).min(2.0),
        cores: station.servers,
        memory: base + one * connections,
    })
}

/// The place of the node of that name that is Tidegate's, or of the only one.
///
/// # Errors
/// If there is none, or several and none was named.
pub fn holder(plan: &Plan, name: Option<&str>) -> Result<usize, CompileError> {
    let nodes = &plan.topology.nodes;
    let holders: Vec<usize> = (0..nodes.len())
        .filter(|&place| nodes[place].kind == Kind::Ws)
        .collect();
    let known: Vec<&str> = holders.iter().map(|&place| nodes[place].id.as_str()).collect();
    let known = known.join(", ");
    let error = |what: String, way: String| CompileError {
        node: None,
        edge: None,
        what,
        way,
    };
    match (name, holders.as_slice()) {
        (_, []) => Err(error(
            "no node of the plan is of the kind `ws`".to_owned(),
            "only Tidegate itself is measured".to_owned(),
        )),
        (None, [only]) => Ok(*only),
        (None, _) => Err(error(
            "several nodes are of the kind `ws`".to_owned(),
            format!("name one: {known}"),
        )),
        (Some(name), _) => holders
            .iter()
            .copied()
            .find(|&place| nodes[place].id == name)
            .ok_or_else(|| {
                error(
                    format!("no node of the kind `ws` is called `{name}`"),
                    format!("there is {known}"),
                )
            }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{component::Costs, file};

    fn plan() -> Plan {
        file::parse(file::TEMPLATE).unwrap()
    }

    #[test]
    fn a_machine_does_its_share_of_what_its_connections_ask() {
        let plan = plan();
        let expected = expected(&plan, None, 500.0).unwrap();
        assert_eq!((expected.node.as_str(), expected.machines), ("ws", 2));
        // 1,000 users at the most, on two machines.
        assert!((expected.connections_max - 500.0).abs() < 1.0, "{expected:?}");
        // One publication in 50 seconds of each; its room has some 25 members or, as those meet it, nearly twice as many.
        assert!((expected.publications / 10.0 - 1.0).abs() < 0.02, "{expected:?}");
        let receivers = expected.deliveries / expected.publications;
        assert!((25.0..75.0).contains(&receivers), "{expected:?}");
        let costs = Costs::default();
        let work =
            10.0 * costs.publish.mid + expected.deliveries * costs.delivery.mid + 500.0 * costs.idle.mid;
        assert!(
            expected.cpu > work * 0.8 && expected.cpu < work * 1.6,
            "{expected:?} {work}"
        );
        assert!(
            (expected.memory - 18e6 - 500.0 * 576.0).abs() < 1.0,
            "{expected:?}"
        );
    }

    #[test]
    fn twice_as_many_ask_for_twice_as_much() {
        let [one, two] = [200.0, 400.0].map(|count| expected(&plan(), Some("ws"), count).unwrap());
        assert!((two.publications / one.publications - 2.0).abs() < 0.02);
        assert!(two.cpu > one.cpu * 1.8, "{one:?} {two:?}");
        assert_eq!(expected(&plan(), None, 0.0).unwrap().publications, 0.0);
    }

    #[test]
    fn a_node_that_is_not_tidegate_is_not_found() {
        let error = expected(&plan(), Some("lb"), 1.0).unwrap_err().to_string();
        assert!(error.contains("`lb`") && error.contains("there is ws"), "{error}");
    }
}
