//! What rules ask of a plan, computed once: who is on the way, how busy it is, how many a machine holds, how fast who was
//! cut off is taken.

use std::cell::OnceCell;

use super::Given;
use crate::{
    compile::{CompileError, compile},
    component::{self, Component, Size},
    engine::fluid,
    judge::{Effort, Fidelity, Judge, Judgement, words},
    network::{Network, RandomFaults, Share, Station, Step, TimedFault},
    outcome::{Outcome, StationOutcome},
    plan::{CLIENTS, Kind, Node, Options, Plan},
    price::Book,
};

/// See the module. Nodes are told by their places in the plan.
pub(super) struct Facts<'a> {
    pub plan: &'a Plan,
    pub given: &'a Given<'a>,
    pub book: Option<Book>,
    /// Of each node, defaults filled in.
    pub options: Vec<Options>,
    /// By one fluid run.
    pub judged: Judgement,
    /// Uptime with nothing that goes wrong.
    calm: OnceCell<(Network, f64)>,
}

/// How many connects a second are taken, and by whom at most.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    pub a_second: f64,
    pub node: usize,
}

impl<'a> Facts<'a> {
    pub fn of(plan: &'a Plan, given: &'a Given<'a>) -> Result<Self, CompileError> {
        let network = compile(plan)?;
        let book = given.book.cloned().or_else(|| Book::by_name(&plan.book));
        Ok(Self {
            judged: judged(plan, network, book.as_ref()),
            options: plan.topology.nodes.iter().map(component::options).collect(),
            plan,
            given,
            book,
            calm: OnceCell::new(),
        })
    }

    pub fn network(&self) -> &Network {
        &self.judged.network
    }

    pub fn outcome(&self) -> &Outcome {
        &self.judged.outcome
    }

    pub fn nodes(&self) -> impl Iterator<Item = (usize, &'a Node)> + use<'a> {
        self.plan.topology.nodes.iter().enumerate()
    }

    pub fn node(&self, place: usize) -> &'a Node {
        &self.plan.topology.nodes[place]
    }

    pub fn id(&self, place: usize) -> &'a str {
        &self.node(place).id
    }

    /// Its kind's facts.
    pub fn component(&self, place: usize) -> &'static Component {
        component::of(self.node(place).kind)
    }

    pub fn size(&self, place: usize) -> &'static Size {
        let node = self.node(place);
        component::size(&node.size, node.kind).expect("compiled: its size is known")
    }

    pub fn is_managed(&self, place: usize) -> bool {
        self.size(place).managed
    }

    /// Whether one edge leads from a node to another of that kind.
    pub fn callee(&self, from: usize, kind: Kind) -> Option<usize> {
        let edges = self.plan.topology.edges.iter();
        edges
            .filter(|edge| edge.from == self.id(from))
            .filter_map(|edge| self.place(&edge.to))
            .find(|&to| self.node(to).kind == kind)
    }

    /// Whom the clients call.
    pub fn first(&self) -> Vec<usize> {
        let edges = self.plan.topology.edges.iter();
        edges
            .filter(|edge| edge.from == CLIENTS)
            .filter_map(|edge| self.place(&edge.to))
            .collect()
    }

    pub fn place(&self, id: &str) -> Option<usize> {
        self.plan.topology.nodes.iter().position(|node| node.id == id)
    }

    /// The node that holds connections.
    pub fn edge(&self) -> usize {
        let edge = self.network().edge.expect("compiled: somebody holds connections");
        self.network().stations[edge.0 as usize].node as usize
    }

    /// Machines that exist at least, those that stand by included.
    pub fn machines(&self, place: usize) -> u32 {
        let mut stations = self.stations(place);
        stations
            .next()
            .map_or(self.node(place).count, |(station, _)| station.machines)
    }

    /// Machines that work.
    pub fn working(&self, place: usize) -> u32 {
        self.stations(place)
            .next()
            .map_or(self.node(place).count, |(station, _)| working(station))
    }

    /// The stations of a node, and what came of each.
    pub fn stations(&self, place: usize) -> impl Iterator<Item = (&Station, &StationOutcome)> {
        let outcomes = &self.outcome().stations;
        let stations = self.network().stations.iter().zip(outcomes);
        stations.filter(move |(station, _)| station.node as usize == place)
    }

    /// Whether an event waits for it before it is delivered.
    pub fn is_in_path(&self, place: usize) -> bool {
        let flows = self.network().flows.iter();
        flows
            .flat_map(|flow| &flow.steps)
            .any(|step| self.is_at(step, place))
    }

    /// Whether a connect waits for it.
    pub fn is_in_connect(&self, place: usize) -> bool {
        self.network().connect.iter().any(|step| self.is_at(step, place))
    }

    /// Whether an event or a connect waits for it.
    pub fn is_on_way(&self, place: usize) -> bool {
        self.is_in_path(place) || self.is_in_connect(place)
    }

    pub fn is_at(&self, step: &Step, place: usize) -> bool {
        self.network().stations[step.station.0 as usize].node as usize == place
    }

    /// Utilisation of a node in the worst minutes: the 99th percentile of its busiest station.
    pub fn busy(&self, place: usize) -> f64 {
        busy_in(self.network(), self.outcome(), place)
    }

    /// Most users who want to be connected.
    pub fn peak(&self) -> f64 {
        let users = self.network().users.iter();
        users.map(|&(_, users)| users).fold(0.0, f64::max)
    }

    /// The second of that.
    pub fn peak_at(&self) -> f64 {
        let mut most = (0.0, f64::MIN);
        for &(at, users) in &self.network().users {
            if users > most.1 && at < self.network().length {
                most = (at, users);
            }
        }
        most.0
    }

    /// Connections of one machine of the edge at the peak.
    pub fn held(&self) -> f64 {
        self.peak() / f64::from(self.machines(self.edge()).max(1))
    }

    /// The strictest latency that was promised, seconds.
    pub fn strictest(&self) -> f64 {
        let targets = self.plan.contract.latency.iter();
        targets.map(|target| target.within).fold(f64::INFINITY, f64::min)
    }

    /// The strictest that counts for a class.
    pub fn strictest_of(&self, class: &str) -> f64 {
        let targets = self.plan.contract.latency.iter();
        targets
            .filter(|target| target.class.as_deref().is_none_or(|name| name == class))
            .map(|target| target.within)
            .fold(f64::INFINITY, f64::min)
    }

    /// How many come back a second while one machine of the edge is gone, beside what is done anyway in the worst minutes.
    pub fn pace(&self) -> Option<Pace> {
        let edge = self.edge();
        let paces = self.network().connect.iter().filter_map(|step| {
            let place = step.station.0 as usize;
            let station = &self.network().stations[place];
            let node = station.node as usize;
            let mean = step.service.mean() * share_of(step.share);
            // A pace that somebody else sets has one server; else what is managed is never short.
            if mean <= 0.0 || (station.is_managed() && station.servers > 1) {
                return None;
            }
            let mut machines = working(station);
            if node == edge && machines > 1 {
                machines -= 1;
            }
            let free = (1.0 - self.outcome().stations[place].busy_p99_minute).max(0.05);
            Some(Pace {
                a_second: f64::from(machines) * f64::from(station.servers) * free / mean,
                node,
            })
        });
        paces.min_by(|a, b| a.a_second.total_cmp(&b.a_second))
    }

    /// What failures at the busiest moment take of the uptime of a run that is calm otherwise.
    pub fn cost_of(&self, faults: Vec<TimedFault>) -> f64 {
        let weigh = self.plan.contract.weigh;
        let (calm, good) = self.calm.get_or_init(|| {
            let mut calm = self.network().clone();
            calm.random = RandomFaults::default();
            calm.faults.clear();
            let good = fluid::run(&calm).uptime(weigh);
            (calm, good)
        });
        let mut struck = calm.clone();
        struck.faults = faults;
        (good - fluid::run(&struck).uptime(weigh)).max(0.0)
    }

    /// Share of the time that may be bad.
    pub fn error_budget(&self) -> f64 {
        1.0 - self.plan.contract.uptime
    }

    /// What a node costs a month.
    pub fn price(&self, place: usize) -> Option<f64> {
        let bill = self.judged.bill.as_ref()?;
        let lines = bill.lines.iter();
        Some(
            lines
                .filter(|line| line.node.as_deref() == Some(self.id(place)))
                .map(|line| line.amount)
                .sum(),
        )
    }

    pub fn currency(&self) -> &str {
        self.book.as_ref().map_or("", |book| &book.currency)
    }

    /// What an amount is in words: `$213`.
    pub fn money(&self, amount: f64) -> String {
        match self.currency() {
            "USD" => format!("${amount:.0}"),
            "" => format!("{amount:.0}"),
            currency => format!("{amount:.0} {currency}"),
        }
    }
}

/// Machines of a station that work.
pub(super) fn working(station: &Station) -> u32 {
    match station.takeover {
        Some(_) => 1,
        None => station.machines,
    }
}

/// Utilisation of a node in the worst minutes of a run.
pub(super) fn busy_in(network: &Network, outcome: &Outcome, place: usize) -> f64 {
    let stations = network.stations.iter().zip(&outcome.stations);
    stations
        .filter(|(station, _)| station.node as usize == place)
        .map(|(_, outcome)| outcome.busy_p99_minute)
        .fold(0.0, f64::max)
}

/// The part of the events that make a visit, with caches as they are when warm.
pub(super) fn share_of(share: Share) -> f64 {
    match share {
        Share::All => 1.0,
        Share::Of { share } => share,
        Share::Misses { hit_rate, .. } => 1.0 - hit_rate,
    }
}

fn judged(plan: &Plan, network: Network, book: Option<&Book>) -> Judgement {
    let effort = Effort {
        fidelity: Fidelity::Fluid,
        ..Effort::default()
    };
    let mut judge = Judge::of(plan, network, &effort);
    if let Some(book) = book {
        judge = judge.with_book(book.clone());
    }
    while judge.step() {}
    judge.judgement()
}

/// A whole number with its thousands apart: `3,400`.
pub(super) fn many(number: f64) -> String {
    let whole = format!("{:.0}", number.clamp(0.0, 1e15));
    let mut text = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A share in whole percents, as utilisations are told.
pub(super) fn percent(share: f64) -> String {
    match share * 100.0 {
        below if below < 0.995 => "< 1 %".to_owned(),
        whole => format!("{whole:.0} %"),
    }
}

/// Bytes: `1.3 GB`.
pub(super) fn bytes(bytes: f64) -> String {
    match bytes {
        _ if bytes >= 1e9 => format!("{:.1} GB", bytes / 1e9),
        _ if bytes >= 1e6 => format!("{:.0} MB", bytes / 1e6),
        _ if bytes >= 1e3 => format!("{:.1} kB", bytes / 1e3),
        _ => format!("{bytes:.0} B"),
    }
}

/// How long something is spread over: `over 30 s`, or `at once`.
pub(super) fn over(seconds: f64) -> String {
    match seconds > 0.0 {
        true => format!("over {}", words::time(seconds)),
        false => "at once".to_owned(),
    }
}

/// `1 machine`, `3 machines`.
pub(super) fn counted(number: u32, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    }
}

/// `once`, `twice`, `3 times`.
pub(super) fn times(number: u32) -> String {
    match number {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        _ => format!("{number} times"),
    }
}

/// A time as a file says it, in whole seconds from one on: `50s`.
pub(super) fn written(seconds: f64) -> String {
    match seconds {
        _ if seconds < 1.0 => format!("{:.0}ms", libm::ceil(seconds * 1e3).max(1.0)),
        _ => format!("{:.0}s", libm::ceil(seconds)),
    }
}
