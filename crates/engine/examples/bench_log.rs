//! How many publishes a second the `log` engine acknowledges, how long each takes, and what
//! one fdatasync costs on the same disk.
//!
//! ```text
//! cargo run --release -p tidegate-engine --example bench_log -- [name=value]...
//!   dir=.  seconds=30  publishers=100  rooms=100  bytes=500  history=1000  durability=sync|append  rate=0
//! ```
//! `rate=0` is a closed loop: each publisher sends when its last publish was acknowledged. Any other
//! rate is an open loop of so many publishes a second in all, and latency counts from the
//! moment at which each was meant to be sent, so that a stall is not hidden.
//!
//! Look at the acknowledgements second by second: once rooms hold as much as their history may
//! (`history=` publications each), retention works with every publish. A run must outlast that moment.
//!
//! One thread drives one port for all publishers, as a shard does. It needs a core beside the engine's.

use std::{
    fs::File,
    io::Write,
    path::Path,
    process::ExitCode,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use hdrhistogram::Histogram;
use tidegate_core::{
    Policy, WallClock,
    policy::Durability,
    request::{Event, NewPublication, Request, Ticket},
};
use tidegate_engine::{Engine, EngineConfig, LogConfig, Port, Quantiles};
use tidegate_wire::{Payload, RoomName};

/// Fdatasyncs of the disk alone.
const PROBES: usize = 500;
/// What each of them appends: a small group.
const PROBE_BYTES: usize = 16 << 10;
/// What is still unanswered this long after the end is counted as lost.
const GRACE: Duration = Duration::from_secs(10);

struct Options {
    dir: String,
    seconds: u64,
    publishers: usize,
    rooms: usize,
    bytes: usize,
    history: u32,
    durability: Durability,
    rate: u64,
}

fn main() -> ExitCode {
    let outcome = parse(std::env::args().skip(1)).and_then(|options| bench(&options));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("bench_log: {why}");
            ExitCode::FAILURE
        }
    }
}

fn parse(arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options {
        dir: ".".into(),
        seconds: 30,
        publishers: 100,
        rooms: 100,
        bytes: 500,
        history: 1_000,
        durability: Durability::Sync,
        rate: 0,
    };
    for argument in arguments {
        let Some((name, value)) = argument.split_once('=') else {
            return Err(format!("{argument:?} is not name=value"));
        };
        let number = || value.parse::<u64>().map_err(|why| format!("{argument:?}: {why}"));
        let at_least_one = || number().map(|number| number.max(1) as usize);
        match name {
            "dir" => options.dir = value.into(),
            "seconds" => options.seconds = number()?.max(1),
            "publishers" => options.publishers = at_least_one()?,
            "rooms" => options.rooms = at_least_one()?,
            // Two for the quotes, which make it JSON.
            "bytes" => options.bytes = at_least_one()?.max(2),
            "history" => options.history = number()?.min(u64::from(u32::MAX)) as u32,
            "rate" => options.rate = number()?,
            "durability" => {
                options.durability = match value {
                    "sync" => Durability::Sync,
                    "append" => Durability::Append,
                    _ => return Err(format!("{argument:?}: sync or append")),
                }
            }
            _ => return Err(format!("unknown {name:?}")),
        }
    }
    Ok(options)
}

fn bench(options: &Options) -> Result<(), String> {
    let dir = tempfile::tempdir_in(&options.dir).map_err(|why| format!("{}: {why}", options.dir))?;
    println!("fdatasync alone ({PROBE_BYTES} bytes appended each)");
    print_latency(&fdatasync_alone(dir.path()).map_err(|why| why.to_string())?);

    let started = Instant::now();
    let wall = WallClock { origin_us: wall_us() };
    let mut policy = Policy::with_defaults("bench");
    policy.durability = options.durability;
    policy.history.count = options.history;
    let driver = std::thread::current();
    let config = EngineConfig::Log(LogConfig {
        dir: dir.path().join("store"),
    });
    let waker = Box::new(move || driver.unpark());
    let (engine, mut ports) =
        Engine::start(&config, vec![policy], wall, started, vec![waker]).map_err(|why| why.to_string())?;
    let mut port = ports.pop().ok_or("the engine gave no port")?;

    let run = Run::new(options).drive(&mut port);
    let metrics = engine.metrics();
    drop(port);
    engine.stop().map_err(|why| why.to_string())?;

    let per_second = run.latency.len() as f64 / run.took.as_secs_f64();
    println!(
        "\n{:?}, {} publishers, {} rooms of {} publications, {} bytes, {}",
        options.durability,
        options.publishers,
        options.rooms,
        options.history,
        options.bytes,
        match options.rate {
            0 => "closed loop".to_owned(),
            rate => format!("open loop at {rate}/s"),
        }
    );
    println!(
        "acknowledged {} in {:.2?}: {per_second:.0}/s",
        run.latency.len(),
        run.took
    );
    println!("  by second {:?}", run.by_second);
    print_latency(&run.latency);
    println!(
        "  rejected {}  unanswered {}  turned back {}",
        run.rejected, run.unanswered, run.turned_back
    );
    println!("engine");
    print_quantiles("group, publications", &metrics.group_size, 1.0);
    print_quantiles("append, ms", &metrics.append_seconds, 1e3);
    print_quantiles("fdatasync, ms", &metrics.sync_seconds, 1e3);
    let busy = metrics.append_seconds.sum + metrics.sync_seconds.sum;
    let share = |seconds: f64| 100.0 * seconds / run.took.as_secs_f64();
    println!(
        "  of the time: append {:.0} %, fdatasync {:.0} %, all else {:.0} %",
        share(metrics.append_seconds.sum),
        share(metrics.sync_seconds.sum),
        100.0 - share(busy)
    );
    match run.rejected + run.unanswered {
        0 => Ok(()),
        failed => Err(format!("{failed} publishes were not acknowledged")),
    }
}

fn fdatasync_alone(dir: &Path) -> std::io::Result<Histogram<u64>> {
    let mut latency = new_histogram();
    let mut file = File::create(dir.join("probe"))?;
    let data = [7; PROBE_BYTES];
    for _ in 0..PROBES {
        file.write_all(&data)?;
        let begun = Instant::now();
        file.sync_data()?;
        latency.saturating_record(begun.elapsed().as_nanos() as u64);
    }
    Ok(latency)
}

/// One measurement.
struct Run {
    rooms: Vec<RoomName>,
    data: Bytes,
    publishers: usize,
    rate: u64,
    lasts: Duration,
    /// When each publish was meant to be sent, by its ticket; none once it is answered.
    intended: Vec<Option<Instant>>,
    in_flight: u64,
    latency: Histogram<u64>,
    rejected: u64,
    unanswered: u64,
    /// Times the way to the engine was full.
    turned_back: u64,
    /// Acknowledgements in each second.
    by_second: Vec<u64>,
    took: Duration,
}

impl Run {
    fn new(options: &Options) -> Self {
        let room = |n| RoomName::parse(&format!("bench:{n}")).expect("a plain name");
        let text = "x".repeat(options.bytes - 2);
        Self {
            rooms: (0..options.rooms).map(room).collect(),
            data: format!("\"{text}\"").into(),
            publishers: options.publishers,
            rate: options.rate,
            lasts: Duration::from_secs(options.seconds),
            intended: Vec::new(),
            in_flight: 0,
            latency: new_histogram(),
            rejected: 0,
            unanswered: 0,
            turned_back: 0,
            by_second: Vec::new(),
            took: Duration::ZERO,
        }
    }

    fn drive(mut self, port: &mut Port) -> Self {
        let begun = Instant::now();
        let end = begun + self.lasts;
        let mut last_answer = begun;
        // In a closed loop: publishers that have nothing in flight.
        let mut idle = self.publishers as u64;
        let mut stuck = None;
        loop {
            while let Some(event) = port.try_event() {
                if self.on_event(event) {
                    last_answer = Instant::now();
                    self.count_at(last_answer - begun);
                    idle += 1;
                }
            }
            let now = Instant::now();
            if now >= end && (self.in_flight == 0 || now >= end + GRACE) {
                break;
            }
            let mut next = end + GRACE;
            if now < end {
                next = end;
                loop {
                    let due = match self.rate {
                        0 if idle == 0 => break,
                        0 => now,
                        rate => begun + Duration::from_secs_f64(self.intended.len() as f64 / rate as f64),
                    };
                    // A publish that was turned back has its number, and its time, already.
                    if stuck.is_none() && due > now {
                        next = due.min(end);
                        break;
                    }
                    let request = stuck.take().unwrap_or_else(|| self.next_request(due));
                    if let Err(request) = port.try_submit(request) {
                        self.turned_back += 1;
                        stuck = Some(request);
                        next = now + Duration::from_micros(100);
                        break;
                    }
                    self.in_flight += 1;
                    idle = idle.saturating_sub(1);
                }
            }
            // An event that came meanwhile has unparked this thread already.
            std::thread::park_timeout(next.saturating_duration_since(Instant::now()));
        }
        self.took = last_answer - begun;
        self.unanswered = self.in_flight + u64::from(stuck.is_some());
        self
    }

    fn next_request(&mut self, intended: Instant) -> Request {
        let number = self.intended.len();
        self.intended.push(Some(intended));
        let publisher = number % self.publishers;
        let now_us = wall_us();
        Request::Publish {
            ticket: Ticket(number as u64),
            publish: Box::new(NewPublication {
                room: self.rooms[publisher % self.rooms.len()].clone(),
                lane: None,
                data: Payload::Json(self.data.clone()),
                from: format!("publisher-{publisher}").into(),
                msg: format!("m-{number}").into(),
                key: Bytes::new(),
                sent_us: now_us,
                received_us: now_us,
                source: tidegate_core::request::Source::Backend,
            }),
        }
    }

    fn count_at(&mut self, since_begun: Duration) {
        let second = since_begun.as_secs() as usize;
        if self.by_second.len() <= second {
            self.by_second.resize(second + 1, 0);
        }
        self.by_second[second] += 1;
    }

    /// Whether it answers a publish. Each is answered once, as new, or the bench is wrong.
    fn on_event(&mut self, event: Event) -> bool {
        let Event::Published { ticket, result } = event else {
            return false;
        };
        let intended = self.intended[ticket.0 as usize].take();
        let intended = intended.expect("a publish is answered once");
        self.in_flight -= 1;
        match result {
            Ok(published) => {
                assert!(!published.duplicate, "every message id is used once");
                let nanos = intended.elapsed().as_nanos() as u64;
                self.latency.saturating_record(nanos);
            }
            Err(_) => self.rejected += 1,
        }
        true
    }
}

fn wall_us() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    since_epoch.unwrap_or_default().as_micros() as u64
}

fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("constant bounds")
}

fn print_latency(latency: &Histogram<u64>) {
    let at = |quantile| latency.value_at_quantile(quantile) as f64 / 1e6;
    println!(
        "  ms: p50 {:.2}  p95 {:.2}  p99 {:.2}  p99.9 {:.2}  max {:.2}",
        at(0.5),
        at(0.95),
        at(0.99),
        at(0.999),
        latency.max() as f64 / 1e6
    );
}

fn print_quantiles(name: &str, quantiles: &Quantiles, unit: f64) {
    println!(
        "  {name}: {} times, p50 {:.2}  p95 {:.2}  p99 {:.2}  max {:.2}",
        quantiles.count,
        quantiles.p50 * unit,
        quantiles.p95 * unit,
        quantiles.p99 * unit,
        quantiles.max * unit
    );
}
