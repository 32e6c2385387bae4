//! What a plan and a run of it ask of one machine of `ws`: the figures that every form is made of.
//!
//! They are of the worst that was planned: the busiest minute, with one machine away, so that the others carry
//! its clients. What an operator gets is that and some room, rounded up to two figures: a limit that
//! is reached on a planned day protects nobody.

use tidegate_plan::{
    Network, Outcome, Plan,
    component::{self, Size},
    network::{Share, Station},
    plan::{Burst, Class, Kind, Node, Options},
};

use super::super::report::shown::{count, plain, time};

/// Room above what was planned.
const ROOM: f64 = 1.2;
/// Of what a station has left in its worst minute but one in a hundred, what reconnects may take.
const RECONNECTS: f64 = 0.5;
/// Where a queue begins to grow faster than its load: the knee that is warned of.
pub const KNEE: f64 = 0.8;

/// See the module.
pub struct Needs<'a> {
    pub plan: &'a Plan,
    pub network: &'a Network,
    /// The node that holds connections, with its defaults filled in.
    pub ws: &'a Node,
    pub options: Options,
    pub size: &'static Size,
    /// Machines of it in the busiest minute.
    pub machines: u32,
    /// Users connected at most, in the run or by the curve.
    pub users: f64,
    /// Of them on one machine, while one is away.
    pub connections: f64,
    /// Publications and deliveries a second of the busiest minute, of all machines.
    pub publishes: f64,
    pub deliveries: f64,
    /// Reconnects a second that can be borne beside the work, and the station that bears no more.
    pub reconnects: f64,
    pub reconnects_by: String,
    /// Utilisation of a machine of `ws` in its busiest minute.
    pub busy: f64,
}

impl<'a> Needs<'a> {
    /// # Errors
    /// If none of its nodes is Tidegate.
    pub fn of(plan: &'a Plan, network: &'a Network, outcome: &Outcome) -> Result<Self, String> {
        let edge = network.edge.map(|edge| edge.0 as usize);
        let station = edge.and_then(|edge| network.stations.get(edge));
        let place = station.map_or(usize::MAX, |station| station.node as usize);
        let ws = match plan.topology.nodes.get(place) {
            Some(node) if node.kind == Kind::Ws => node,
            Some(node) => {
                return Err(format!(
                    "`{}` holds the connections, and is not Tidegate: this form is made for a `ws`",
                    plain(&node.id)
                ));
            }
            None => return Err("no node holds connections; this form is made for a `ws`".to_owned()),
        };
        let size = component::size(&ws.size, ws.kind).expect("it was compiled with this size");
        let options = component::options(ws);
        let of_edge = |minute: &tidegate_plan::outcome::Minute| {
            let machines = edge.and_then(|edge| minute.machines.get(edge));
            machines.copied().unwrap_or(0)
        };
        let machines = match options.autoscale_max {
            Some(_) => outcome
                .minutes
                .iter()
                .map(of_edge)
                .max()
                .unwrap_or(0)
                .max(ws.count),
            None => ws.count,
        };
        let users = outcome.connected_max.max(plan.scenario.users.max()).max(1.0);
        let left = machines.saturating_sub(1).max(1);
        let per_second = |of: fn(&tidegate_plan::outcome::Minute) -> f64| {
            outcome.minutes.iter().map(of).fold(0.0, f64::max) / 60.0
        };
        let wanted: f64 = plan
            .scenario
            .classes
            .iter()
            .map(|class| class.rate * factor(plan, class))
            .sum();
        let busy = network
            .stations
            .iter()
            .zip(&outcome.stations)
            .filter(|(station, _)| station.node as usize == place)
            .map(|(_, outcome)| outcome.busy_max_minute)
            .fold(0.0, f64::max);
        let (reconnects, reconnects_by) = reconnects(network, outcome);
        Ok(Self {
            plan,
            network,
            ws,
            options,
            size,
            machines,
            users,
            connections: users / f64::from(left),
            publishes: per_second(|minute| minute.published).max(wanted * users),
            deliveries: per_second(|minute| minute.delivered),
            reconnects,
            reconnects_by,
            busy,
        })
    }

    /// The first lines: what this is, of which plan, and what it is not.
    pub fn header(&self, form: &str) -> String {
        let shebang = match form {
            "load-script" => "#!/bin/sh\n",
            _ => "",
        };
        let mut text = format!(
            "{shebang}# {}: made by `tidegate plan export --{form}`.\n\
             # From the plan and one run of it ({} h, seed {}): at most {} users, {} publications and {} deliveries a second.\n\
             # A draft: read it before you use it, and make it anew when the plan changes.\n",
            plain(&self.plan.title).replace('\n', " "),
            count(self.plan.scenario.hours),
            self.plan.seed,
            count(self.users),
            count(self.publishes),
            count(self.deliveries),
        );
        if self.machines > 1 {
            text.push_str(&format!(
                "# `{}` has {} machines. The engines of this version keep the rooms of one process: until an engine is shared, a room's\n\
                 # clients must be led to the same machine, by a name of its own or by a load balancer that hashes the room.\n",
                self.ws.id, self.machines
            ));
        }
        text
    }

    /// Connections that one machine should take: those of its share while another is away, and some more.
    pub fn connections_max(&self) -> u64 {
        up(self.connections * ROOM)
            .min(self.connections_in_memory())
            .max(1)
    }

    /// What memory allows of them.
    pub fn connections_in_memory(&self) -> u64 {
        let edge = self.edge();
        match edge.memory_per_connection > 0.0 {
            true => ((edge.memory - edge.memory_base) / edge.memory_per_connection).max(1.0) as u64,
            false => u64::MAX,
        }
    }

    /// The same in words.
    pub fn connections_why(&self) -> String {
        let users = count(self.users);
        let shared = match self.machines {
            1 => format!("{users} users at the peak, all on one machine, and a fifth more"),
            machines => format!(
                "{users} users at the peak over {machines} machines of which one is away: {} each, and a fifth more",
                count(self.connections)
            ),
        };
        match self.connections_in_memory() < up(self.connections * ROOM) {
            true => format!(
                "what the memory of a {} holds; the plan has {shared}",
                self.size.name
            ),
            false => shared,
        }
    }

    /// Resident memory of the process at most: four fifths of the machine.
    pub fn memory_max(&self) -> u64 {
        (self.size.memory * 0.8 / MIB) as u64
    }

    /// Publications a second of one machine at most, with what a burst brings in its busiest seconds.
    pub fn publishes_max(&self) -> u64 {
        let classes = self.plan.scenario.classes.iter();
        let seconds: f64 = classes.map(|class| self.peak_rate(class) * self.users).sum();
        let left = self.machines.saturating_sub(1).max(1);
        up(seconds.max(self.publishes) / f64::from(left) * ROOM)
    }

    /// What a user publishes of a class in the busiest seconds: while it is loud, and while many react.
    pub fn peak_rate(&self, class: &Class) -> f64 {
        let bursts = self.plan.scenario.bursts.iter();
        let reactions = bursts.map(|burst| reaction(burst, class).unwrap_or(0.0));
        class.rate * self.factor(class) + reactions.fold(0.0, f64::max)
    }

    /// Publishes a second of one connection: twice what its user sends while it is loud, and two for a quick hand.
    pub fn connection_publishes(&self) -> u64 {
        (2.0 * self.user_publishes() + 2.0).ceil() as u64
    }

    /// What a user publishes a second while it is loud.
    pub fn user_publishes(&self) -> f64 {
        let classes = self.plan.scenario.classes.iter();
        classes.map(|class| class.rate * self.factor(class)).sum()
    }

    /// How many times as much of a class there is while it is loud.
    pub fn factor(&self, class: &Class) -> f64 {
        factor(self.plan, class)
    }

    /// Members of the largest room of a class, and of a usual one.
    pub fn room(&self, class: &Class) -> (f64, f64) {
        let flow = self.network.flows.iter().find(|flow| flow.name == class.name);
        let (largest, mean) = flow.map_or((1.0, 1.0), |flow| (flow.receivers_max, flow.receivers_mean()));
        (largest.max(1.0), mean.clamp(1.0, largest.max(1.0)))
    }

    /// The strictest promise of a class, or of all: a percentile and seconds; none if none was made.
    pub fn promise(&self, class: Option<&Class>) -> Option<(f64, f64)> {
        let targets = self.plan.contract.latency.iter();
        targets
            .filter(|target| match (class, &target.class) {
                (_, None) | (None, _) => true,
                (Some(class), Some(name)) => class.name == *name,
            })
            .map(|target| (target.percentile, target.within))
            .min_by(|a, b| a.1.total_cmp(&b.1))
    }

    /// Seconds over which a drain spreads the clients of a machine, how many come back each second, and why.
    pub fn drain(&self) -> (f64, u64, String) {
        let within = self.options.drain.unwrap_or(0.0).clamp(0.0, 3_600.0);
        let connections = self.connections_max() as f64;
        let pace = connections / within.max(1.0);
        let borne = format!(
            "`{}` bears {} connects a second beside its work",
            self.reconnects_by,
            count(self.reconnects)
        );
        match pace <= self.reconnects {
            true => (
                within,
                (pace.ceil() as u64).clamp(1, 1_000_000),
                format!(
                    "{} connections over the plan's {}; {borne}",
                    count(connections),
                    time(within)
                ),
            ),
            false => {
                let pace = self.reconnects.floor().clamp(1.0, 1e6);
                let within = (connections / pace).ceil().min(3_600.0);
                (within, pace as u64, format!("half of what is left: {borne}"))
            }
        }
    }

    /// The station that holds connections.
    pub fn edge(&self) -> &Station {
        let edge = self.network.edge.expect("made for a network that has one");
        &self.network.stations[edge.0 as usize]
    }

    /// The options of another node, with its defaults.
    pub fn options_of(&self, node: &Node) -> Options {
        component::options(node)
    }

    /// Nodes that a node calls.
    pub fn called_by(&self, node: &Node) -> Vec<&'a str> {
        let edges = self.plan.topology.edges.iter();
        edges
            .filter(|edge| edge.from == node.id)
            .map(|edge| edge.to.as_str())
            .collect()
    }
}

/// Bytes of a mebibyte.
pub const MIB: f64 = 1024.0 * 1024.0;

/// Rounded up to two figures: 1,870 is 1,900.
pub fn up(value: f64) -> u64 {
    let whole = value.max(1.0).ceil().min(1e15);
    let mut step = 1.0;
    while whole / step >= 100.0 {
        step *= 10.0;
    }
    ((whole / step).ceil() * step) as u64
}

/// Publications a second of a user while many react: half of those who do have done so by the median.
pub fn reaction(burst: &Burst, class: &Class) -> Option<f64> {
    match burst {
        Burst::Cluster {
            share,
            delay_p50,
            class: of,
            ..
        } if *of == class.name && *share > 0.0 => Some(share / 2.0 / delay_p50.max(0.1)),
        Burst::Cluster { .. } | Burst::Mmpp { .. } => None,
    }
}

fn factor(plan: &Plan, class: &Class) -> f64 {
    let bursts = plan.scenario.bursts.iter();
    let factors = bursts.filter_map(|burst| match burst {
        Burst::Mmpp { factor, classes, .. } => {
            (classes.is_empty() || classes.contains(&class.name)).then_some(*factor)
        }
        Burst::Cluster { .. } => None,
    });
    factors.fold(1.0, f64::max)
}

/// What the busiest station of a connect has left for more of them.
fn reconnects(network: &Network, outcome: &Outcome) -> (f64, String) {
    let mut least = (1e6, String::from("ws"));
    for step in &network.connect {
        let place = step.station.0 as usize;
        let (Some(station), Some(of)) = (network.stations.get(place), outcome.stations.get(place)) else {
            continue;
        };
        let share = match step.share {
            Share::All => 1.0,
            Share::Of { share } => share,
            Share::Misses { hit_rate, .. } => 1.0 - hit_rate,
        };
        let each = step.service.mean() * share;
        if each <= 0.0 {
            continue;
        }
        // Clients come back because a machine is away.
        let holds = network.edge == Some(step.station) && station.machines > 1;
        let machines = match station.takeover {
            Some(_) => 1,
            None => station.machines - u32::from(holds),
        };
        let free = (1.0 - of.busy_p99_minute).max(0.1);
        let borne = f64::from(machines) * f64::from(station.servers) / each * free * RECONNECTS;
        if borne < least.0 {
            least = (borne, station.name.clone());
        }
    }
    least
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_rounded_up_to_two_figures() {
        assert_eq!(
            [0.0, 7.2, 99.5, 101.0, 1_870.0, 1_901.0].map(up),
            [1, 8, 100, 110, 1_900, 2_000]
        );
    }
}
