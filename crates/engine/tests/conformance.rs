//! What every engine promises, as one suite that every engine passes.
//!
//! Each case gets a bench: a running engine with three ports. Nothing here assumes how fast
//! an engine answers; a case waits for the events it is owed.

use std::{
    sync::{Arc, Condvar, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tidegate_core::{
    Lane, Policy, WallClock,
    policy::{Durability, Retention, StatePolicy},
    request::{
        Attachment, Event, Exit, HistoryQuery, NewPublication, Request, SessionKey, StateQuery, Ticket,
    },
};
use tidegate_engine::{Engine, EngineConfig, LogConfig, Port};
use tidegate_wire::{
    Epoch, Payload, Position, Publication, Reject, RejectCode, RoomName,
    frame::{GapReason, HistoryPage, Members, MembersChange, Published},
};

const PATIENCE: Duration = Duration::from_secs(20);

/// A running engine with three ports.
struct Bench {
    engine: Option<Engine>,
    ports: Vec<Port>,
    bell: Arc<(Mutex<u64>, Condvar)>,
    seen: Vec<Vec<Event>>,
    next: u64,
    dir: tempfile::TempDir,
    is_log: bool,
}

impl Bench {
    fn new(is_log: bool) -> Self {
        let mut bench = Self {
            engine: None,
            ports: Vec::new(),
            bell: Arc::default(),
            seen: vec![Vec::new(), Vec::new(), Vec::new()],
            next: 0,
            dir: tempfile::tempdir().unwrap(),
            is_log,
        };
        bench.start();
        bench
    }

    fn start(&mut self) {
        let config = match self.is_log {
            true => EngineConfig::Log(LogConfig {
                dir: self.dir.path().join("data"),
            }),
            false => EngineConfig::Memory,
        };
        let wakers = (0..3).map(|_| {
            let bell = self.bell.clone();
            Box::new(move || {
                *bell.0.lock().unwrap() += 1;
                bell.1.notify_all();
            }) as tidegate_engine::Waker
        });
        let wall = WallClock {
            origin_us: 1_764_800_000_000_000,
        };
        let (engine, ports) =
            Engine::start(&config, policies(), wall, Instant::now(), wakers.collect()).unwrap();
        (self.engine, self.ports) = (Some(engine), ports);
    }

    fn restart(&mut self) {
        self.ports.clear();
        self.engine.take().unwrap().stop().unwrap();
        self.start();
    }

    fn ticket(&mut self) -> Ticket {
        self.next += 1;
        Ticket(self.next)
    }

    fn submit(&mut self, port: usize, request: Request) {
        self.ports[port].try_submit(request).expect("the way is not full");
    }

    /// Waits for the first event of a port that fits, and takes it.
    fn wait<T>(&mut self, port: usize, what: &str, mut fits: impl FnMut(&Event) -> Option<T>) -> T {
        let started = Instant::now();
        loop {
            let rung = *self.bell.0.lock().unwrap();
            while let Some(event) = self.ports[port].try_event() {
                self.seen[port].push(event);
            }
            let found = self.seen[port]
                .iter()
                .enumerate()
                .find_map(|(n, e)| Some((n, fits(e)?)));
            if let Some((n, found)) = found {
                self.seen[port].remove(n);
                return found;
            }
            assert!(
                started.elapsed() < PATIENCE,
                "still waiting for {what}; have {:?}",
                self.seen[port]
            );
            let guard = self.bell.0.lock().unwrap();
            // Rung since we looked: look again at once. The wait itself wakes now and then.
            if *guard == rung {
                let _ = self
                    .bell
                    .1
                    .wait_timeout(guard, Duration::from_millis(50))
                    .unwrap();
            }
        }
    }

    fn attach(&mut self, port: usize, name: &str) -> Result<Attachment, Reject> {
        let Ticket(nonce) = self.ticket();
        self.submit(
            port,
            Request::Attach {
                room: room(name),
                nonce,
            },
        );
        self.wait(port, "an attachment", |event| match event {
            Event::Attached { nonce: n, result, .. } if *n == nonce => Some(result.clone()),
            _ => None,
        })
    }

    fn publish(&mut self, port: usize, name: &str, text: &str) -> Result<Published, Reject> {
        self.publish_as(port, name, text, "ann", "")
    }

    fn publish_as(
        &mut self,
        port: usize,
        name: &str,
        text: &str,
        from: &str,
        msg: &str,
    ) -> Result<Published, Reject> {
        let ticket = self.send(port, name, text, from, msg);
        self.published(port, ticket)
    }

    fn send(&mut self, port: usize, name: &str, text: &str, from: &str, msg: &str) -> Ticket {
        let ticket = self.ticket();
        let publish = Box::new(NewPublication {
            room: room(name),
            lane: None,
            data: Payload::Json(Bytes::copy_from_slice(text.as_bytes())),
            from: Bytes::copy_from_slice(from.as_bytes()),
            msg: Bytes::copy_from_slice(msg.as_bytes()),
            key: Bytes::new(),
            sent_us: 1,
            received_us: 2,
            source: tidegate_core::request::Source::Backend,
        });
        self.submit(port, Request::Publish { ticket, publish });
        ticket
    }

    /// Publishes something of a key, and waits for the answer.
    fn set(&mut self, port: usize, name: &str, key: &str, data: Payload) {
        self.set_in(None, port, name, key, data);
    }

    fn set_in(&mut self, lane: Option<Lane>, port: usize, name: &str, key: &str, data: Payload) {
        let ticket = self.ticket();
        let publish = Box::new(NewPublication {
            room: room(name),
            lane,
            data,
            from: Bytes::new(),
            msg: Bytes::new(),
            key: Bytes::copy_from_slice(key.as_bytes()),
            sent_us: 0,
            received_us: 0,
            source: tidegate_core::request::Source::Backend,
        });
        self.submit(port, Request::Publish { ticket, publish });
        self.published(port, ticket).unwrap();
    }

    /// All publications that were told so far, in order; they stay.
    fn publications(&self, port: usize, name: &str) -> Vec<Publication> {
        let told = self.seen[port].iter().filter_map(|event| match event {
            Event::Publication { room, publication } if room.as_str() == name => Some(publication.clone()),
            _ => None,
        });
        told.collect()
    }

    fn state(&mut self, name: &str) -> Vec<Publication> {
        let ticket = self.ticket();
        let query = StateQuery {
            after: 0,
            limit: 100,
            bytes_max: usize::MAX,
        };
        self.submit(
            0,
            Request::State {
                ticket,
                room: room(name),
                query,
            },
        );
        let page = self.wait(0, "a page", |event| match event {
            Event::State { ticket: t, result } if *t == ticket => Some(result.clone()),
            _ => None,
        });
        page.unwrap().publications
    }

    fn published(&mut self, port: usize, ticket: Ticket) -> Result<Published, Reject> {
        self.wait(port, "a published", |event| match event {
            Event::Published { ticket: t, result } if *t == ticket => Some(result.clone()),
            _ => None,
        })
    }

    fn event(&mut self, port: usize, name: &str) -> Publication {
        self.wait(port, "a publication", |event| match event {
            Event::Publication { room, publication } if room.as_str() == name => Some(publication.clone()),
            _ => None,
        })
    }

    fn members(&mut self, port: usize) -> MembersChange {
        self.wait(port, "a change of members", |event| match event {
            Event::Members(change) => Some(change.clone()),
            _ => None,
        })
    }

    fn history(&mut self, port: usize, name: &str, query: HistoryQuery) -> Result<HistoryPage, Reject> {
        let ticket = self.ticket();
        self.submit(
            port,
            Request::History {
                ticket,
                room: room(name),
                query,
            },
        );
        self.wait(port, "a page", |event| match event {
            Event::History { ticket: t, result } if *t == ticket => Some(result.clone()),
            _ => None,
        })
    }

    fn offsets(&mut self, name: &str, query: HistoryQuery) -> (Vec<u64>, bool, Option<GapReason>) {
        let page = self.history(0, name, query).unwrap();
        let offsets = page.publications.iter().map(|p| p.offset).collect();
        (offsets, page.more, page.gap)
    }

    fn presence(&mut self, port: usize, name: &str) -> Members {
        let ticket = self.ticket();
        let request = Request::Presence {
            ticket,
            room: room(name),
            limit: 100,
        };
        self.submit(port, request);
        self.wait(port, "members", |event| match event {
            Event::Presence { ticket: t, result } if *t == ticket => Some(result.clone().unwrap()),
            _ => None,
        })
    }

    fn enter(&mut self, port: usize, name: &str, user: &str, session: u64) {
        let request = Request::Enter {
            room: room(name),
            session: SessionKey(session),
            user: Bytes::copy_from_slice(user.as_bytes()),
            info: Bytes::new(),
        };
        self.submit(port, request);
    }

    fn exit(&mut self, port: usize, name: &str, user: &str, session: u64, exit: Exit) {
        let request = Request::Exit {
            room: room(name),
            session: SessionKey(session),
            user: Bytes::copy_from_slice(user.as_bytes()),
            exit,
        };
        self.submit(port, request);
    }

    /// Whether nothing more comes to a port for this room: asked by a round trip behind it.
    fn is_quiet(&mut self, port: usize, name: &str) -> bool {
        self.presence(port, name);
        !self.seen[port]
            .iter()
            .any(|event| matches!(event, Event::Publication { room, .. } if room.as_str() == name))
    }
}

fn room(name: &str) -> RoomName {
    RoomName::parse(name).unwrap()
}

fn policies() -> Vec<Policy> {
    let chat = Policy::with_defaults("chat");
    let presence = tidegate_core::policy::PresencePolicy {
        lease: Duration::from_millis(50),
        interval: Duration::from_millis(20),
        members_max: 5,
        sample: 2,
        ..chat.presence.clone()
    };
    let few = Retention {
        count: 5,
        ..chat.history.clone()
    };
    let light = Retention {
        bytes: 1_000,
        ..chat.history.clone()
    };
    let none = Retention {
        count: 0,
        ..chat.history.clone()
    };
    vec![
        Policy {
            presence: presence.clone(),
            ..chat.clone()
        },
        Policy {
            namespace: "bank".into(),
            durability: Durability::Sync,
            ..chat.clone()
        },
        Policy {
            namespace: "few".into(),
            history: few,
            ..chat.clone()
        },
        Policy {
            namespace: "light".into(),
            history: light,
            ..chat.clone()
        },
        Policy {
            namespace: "none".into(),
            history: none,
            ..chat.clone()
        },
        Policy {
            namespace: "short".into(),
            dedup_count: 2,
            ..chat.clone()
        },
        keyed("px", Durability::Append),
        keyed("pxsync", Durability::Sync),
    ]
}

/// A namespace with a state, and hardly any history.
fn keyed(namespace: &str, durability: Durability) -> Policy {
    let chat = Policy::with_defaults(namespace);
    Policy {
        lane: Lane::Latest,
        durability,
        state: Some(StatePolicy {
            bytes: 1 << 20,
            age: None,
        }),
        history: Retention {
            count: 2,
            ..chat.history.clone()
        },
        ..chat
    }
}

fn all(limit: u32) -> HistoryQuery {
    HistoryQuery {
        since: None,
        limit,
        bytes_max: usize::MAX,
        reverse: false,
    }
}

/// Runs a case for every engine there is.
macro_rules! every_engine {
    ($($(#[$doc:meta])* $name:ident($bench:ident) $body:block)*) => {
        $(fn $name(mut $bench: Bench) $body)*
        mod memory { $(#[test] fn $name() { super::$name(super::Bench::new(false)); })* }
        mod log { $(#[test] fn $name() { super::$name(super::Bench::new(true)); })* }
    };
}

every_engine! {
    /// A shard goes on from a page by the publications that follow it: they must be in one line.
    a_page_of_the_state_shows_what_was_told_before_it_and_no_more(bench) {
        for name in ["px:a", "pxsync:a"] {
            bench.attach(0, name).unwrap();
            for round in 0..30 {
                let query = StateQuery { after: 0, limit: 100, bytes_max: usize::MAX };
                let ticket = bench.ticket();
                bench.set(1, name, &format!("k{}", round % 7), Payload::Json("1".into()));
                bench.submit(0, Request::State { ticket, room: room(name), query });
                bench.set(1, name, &format!("k{}", round % 5), Payload::Delete);
                let mut told_before = 0;
                let page = bench.wait(0, "a page", |event| match event {
                    Event::State { ticket: t, result } if *t == ticket => Some(result.clone().unwrap()),
                    Event::Publication { room, publication } if room.as_str() == name => {
                        told_before = publication.offset;
                        None
                    }
                    _ => None,
                });
                assert_eq!(told_before, page.head.offset);
                let told = bench.publications(0, name);
                let mut state = std::collections::BTreeMap::new();
                for publication in told.iter().filter(|p| p.offset <= page.head.offset) {
                    match publication.data.is_delete() {
                        true => state.remove(&publication.key),
                        false => state.insert(publication.key.clone(), publication.offset),
                    };
                }
                let shown = page.publications.iter().map(|p| (p.key.clone(), p.offset));
                assert_eq!(shown.collect::<std::collections::BTreeMap<_, _>>(), state);
            }
        }
    }

    what_is_fresh_or_not_at_all_changes_no_state(bench) {
        bench.set(0, "px:a", "k", Payload::Json("1".into()));
        bench.set_in(Some(Lane::Lossy), 0, "px:a", "k", Payload::Json("2".into()));
        bench.set_in(Some(Lane::Lossy), 0, "px:a", "other", Payload::Json("3".into()));
        let offsets = |bench: &mut Bench| bench.state("px:a").iter().map(|p| p.offset).collect::<Vec<_>>();
        assert_eq!(offsets(&mut bench), [1]);
        if bench.is_log {
            bench.restart();
            assert_eq!(offsets(&mut bench), [1]);
        }
    }

    a_state_outlives_its_history_and_a_restart(bench) {
        let set = |bench: &mut Bench, key: &str, data| bench.set(0, "px:a", key, data);
        for key in ["a", "b", "c", "a", "c", "c", "c"] {
            set(&mut bench, key, Payload::Json("1".into()));
        }
        set(&mut bench, "b", Payload::Delete);
        set(&mut bench, "d", Payload::Bytes(vec![0, 1].into()));
        let expected = [("a", 4), ("c", 7), ("d", 9)];
        let show = |state: &[Publication]| -> Vec<(String, u64)> {
            let key = |p: &Publication| String::from_utf8(p.key.to_vec()).unwrap();
            state.iter().map(|p| (key(p), p.offset)).collect()
        };
        let owned = expected.map(|(key, offset)| (key.to_owned(), offset));
        assert_eq!(show(&bench.state("px:a")), owned);
        if bench.is_log {
            bench.restart();
            let state = bench.state("px:a");
            assert_eq!(show(&state), owned);
            assert_eq!(state[2].data, Payload::Bytes(vec![0, 1].into()));
            assert_eq!(bench.engine.as_ref().unwrap().metrics().state_keys, 3);
        }
        let ticket = bench.ticket();
        let query = StateQuery { after: 0, limit: 1, bytes_max: 1 };
        bench.submit(0, Request::State { ticket, room: room("chat:a"), query });
        let refused = bench.wait(0, "a page", |event| match event {
            Event::State { ticket: t, result } if *t == ticket => Some(result.clone()),
            _ => None,
        });
        assert_eq!(refused.unwrap_err().code, RejectCode::Disabled);
    }

    publications_are_ordered_and_reach_every_attached_port_once(bench) {
        for port in 0..2 {
            let attached = bench.attach(port, "chat:a").unwrap();
            assert_eq!((attached.head.offset, attached.oldest), (0, 1));
        }
        for n in 1..=50u64 {
            let published = bench.publish(2, "chat:a", &n.to_string()).unwrap();
            assert_eq!((published.position.offset, published.duplicate), (n, false));
        }
        for port in 0..2 {
            for n in 1..=50u64 {
                let publication = bench.event(port, "chat:a");
                assert_eq!((publication.offset, publication.data.as_bytes().as_ref()), (n, n.to_string().as_bytes()));
                assert!(publication.stamps.ordered_us > 0 && publication.stamps.received_us == 2);
            }
            assert!(bench.is_quiet(port, "chat:a"));
        }
        assert!(bench.is_quiet(2, "chat:a"), "a port that is not attached gets nothing");
    }

    an_attachment_begins_exactly_after_its_head(bench) {
        for n in 1..=20 {
            bench.publish(0, "chat:a", &n.to_string()).unwrap();
        }
        let attached = bench.attach(1, "chat:a").unwrap();
        assert_eq!(attached.head.offset, 20);
        let window: Vec<u64> = attached.window.iter().map(|p| p.offset).collect();
        let expected: Vec<u64> = (21 - window.len() as u64..=20).collect();
        assert_eq!(window, expected, "the window has no hole and ends at the head");
        bench.publish(0, "chat:a", "21").unwrap();
        assert_eq!(bench.event(1, "chat:a").offset, 21);
        bench.submit(1, Request::Detach { room: room("chat:a") });
        bench.presence(1, "chat:a");
        bench.publish(0, "chat:a", "22").unwrap();
        assert!(bench.is_quiet(1, "chat:a"));
    }

    the_same_message_id_happens_once_per_user_and_room(bench) {
        bench.attach(1, "chat:a").unwrap();
        let first = bench.publish_as(0, "chat:a", "1", "ann", "m").unwrap();
        for port in [0, 2] {
            let again = bench.publish_as(port, "chat:a", "other", "ann", "m").unwrap();
            assert_eq!((again.position, again.duplicate), (first.position, true));
        }
        assert!(!bench.publish_as(0, "chat:a", "2", "bob", "m").unwrap().duplicate);
        assert!(!bench.publish_as(0, "chat:b", "1", "ann", "m").unwrap().duplicate);
        assert_eq!((bench.event(1, "chat:a").offset, bench.event(1, "chat:a").offset), (1, 2));
        assert!(bench.is_quiet(1, "chat:a"));
        // The same id twice without waiting for the first answer.
        let tickets = [(); 2].map(|()| bench.send(0, "chat:a", "3", "ann", "twice"));
        let answers = tickets.map(|ticket| bench.published(0, ticket).unwrap());
        assert_eq!(answers.map(|a| a.duplicate), [false, true]);
    }

    message_ids_are_remembered_within_their_bound_only(bench) {
        for n in 0..10 {
            bench.publish_as(0, "short:a", "x", "ann", &n.to_string()).unwrap();
        }
        assert!(bench.publish_as(0, "short:a", "x", "ann", "9").unwrap().duplicate);
        assert!(!bench.publish_as(0, "short:a", "x", "ann", "0").unwrap().duplicate);
    }

    history_is_read_both_ways_and_says_when_there_is_more(bench) {
        let mut epoch = Epoch(0);
        for n in 1..=10 {
            epoch = bench.publish(0, "chat:a", &n.to_string()).unwrap().position.epoch;
        }
        let since = |offset| Some(Position { epoch, offset });
        assert_eq!(bench.offsets("chat:a", all(4)), (vec![1, 2, 3, 4], true, None));
        let query = HistoryQuery { since: since(7), ..all(100) };
        assert_eq!(bench.offsets("chat:a", query), (vec![8, 9, 10], false, None));
        let query = HistoryQuery { since: since(10), ..all(100) };
        assert_eq!(bench.offsets("chat:a", query), (vec![], false, None));
        let query = HistoryQuery { reverse: true, ..all(3) };
        assert_eq!(bench.offsets("chat:a", query), (vec![10, 9, 8], true, None));
        let query = HistoryQuery { since: since(3), reverse: true, ..all(3) };
        assert_eq!(bench.offsets("chat:a", query), (vec![2, 1], false, None));
        let query = HistoryQuery { since: since(11), ..all(1) };
        assert_eq!(bench.offsets("chat:a", query), (vec![1], true, Some(GapReason::Epoch)));
        let other = Some(Position { epoch: Epoch(epoch.0 ^ 1), offset: 3 });
        let query = HistoryQuery { since: other, ..all(1) };
        assert_eq!(bench.offsets("chat:a", query), (vec![1], true, Some(GapReason::Epoch)));
        let query = HistoryQuery { bytes_max: 8, ..all(100) };
        let page = bench.history(0, "chat:a", query).unwrap();
        assert!(page.more && page.publications.len() == 2, "{page:?}");
        assert_eq!(bench.offsets("chat:empty", all(5)), (vec![], false, None));
    }

    retention_by_count_and_by_bytes_moves_the_oldest(bench) {
        let mut epoch = Epoch(0);
        for n in 1..=40 {
            epoch = bench.publish(0, "few:a", &n.to_string()).unwrap().position.epoch;
            bench.publish(0, "light:a", &format!("\"{}\"", "x".repeat(95))).unwrap();
        }
        let page = bench.history(0, "few:a", all(100)).unwrap();
        assert_eq!(page.publications.iter().map(|p| p.offset).collect::<Vec<_>>(), [36, 37, 38, 39, 40]);
        assert_eq!(page.oldest, 36);
        let since = Some(Position { epoch, offset: 20 });
        let page = bench.history(0, "few:a", HistoryQuery { since, ..all(100) }).unwrap();
        assert_eq!((page.gap, page.publications.len()), (Some(GapReason::Trimmed), 5));
        let since = Some(Position { epoch, offset: 35 });
        let page = bench.history(0, "few:a", HistoryQuery { since, ..all(100) }).unwrap();
        assert_eq!((page.gap, page.publications.len()), (None, 5));
        let light = bench.history(0, "light:a", all(100)).unwrap();
        let bytes: usize = light.publications.iter().map(Publication::weight).sum();
        assert!(bytes <= 1_000 && light.publications.len() == 10, "{bytes} {}", light.publications.len());
    }

    a_namespace_without_history_still_counts_offsets(bench) {
        for n in 1..=3u64 {
            assert_eq!(bench.publish(0, "none:a", "1").unwrap().position.offset, n);
        }
        assert_eq!(bench.history(0, "none:a", all(5)).unwrap_err().code, RejectCode::Disabled);
        let attached = bench.attach(0, "none:a").unwrap();
        assert_eq!((attached.head.offset, attached.oldest), (3, 4));
    }

    what_is_not_configured_is_refused(bench) {
        assert_eq!(bench.publish(0, "what:a", "1").unwrap_err().code, RejectCode::UnknownNamespace);
        assert_eq!(bench.attach(0, "what:a").unwrap_err().code, RejectCode::UnknownNamespace);
        assert_eq!(bench.history(0, "what:a", all(1)).unwrap_err().code, RejectCode::UnknownNamespace);
    }

    members_are_users_whatever_their_connections_and_ports(bench) {
        bench.attach(0, "chat:a").unwrap();
        bench.enter(0, "chat:a", "ann", 1);
        let change = bench.members(0);
        assert_eq!((change.count, change.joined[0].user.as_ref()), (1, &b"ann"[..]));
        bench.enter(1, "chat:a", "ann", 1);
        bench.enter(1, "chat:a", "bob", 2);
        assert_eq!(bench.members(0).count, 2);
        bench.exit(0, "chat:a", "ann", 1, Exit::Left);
        assert_eq!(bench.presence(0, "chat:a").count, 2, "another connection still holds ann");
        bench.exit(1, "chat:a", "ann", 1, Exit::Left);
        let change = bench.members(0);
        assert_eq!((change.count, change.left), (1, vec![Bytes::from("ann")]));
        // Lost: listed until the lease ends.
        bench.exit(1, "chat:a", "bob", 2, Exit::Lost);
        let change = bench.members(0);
        assert_eq!((change.count, change.left), (0, vec![Bytes::from("bob")]));
    }

    a_large_room_tells_a_count_and_a_sample(bench) {
        for n in 0..30 {
            bench.enter(0, "chat:a", &format!("u{n:02}"), n);
        }
        let members = bench.presence(0, "chat:a");
        assert_eq!((members.count, members.sample.len()), (30, 2));
        let attached = bench.attach(1, "chat:a").unwrap();
        assert_eq!((attached.members.count, attached.members.sample.len()), (30, 2));
        bench.enter(0, "chat:a", "u99", 99);
        let change = bench.members(1);
        assert_eq!((change.count, change.joined.len(), change.sample.map(|s| s.len())), (31, 0, Some(2)));
    }

    a_port_that_is_gone_takes_its_members_with_it(bench) {
        bench.attach(0, "chat:a").unwrap();
        bench.attach(2, "chat:a").unwrap();
        bench.enter(2, "chat:a", "ann", 1);
        assert_eq!(bench.members(0).count, 1);
        drop(bench.ports.pop());
        // Nothing is sent there meanwhile: the port's end itself is noticed.
        assert_eq!(bench.members(0).count, 0);
    }

    a_sync_namespace_answers_and_spreads_like_any_other(bench) {
        bench.attach(1, "bank:a").unwrap();
        let tickets: Vec<Ticket> = (0..200).map(|n| bench.send(0, "bank:a", &n.to_string(), "ann", "")).collect();
        for (n, ticket) in tickets.into_iter().enumerate() {
            assert_eq!(bench.published(0, ticket).unwrap().position.offset, n as u64 + 1);
        }
        for n in 1..=200 {
            assert_eq!(bench.event(1, "bank:a").offset, n);
        }
    }

    a_restart_keeps_what_the_engine_promises_to_keep(bench) {
        let first = bench.publish_as(0, "chat:a", "1", "ann", "m").unwrap();
        for n in 2..=10 {
            bench.publish(0, "chat:a", &n.to_string()).unwrap();
        }
        for n in 1..=40 {
            bench.publish(0, "few:a", &n.to_string()).unwrap();
        }
        bench.restart();
        let attached = bench.attach(0, "chat:a").unwrap();
        if !bench.is_log {
            assert_eq!(attached.head.offset, 0);
            assert_ne!(attached.head.epoch, first.position.epoch, "history was lost, so the epoch is another");
            return;
        }
        assert_eq!(attached.head, Position { offset: 10, ..first.position });
        assert_eq!(bench.offsets("chat:a", all(100)).0, (1..=10).collect::<Vec<_>>());
        let again = bench.publish_as(0, "chat:a", "1", "ann", "m").unwrap();
        assert_eq!((again.position, again.duplicate), (first.position, true));
        assert_eq!(bench.publish(0, "chat:a", "11").unwrap().position.offset, 11);
        assert_eq!(bench.offsets("few:a", all(100)).0, [36, 37, 38, 39, 40]);
    }

    who_waits_in_a_silent_room_over_a_restart_misses_nothing(bench) {
        for name in ["chat:silent", "bank:silent", "none:silent"] {
            let before = bench.attach(0, name).unwrap().head;
            assert_eq!(before.offset, 0);
            bench.restart();
            for n in 1..=3 {
                bench.publish(1, name, &n.to_string()).unwrap();
            }
            let head = bench.attach(0, name).unwrap().head;
            assert_eq!(head.offset, 3);
            assert_eq!(head.epoch == before.epoch, bench.is_log, "{name}");
            if name != "none:silent" {
                let gap = (!bench.is_log).then_some(GapReason::Epoch);
                let since = HistoryQuery { since: Some(before), ..all(100) };
                assert_eq!(bench.offsets(name, since), (vec![1, 2, 3], false, gap), "{name}");
            }
        }
    }
}

#[test]
fn a_second_process_is_refused_in_words() {
    let bench = Bench::new(true);
    let config = EngineConfig::Log(LogConfig {
        dir: bench.dir.path().join("data"),
    });
    let second = Engine::start(
        &config,
        policies(),
        WallClock::default(),
        Instant::now(),
        Vec::new(),
    );
    let error = second.err().expect("it is locked").to_string();
    assert!(
        error.contains("in use by another process") && error.contains("engine.dir"),
        "{error}"
    );
}

#[test]
fn a_hundred_thousand_rooms_do_not_slow_the_start() {
    let mut bench = Bench::new(true);
    const ROOMS: usize = 100_000;
    let mut waiting = std::collections::VecDeque::new();
    for n in 0..ROOMS {
        waiting.push_back(bench.send(0, &format!("chat:{n}"), "1", "ann", ""));
        if waiting.len() > 10_000 {
            let ticket = waiting.pop_front().unwrap();
            bench.published(0, ticket).unwrap();
        }
    }
    for ticket in waiting {
        bench.published(0, ticket).unwrap();
    }
    let started = Instant::now();
    bench.restart();
    let attached = bench.attach(0, "chat:77777").unwrap();
    assert_eq!(attached.head.offset, 1);
    println!(
        "stopped, started and answered with {ROOMS} rooms in {:?}",
        started.elapsed()
    );
}
