//! Commands: who may do what, and what becomes of it (steps 3 and 4 of the data's way).
//!
//! Each handler either answers at once, or issues a ticket and asks the engine;
//! the answer comes back in `event`. Joins have a file of their own.

use bytes::Bytes;
use tidegate_wire::{
    CloseReason, Reject, RejectCode, RoomName,
    frame::{
        self, Codec, Command, Connect, Connected, Filter, History, Notice, Ok as Reply, Pong, Presence,
        Publish, Push,
    },
};

use crate::{
    grant::{Claims, Right},
    join::{check_wishes, forbidden},
    moment::Moment,
    outbox::Lane,
    planted::Bug,
    policy::unknown_namespace,
    request::{Exit, HistoryQuery, NewPublication, Request},
    room::Wants,
    session::{Stage, Verifying},
    shard::{ConnId, Pending, Shard, Timer},
};

/// Bytes of one page of a `history` command.
const PAGE_BYTES_MAX: usize = 256 << 10;

impl Shard {
    pub(crate) fn on_message(&mut self, conn: ConnId, message: &[u8], now: Moment) {
        let codec: Codec = self.sessions[conn.index as usize].link.codec;
        let mut commands = std::mem::take(&mut self.decoded);
        let outcome = codec.decode(message, &mut |command| commands.push(command));
        for command in commands.drain(..) {
            // A command may have ended the connection.
            if !self.is_open(conn) {
                break;
            }
            self.counters.commands_total += 1;
            match command {
                Ok(request) => self.on_request(conn, request, now),
                Err(bad) => self.reject(conn, bad.id, bad.reject, now),
            }
        }
        commands.clear();
        self.decoded = commands;
        if outcome.is_err() && self.is_open(conn) {
            self.close(conn, CloseReason::Malformed, now);
        }
    }

    fn on_request(&mut self, conn: ConnId, request: frame::Request, now: Moment) {
        let frame::Request { id, command } = request;
        if !matches!(command, Command::Ping { .. } | Command::Leave { .. })
            && let Some(reject) = self.refuse_while_parting(conn, now)
        {
            return self.reject(conn, id, reject, now);
        }
        let session = &mut self.sessions[conn.index as usize];
        match (session.stage, command) {
            (Stage::Closing, _) => {}
            (_, Command::Ping { t0_ms }) => self.on_ping(conn, id, t0_ms, now),
            (Stage::Opened, Command::Connect(connect)) => self.on_connect(conn, id, connect),
            (Stage::Opened, _) => {
                let reject = Reject::new(RejectCode::NotConnected, "`connect` must come first");
                self.reject(conn, id, reject, now);
            }
            (Stage::Verifying, command) => {
                let held_max = self.setup.limits.held_commands_max;
                let verifying = session.verifying.as_deref_mut();
                let held = &mut verifying.expect("set with the stage").held;
                if held.len() >= held_max {
                    return self.close(conn, CloseReason::Flood, now);
                }
                held.push_back(frame::Request { id, command });
            }
            (Stage::Ready, command) => self.on_command(conn, id, command, now),
        }
    }

    fn on_command(&mut self, conn: ConnId, id: u32, command: Command, now: Moment) {
        // Leaving is never refused: a client that has left must not be given the room's events any longer.
        if !matches!(command, Command::Leave { .. })
            && let Err(reject) = self.take_command(conn, now)
        {
            return self.reject(conn, id, reject, now);
        }
        match command {
            Command::Ping { t0_ms } => self.on_ping(conn, id, t0_ms, now),
            Command::Connect(_) => {
                let reject = Reject::new(RejectCode::AlreadyConnected, "");
                self.reject(conn, id, reject, now);
            }
            Command::Refresh { token } => self.on_refresh(conn, id, token, now),
            Command::Join(join) => self.on_join(conn, id, &join, now),
            Command::Filter(filter) => self.on_filter(conn, id, &filter, now),
            Command::Leave { room } => self.on_leave(conn, id, &room, now),
            Command::Publish(publish) => self.on_publish(conn, id, publish, now),
            Command::History(history) => self.on_history(conn, id, history, now),
            Command::Presence(presence) => self.on_presence(conn, id, presence, now),
        }
    }

    fn on_ping(&mut self, conn: ConnId, id: u32, t0_ms: f64, now: Moment) {
        if self.gate.planted.is(Bug::ShedPings) && self.is_shedding() {
            return;
        }
        let now_ms = self.setup.wall.at_us(now) as f64 / 1_000.0;
        let pong = Reply::Pong(Pong {
            t0_ms,
            t1_ms: now_ms,
            t2_ms: now_ms,
        });
        self.reply(conn, id, &Ok(pong), now);
    }

    fn on_connect(&mut self, conn: ConnId, id: u32, connect: Connect) {
        let resume = connect.resume.into_iter().map(|(id, join)| frame::Request {
            id,
            command: Command::Join(join),
        });
        let held = resume.collect();
        let session = &mut self.sessions[conn.index as usize];
        session.stage = Stage::Verifying;
        session.verifying = Some(Box::new(Verifying { id, held }));
        self.counters.commands_total += session.verifying.as_ref().map_or(0, |v| v.held.len() as u64);
        self.verify.push_back((conn, connect.token));
    }

    fn on_refresh(&mut self, conn: ConnId, id: u32, token: String, now: Moment) {
        let session = &mut self.sessions[conn.index as usize];
        if session.verifying.is_some() {
            let reject = Reject::retry(
                RejectCode::RateLimited,
                1_000,
                "another refresh is being verified",
            );
            return self.reject(conn, id, reject, now);
        }
        session.verifying = Some(Box::new(Verifying {
            id,
            held: Default::default(),
        }));
        self.verify.push_back((conn, token));
    }

    pub(crate) fn on_verified(&mut self, conn: ConnId, result: Result<Claims, Reject>, now: Moment) {
        let session = &mut self.sessions[conn.index as usize];
        let Some(verifying) = session.verifying.take() else {
            return;
        };
        let is_connect = session.stage == Stage::Verifying;
        let same_user = |claims: &Claims| claims.user.is_empty() || claims.user == session.user;
        let result = match result {
            Ok(claims) if !is_connect && !same_user(&claims) => {
                let detail = "the new token is another user's";
                Err(Reject::new(RejectCode::TokenInvalid, detail))
            }
            other => other,
        };
        match result {
            Ok(claims) if is_connect => self.on_connected(conn, *verifying, claims, now),
            Ok(claims) => self.on_refreshed(conn, verifying.id, claims, now),
            Err(reject) => {
                let code = reject.code;
                self.reject(conn, verifying.id, reject, now);
                match (is_connect, code) {
                    (true, RejectCode::TokenExpired) => self.close(conn, CloseReason::TokenExpired, now),
                    (true, RejectCode::TokenInvalid) => self.close(conn, CloseReason::TokenInvalid, now),
                    // The verifier could not be asked: come back later.
                    (true, _) => self.close(conn, CloseReason::Overloaded, now),
                    (false, _) => {}
                }
            }
        }
    }

    fn on_connected(&mut self, conn: ConnId, verifying: Verifying, claims: Claims, now: Moment) {
        let connection = self.connection_name(conn);
        let user = match claims.user.is_empty() {
            true => Bytes::from(self.guest_name(conn)),
            false => claims.user,
        };
        let limits = &self.setup.limits;
        let reply = Reply::Connected(Connected {
            connection,
            user: String::from_utf8_lossy(&user).into_owned(),
            expires_in_ms: claims.expires.map(|at| at.since(now).as_millis() as u64),
            ping_ms: limits.ping_interval.as_millis() as u32,
            frame_bytes_max: limits.frame_bytes_max as u32,
            reconnect_ms: limits.reconnect_window.as_millis() as u32,
        });
        let session = &mut self.sessions[conn.index as usize];
        session.stage = Stage::Ready;
        session.user = user;
        session.info = claims.info;
        session.grants = Some(claims.grants);
        session.expires = claims.expires;
        self.watch_expiry(conn, now);
        self.reply(conn, verifying.id, &Ok(reply), now);
        for request in verifying.held {
            if self.is_ready(conn) {
                self.on_request(conn, request, now);
            }
        }
    }

    fn on_refreshed(&mut self, conn: ConnId, id: u32, claims: Claims, now: Moment) {
        let session = &mut self.sessions[conn.index as usize];
        session.info = claims.info;
        session.grants = Some(claims.grants);
        session.expires = claims.expires;
        let lost: Vec<_> = session
            .memberships
            .iter()
            .map(|m| m.room)
            .filter(|room| !session.may(Right::Join, &self.rooms[room.0 as usize].name))
            .collect();
        let reply = Reply::Refreshed {
            expires_in_ms: claims.expires.map(|at| at.since(now).as_millis() as u64),
        };
        self.watch_expiry(conn, now);
        self.reply(conn, id, &Ok(reply), now);
        for room_id in lost {
            let room = self.rooms[room_id.0 as usize].name.clone();
            self.unsubscribe(conn, room_id, Exit::Left, now);
            let notice = Push::Notice(Notice::Removed { room });
            self.push(conn, &notice, now);
        }
    }

    /// Asks for a new token some time before this one ends.
    fn watch_expiry(&mut self, conn: ConnId, now: Moment) {
        let Some(at) = self.sessions[conn.index as usize].expires else {
            return;
        };
        let ahead = self.setup.limits.refresh_ahead;
        let ask_at = (at - ahead).max(now);
        self.set_timer(ask_at, Timer::Refresh(conn, at));
    }

    fn on_filter(&mut self, conn: ConnId, id: u32, filter: &Filter, now: Moment) {
        let session = &self.sessions[conn.index as usize];
        let room_id = self.rooms_by_name.get(&filter.room).copied();
        let joined = room_id.and_then(|room| Some((room, session.membership(room)?)));
        let Some((room_id, place)) = joined else {
            let detail = format!("{:?} is not joined", filter.room.as_str());
            return self.reject(conn, id, Reject::new(RejectCode::NotJoined, detail), now);
        };
        let subscriber = session.memberships[place].subscriber as usize;
        let room = &mut self.rooms[room_id.0 as usize];
        if let Err(reject) = check_wishes(&filter.wishes, &room.policy) {
            return self.reject(conn, id, reject, now);
        }
        room.subscribers[subscriber].wishes = Wants::of(&filter.wishes);
        self.reply(conn, id, &Ok(Reply::Filtered), now);
    }

    fn on_leave(&mut self, conn: ConnId, id: u32, room: &RoomName, now: Moment) {
        let session = &mut self.sessions[conn.index as usize];
        if let Some(room_id) = self.rooms_by_name.get(room).copied() {
            if session.membership(room_id).is_some() {
                self.unsubscribe(conn, room_id, Exit::Left, now);
                return self.reply(conn, id, &Ok(Reply::Left), now);
            }
            // The join under way finds out when it goes on; it must not be done behind the
            // client's back.
            if let Some(joining) = session.joining(room_id).filter(|joining| !joining.was_left) {
                joining.was_left = true;
                return self.reply(conn, id, &Ok(Reply::Left), now);
            }
        }
        let detail = format!("{:?} is not joined", room.as_str());
        let reject = Reject::new(RejectCode::NotJoined, detail);
        self.reject(conn, id, reject, now);
    }

    fn on_publish(&mut self, conn: ConnId, id: u32, publish: Publish, now: Moment) {
        let admitted = self.admit_publish(conn, &publish);
        let admitted = admitted.and_then(|lane| self.admit_rates(conn, &publish.room, now).map(|()| lane));
        let place = match admitted.and_then(|lane| self.admit_place(lane, now)) {
            Ok(place) => place,
            Err(reject) => return self.reject(conn, id, reject, now),
        };
        let session = &mut self.sessions[conn.index as usize];
        session.in_flight += 1;
        let publication = Box::new(NewPublication {
            room: publish.room,
            lane: publish.lane,
            data: publish.data,
            from: session.user.clone(),
            msg: publish.msg,
            key: publish.key,
            sent_us: publish.sent_us,
            received_us: self.setup.wall.at_us(now),
            source: session.source(),
        });
        self.submit_publish(conn, id, publication, place, now);
    }

    fn admit_publish(&self, conn: ConnId, publish: &Publish) -> Result<Lane, Reject> {
        let session = &self.sessions[conn.index as usize];
        let Some(policy) = self.setup.policies.of(&publish.room) else {
            return Err(unknown_namespace(&publish.room));
        };
        if !session.may(Right::Publish, &publish.room) {
            return Err(forbidden("publish", &publish.room));
        }
        policy.check_publish(publish.lane, &publish.data)?;
        self.admit_request(conn)?;
        // A room this far behind would only get further behind, and then lose its readers.
        let room = self.rooms_by_name.get(&publish.room);
        let pending = room.map_or(0, |room| self.rooms[room.0 as usize].feed.pending_bytes());
        if pending > self.setup.limits.outbox_bytes_max / 2 {
            return Err(self.overloaded("the room's fan-out is behind"));
        }
        Ok(publish.lane.unwrap_or(policy.lane))
    }

    /// Bounds what one session and the whole shard may have waiting at the engine.
    fn admit_request(&self, conn: ConnId) -> Result<(), Reject> {
        let limits = &self.setup.limits;
        if self.sessions[conn.index as usize].in_flight >= limits.in_flight_max {
            let detail = format!("{} commands in flight", limits.in_flight_max);
            return Err(Reject::retry(RejectCode::RateLimited, 100, detail));
        }
        if self.requests.len() >= limits.requests_max {
            return Err(self.overloaded("requests wait for the engine"));
        }
        Ok(())
    }

    fn on_history(&mut self, conn: ConnId, id: u32, history: History, now: Moment) {
        if let Err(reject) = self.admit_read(conn, &history.room, Right::History, "history") {
            return self.reject(conn, id, reject, now);
        }
        let policy = self.setup.policies.of(&history.room).expect("admitted");
        if !policy.keeps_history() {
            let detail = format!("namespace {:?} keeps no history", policy.namespace);
            return self.reject(conn, id, Reject::new(RejectCode::Disabled, detail), now);
        }
        let query = HistoryQuery {
            since: history.since,
            limit: history.limit.clamp(1, policy.history_page_max),
            bytes_max: PAGE_BYTES_MAX,
            reverse: history.reverse,
        };
        if let Err(reject) = self.admit_replay() {
            return self.reject(conn, id, reject, now);
        }
        self.sessions[conn.index as usize].in_flight += 1;
        self.read_for_client(conn, id, history.room, query, now);
    }

    fn on_presence(&mut self, conn: ConnId, id: u32, presence: Presence, now: Moment) {
        if let Err(reject) = self.admit_read(conn, &presence.room, Right::Presence, "presence") {
            return self.reject(conn, id, reject, now);
        }
        let policy = self.setup.policies.of(&presence.room).expect("admitted");
        if !policy.presence.enabled {
            let detail = format!("namespace {:?} has no presence", policy.namespace);
            return self.reject(conn, id, Reject::new(RejectCode::Disabled, detail), now);
        }
        let limit = presence.limit.min(policy.presence.members_max);
        self.sessions[conn.index as usize].in_flight += 1;
        let ticket = self.issue(Pending::Presence { conn, id }, now);
        self.requests.push_back(Request::Presence {
            ticket,
            room: presence.room,
            limit,
        });
    }

    fn admit_read(&self, conn: ConnId, room: &RoomName, right: Right, name: &str) -> Result<(), Reject> {
        if self.setup.policies.of(room).is_none() {
            return Err(unknown_namespace(room));
        }
        if !self.sessions[conn.index as usize].may(right, room) {
            return Err(forbidden(name, room));
        }
        self.admit_request(conn)
    }

    /// Puts a push for one session into its control lane.
    pub(crate) fn push(&mut self, conn: ConnId, push: &Push, now: Moment) {
        let link = self.sessions[conn.index as usize].link;
        let frame = self.encoder.push(link, push);
        self.enqueue(conn, Lane::Control, frame, now);
    }

    pub(crate) fn overloaded(&self, what: &str) -> Reject {
        Reject::retry(RejectCode::Overloaded, 1_000, what)
    }
}
