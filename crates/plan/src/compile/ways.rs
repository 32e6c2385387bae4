//! The ways through the stations: what a publish, a connect and a job visit, one after the other.

use super::{
    CompileError, bounded,
    graph::Graph,
    rooms::Rooms,
    share,
    stations::{Built, Job, law},
};
use crate::{
    component::figures,
    conflate::Conflation,
    network::{Law, Machine, Share, Stage, StationId, Step},
    plan::{Class, Kind, NewestOf, Scenario},
};

/// Which nodes do what.
pub(super) struct Ways<'g> {
    graph: &'g Graph<'g>,
    /// The node that holds connections.
    pub edge: usize,
    /// Load balancers and limiters before it.
    way_in: Vec<usize>,
    server: Option<Server>,
    bus: Option<usize>,
}

/// The servers that decide what is durable.
#[derive(Debug, Clone)]
enum Server {
    /// The edge calls them.
    Behind(usize),
    /// Clients call them over these, and they call the edge.
    Before(usize, Vec<usize>),
}

impl Server {
    fn node(&self) -> usize {
        match self {
            Self::Behind(node) | Self::Before(node, _) => *node,
        }
    }
}

/// The way of a class.
pub(super) struct Way {
    pub steps: Vec<Step>,
    pub aside: Vec<Step>,
}

impl<'g> Ways<'g> {
    pub fn new(graph: &'g Graph<'g>, built: &mut Built) -> Result<Self, CompileError> {
        let edges: Vec<(usize, Vec<usize>)> = graph
            .of_kind(Kind::Ws)
            .chain(graph.of_kind(Kind::Hosted))
            .filter_map(|node| graph.way_in(node).map(|way| (node, way)))
            .collect();
        let (edge, way_in) = match &edges[..] {
            [one] => one.clone(),
            [] => {
                return Err(
                    match graph.of_kind(Kind::Ws).chain(graph.of_kind(Kind::Hosted)).next() {
                        Some(node) => CompileError::of_node(
                            graph.id(node),
                            "no client reaches it",
                            "add an edge from `clients`, or from a load balancer that clients reach",
                        ),
                        None => CompileError::of_plan(
                            "nothing holds connections",
                            "add a node of kind `ws` (or `hosted`) and an edge from `clients` to it",
                        ),
                    },
                );
            }
            [(first, _), (second, _), ..] => {
                return Err(CompileError::of_node(
                    graph.id(*second),
                    format!("`{}` holds connections already", graph.id(*first)),
                    "give one of them a higher count and remove the other",
                ));
            }
        };
        let server = graph.callee(edge, Kind::Server).map(Server::Behind).or_else(|| {
            graph.of_kind(Kind::Server).find_map(|server| {
                let way = graph.way_in(server).filter(|_| graph.are_joined(server, edge))?;
                Some(Server::Before(server, way))
            })
        });
        if let Some(queue) = graph
            .of_kind(Kind::Queue)
            .find(|&node| graph.callee(node, Kind::Worker).is_none())
        {
            return Err(CompileError::of_node(
                graph.id(queue),
                "nobody takes its jobs",
                "add an edge from it to a worker",
            ));
        }
        let several = graph.kind(edge) == Kind::Ws && built.machines_max(edge) > 1;
        let bus = [Kind::Stream, Kind::Redis]
            .into_iter()
            .find_map(|kind| graph.of_kind(kind).find(|&node| graph.are_joined(edge, node)));
        if several && bus.is_none() {
            return Err(CompileError::of_node(
                graph.id(edge),
                "it may have several machines and no bus between them: what is published on one does not reach receivers on the others",
                "add an edge from it to a redis or a stream, or keep it at one machine",
            ));
        }
        Ok(Self {
            graph,
            edge,
            way_in,
            server,
            bus: bus.filter(|_| several),
        })
    }

    /// What a publish of a class visits until it is delivered, and what follows on its own.
    pub fn publish(&self, class: &Class, rooms: &Rooms, built: &mut Built) -> Result<Way, CompileError> {
        let mut steps = Vec::new();
        let mut aside = Vec::new();
        let admit = built.edge_station(self.edge);
        let decided = self.server.as_ref().filter(|_| class.durable);
        let way_in = match decided {
            Some(Server::Before(_, way)) => way,
            Some(Server::Behind(_)) | None => &self.way_in,
        };
        self.enter(way_in, &mut steps, built);
        let admitted = Step {
            station: admit,
            machine: Machine::Home,
            service: self.admit(built),
            per_receiver: 0.0,
            travel: self.inward(&steps, built),
            travel_stage: Stage::Lb,
            share: Share::All,
        };
        match decided {
            Some(Server::Before(server, _)) => {
                let travel = self.inward(&steps, built);
                self.work(*server, travel, &mut steps, built);
                self.store(*server, &mut steps, &mut aside, built);
                steps.push(Step {
                    machine: Machine::Any,
                    travel: hop(built),
                    travel_stage: Stage::Work,
                    ..admitted
                });
            }
            Some(Server::Behind(server)) => {
                steps.push(admitted);
                self.work(*server, round(built), &mut steps, built);
                self.store(*server, &mut steps, &mut aside, built);
            }
            None => {
                steps.push(admitted);
                if class.durable {
                    self.store(self.edge, &mut steps, &mut aside, built);
                }
            }
        }
        let poll = self.cross(&mut steps, built);
        self.put_out(class, rooms, poll, &mut steps, built);
        Ok(Way { steps, aside })
    }

    /// What a connect visits.
    pub fn connect(&self, built: &mut Built) -> Result<Vec<Step>, CompileError> {
        let mut steps = Vec::new();
        for &node in self
            .way_in
            .iter()
            .filter(|&&node| self.graph.kind(node) == Kind::Lb)
        {
            let travel = self.inward(&steps, built);
            self.pass(node, travel, &mut steps, built);
        }
        let edge = self.edge;
        let options = built.options[edge].clone();
        let is_hosted = self.graph.kind(edge) == Kind::Hosted;
        let pace = if is_hosted {
            Some(built.value(&figures::HOSTED_CONNECTS))
        } else {
            options.handshakes_max
        };
        if let Some(pace) = pace {
            let mean = 1.0 / bounded(pace, 1e-3, 1e9);
            let station = built.station(edge, Job::Handshakes, edge);
            steps.push(visit(station, Machine::Home, Law::Fixed { mean }));
        }
        let station = built.edge_station(edge);
        let mut service = if is_hosted {
            0.0
        } else {
            built.measured(&figures::WS_HANDSHAKE, built.costs[edge].handshake)
        };
        // Without a load balancer it ends TLS itself.
        if steps.is_empty() && !is_hosted {
            service += built.measured(&figures::TLS_HANDSHAKE, built.costs[edge].tls);
        }
        steps.push(Step {
            travel: self.inward(&steps, built),
            travel_stage: Stage::Lb,
            ..visit(station, Machine::Home, law(service, figures::WS_HANDSHAKE.cv2))
        });
        if options.tokens == Some(false) {
            match &self.server {
                Some(server) => self.work(server.node(), round(built), &mut steps, built),
                None if self.graph.callee(edge, Kind::Postgres).is_some()
                    || self.graph.callee(edge, Kind::Replica).is_some() =>
                {
                    self.read(edge, &mut steps, built);
                }
                None => {
                    return Err(CompileError::of_node(
                        self.graph.id(edge),
                        "it asks at each connect who it is (`tokens = false`), and calls nobody who knows",
                        "add an edge to a server or a postgres, or set `tokens = true`",
                    ));
                }
            }
        }
        Ok(steps)
    }

    /// Share of the users whose excess gets in: less of it, behind a limiter.
    ///
    /// A limiter looks at all a user publishes; who publishes ten times as much as all others is held to the limiter's
    /// rate.
    pub fn abuse(&self, scenario: &Scenario, built: &Built) -> f64 {
        let abuse = share(scenario.abuse);
        let rate: f64 = scenario
            .classes
            .iter()
            .map(|class| bounded(class.rate, 0.0, 1e6))
            .sum();
        let limit = self
            .way_in
            .iter()
            .filter(|&&node| self.graph.kind(node) == Kind::Limiter)
            .filter_map(|&node| built.options[node].rate)
            .fold(f64::INFINITY, f64::min);
        if rate <= 0.0 || limit.is_nan() {
            return abuse;
        }
        let passed = limit.clamp(rate, 10.0 * rate);
        abuse * (passed - rate) / (9.0 * rate)
    }

    /// Load balancers and limiters, in their order.
    fn enter(&self, way: &[usize], steps: &mut Vec<Step>, built: &mut Built) {
        for &node in way {
            let travel = self.inward(steps, built);
            if self.graph.kind(node) == Kind::Lb {
                self.pass(node, travel, steps, built);
            } else {
                self.check(node, steps, built);
            }
        }
    }

    fn pass(&self, node: usize, before: Law, steps: &mut Vec<Step>, built: &mut Built) {
        let station = built.station(node, Job::Pass, node);
        let pass = built.work_law(node, &figures::LB_PASS);
        steps.push(Step {
            travel: law(pass.mean() + before.mean(), figures::LB_PASS.cv2),
            travel_stage: Stage::Lb,
            ..visit(station, Machine::Any, built.law(&figures::LB_WORK))
        });
    }

    fn check(&self, node: usize, steps: &mut Vec<Step>, built: &mut Built) {
        let station = built.station(node, Job::Check, node);
        let service = built.work_law(node, &figures::LIMITER_CHECK);
        let travel = if built.sizes[node].managed {
            Law::Zero
        } else {
            built.law(&figures::LIMITER_SHARED)
        };
        steps.push(Step {
            travel,
            travel_stage: Stage::Admit,
            ..visit(station, Machine::Any, service)
        });
        // Machines that share their counts keep them in a Redis.
        if let Some(redis) = self.graph.callee(node, Kind::Redis) {
            self.ask(redis, steps, built);
        }
    }

    /// From the last node on the way in; the clients' own way there is the network's.
    fn inward(&self, steps: &[Step], built: &Built) -> Law {
        if steps.is_empty() { Law::Zero } else { hop(built) }
    }

    fn admit(&self, built: &Built) -> Law {
        let edge = self.edge;
        if self.graph.kind(edge) == Kind::Hosted {
            return built.work_law(edge, &figures::HOSTED_PASS);
        }
        match built.options[edge].service {
            Some(service) => law(bounded(service, 0.0, 1e6), figures::WS_PUBLISH.cv2),
            None => {
                let costs = &built.costs[edge];
                let publish = built.measured(&figures::WS_PUBLISH, costs.publish);
                let put_out = built.measured(&figures::WS_PUT_OUT, costs.put_out);
                law((publish - put_out).max(publish / 10.0), figures::WS_PUBLISH.cv2)
            }
        }
    }

    /// A server's work, and what it reads for it.
    fn work(&self, server: usize, travel: Law, steps: &mut Vec<Step>, built: &mut Built) {
        let station = built.station(server, Job::Work, server);
        let service = built.work_law(server, &figures::SERVER_WORK);
        steps.push(Step {
            travel,
            travel_stage: Stage::Work,
            ..visit(station, Machine::Any, service)
        });
        self.read(server, steps, built);
    }

    /// One read for who asks: of the cache, and of the database what that does not know.
    fn read(&self, who: usize, steps: &mut Vec<Step>, built: &mut Built) {
        let mut share_read = Share::All;
        let cache = self.graph.callee(who, Kind::Redis).filter(|_| who != self.edge);
        if let Some(redis) = cache {
            let station = self.ask(redis, steps, built);
            let options = &built.options[redis];
            share_read = Share::Misses {
                cache: station,
                hit_rate: share(options.hit_rate.unwrap_or(0.0)),
                warm_up: bounded(options.warm_up.unwrap_or(0.0), 0.0, 1e6),
            };
        }
        let database = self
            .graph
            .callee(who, Kind::Replica)
            .or_else(|| self.graph.callee(who, Kind::Postgres));
        let Some(database) = database else {
            return;
        };
        let is_primary = self.graph.kind(database) == Kind::Postgres;
        let job = if is_primary { Job::Write } else { Job::Read };
        let station = built.station(database, job, database);
        // Its `service` is of a write, where it does both.
        let service = if is_primary {
            built.law(&figures::POSTGRES_READ)
        } else {
            built.work_law(database, &figures::POSTGRES_READ)
        };
        steps.push(Step {
            travel: round(built),
            travel_stage: Stage::Engine,
            share: share_read,
            ..visit(station, Machine::Any, service)
        });
    }

    /// One command of a Redis.
    fn ask(&self, redis: usize, steps: &mut Vec<Step>, built: &mut Built) -> StationId {
        let station = built.station(redis, Job::Cache, redis);
        let service = built.work_law(redis, &figures::REDIS_COMMAND);
        steps.push(Step {
            travel: round(built),
            travel_stage: Stage::Cache,
            ..visit(station, Machine::Any, service)
        });
        station
    }

    /// Where who decides keeps what is durable.
    fn store(&self, who: usize, steps: &mut Vec<Step>, aside: &mut Vec<Step>, built: &mut Built) {
        let graph = self.graph;
        let led_on = [Kind::Queue, Kind::Stream].into_iter().find_map(|kind| {
            let node = graph.callee(who, kind)?;
            Some((node, graph.callee(node, Kind::Worker)?))
        });
        if let Some((node, worker)) = led_on {
            self.append(node, steps, built);
            self.take(node, worker, aside, built);
        } else if let Some(postgres) = graph.callee(who, Kind::Postgres) {
            self.write(who, postgres, steps, built);
        } else if let Some(stream) = graph.callee(who, Kind::Stream) {
            self.append(stream, steps, built);
        } else if graph.kind(self.edge) == Kind::Ws {
            // Tidegate's own log: many wait for one fdatasync, so that it is a wait without a queue.
            let station = built.edge_station(self.edge);
            let sync = built.measured(&figures::WS_SYNC, built.costs[self.edge].sync);
            steps.push(Step {
                travel: law(sync, figures::WS_SYNC.cv2),
                travel_stage: Stage::Engine,
                ..visit(station, Machine::Home, Law::Zero)
            });
        }
    }

    /// A stream's or a queue's own store.
    fn append(&self, node: usize, steps: &mut Vec<Step>, built: &mut Built) {
        let (job, machine, cost, persist) = match self.graph.kind(node) {
            Kind::Queue => (
                Job::Send,
                Machine::Any,
                &figures::QUEUE_SEND,
                &figures::QUEUE_PERSIST,
            ),
            _ if built.is_sharded(node) => (
                Job::Append,
                Machine::Room,
                &figures::KINESIS_RECORD,
                &figures::KINESIS_PERSIST,
            ),
            _ => (
                Job::Append,
                Machine::Room,
                &figures::STREAM_APPEND,
                &figures::STREAM_PERSIST,
            ),
        };
        let station = built.station(node, job, node);
        let service = built.work_law(node, cost);
        let persist = built.value(persist) + round(built).mean();
        steps.push(Step {
            travel: law(persist, figures::STREAM_PERSIST.cv2),
            travel_stage: Stage::Engine,
            ..visit(station, machine, service)
        });
    }

    /// A worker takes a job, and writes what came of it.
    fn take(&self, from: usize, worker: usize, aside: &mut Vec<Step>, built: &mut Built) {
        let station = built.station(worker, Job::Take, worker);
        let service = built.work_law(worker, &figures::WORKER_JOB);
        let poll = bounded(built.options[from].poll.unwrap_or(0.0), 0.0, 1e6);
        aside.push(Step {
            travel: if poll > 0.0 {
                Law::Uniform { max: poll }
            } else {
                hop(built)
            },
            travel_stage: Stage::Poll,
            ..visit(station, Machine::Any, service)
        });
        if let Some(postgres) = self.graph.callee(worker, Kind::Postgres) {
            self.write(worker, postgres, aside, built);
        }
    }

    /// A write of a Postgres: a connection for as long as the disk takes, then a core.
    fn write(&self, who: usize, postgres: usize, steps: &mut Vec<Step>, built: &mut Built) {
        let pool = built.station(postgres, Job::Pool, who);
        let mut commit = built.value(&figures::POSTGRES_COMMIT);
        if built.machines(postgres) > 1 {
            commit *= built.value(&figures::POSTGRES_STANDBY);
        }
        steps.push(Step {
            travel: round(built),
            travel_stage: Stage::Engine,
            ..visit(pool, Machine::Any, law(commit, figures::POSTGRES_COMMIT.cv2))
        });
        let writes = built.station(postgres, Job::Write, postgres);
        let service = built.work_law(postgres, &figures::POSTGRES_WRITE);
        steps.push(visit(writes, Machine::Any, service));
    }

    /// To the other machines that hold connections; the seconds between two polls of theirs.
    fn cross(&self, steps: &mut Vec<Step>, built: &mut Built) -> f64 {
        let Some(bus) = self.bus else {
            return 0.0;
        };
        if self.graph.kind(bus) == Kind::Redis {
            let station = built.station(bus, Job::Bus, bus);
            // Each machine is sent a copy.
            let copies = built.value(&figures::REDIS_DELIVERY) * f64::from(built.working(self.edge));
            let service = built.work(bus, &figures::REDIS_COMMAND) + copies;
            steps.push(Step {
                travel: hop(built),
                travel_stage: Stage::Bus,
                ..visit(station, Machine::Any, law(service, figures::REDIS_COMMAND.cv2))
            });
            return 0.0;
        }
        // What was stored in it already is on its way.
        let appended = built.station(bus, Job::Append, bus);
        if !steps.iter().any(|step| step.station == appended) {
            self.append(bus, steps, built);
        }
        bounded(built.options[bus].poll.unwrap_or(0.0), 0.0, 1e6)
    }

    /// The fan-out.
    fn put_out(&self, class: &Class, rooms: &Rooms, poll: f64, steps: &mut Vec<Step>, built: &mut Built) {
        let edge = self.edge;
        let station = built.station(edge, Job::Fanout, edge);
        if self.graph.kind(edge) == Kind::Hosted {
            steps.push(Step {
                per_receiver: built.value(&figures::HOSTED_DELIVERY),
                ..visit(station, Machine::Receivers, Law::Zero)
            });
            return;
        }
        let costs = built.costs[edge];
        let delivery = built.measured(&figures::WS_DELIVERY, costs.delivery);
        let joined = built
            .measured(&figures::WS_DELIVERY_JOINED, costs.delivery_joined)
            .min(delivery);
        let most = bounded(built.options[edge].conflate_rate.unwrap_or(0.0), 0.0, 1e6);
        let mut per_receiver = delivery;
        if class.coalescible && most > 0.0 {
            let rate = bounded(class.rate, 0.0, 1e6);
            let members: f64 = rooms.receivers.iter().map(|(size, share)| size * share).sum();
            let key_rate = match class.newest_of {
                NewestOf::User => rate,
                NewestOf::Room => members * rate,
            };
            let conflation = Conflation::new(most, members * rate, key_rate);
            // One write to a receiver holds what is newest of each key.
            let in_one = conflation.in_one();
            per_receiver = conflation.kept() * (delivery + (in_one - 1.0) * joined) / in_one;
        }
        let (travel, travel_stage) = if poll > 0.0 {
            (Law::Uniform { max: poll }, Stage::Poll)
        } else if self.bus.is_some() {
            (hop(built), Stage::Bus)
        } else {
            (Law::Zero, Stage::Fanout)
        };
        let put_out = built.measured(&figures::WS_PUT_OUT, costs.put_out);
        steps.push(Step {
            per_receiver,
            travel,
            travel_stage,
            ..visit(station, Machine::Receivers, law(put_out, figures::WS_PUT_OUT.cv2))
        });
    }
}

fn visit(station: StationId, machine: Machine, service: Law) -> Step {
    Step {
        station,
        machine,
        service,
        per_receiver: 0.0,
        travel: Law::Zero,
        travel_stage: Stage::Work,
        share: Share::All,
    }
}

/// One way between two nodes.
fn hop(built: &Built) -> Law {
    built.law(&figures::HOP)
}

/// There and back.
fn round(built: &Built) -> Law {
    law(2.0 * built.value(&figures::HOP), figures::HOP.cv2 / 2.0)
}
