//! What a client is sent: bytes into frames, frames into what it believes, each compared
//! with the truth.

use std::time::Duration;

use tidegate_core::Moment;
use tidegate_wire::{
    Command, Reject, RejectCode, RoomName, ServerFrame,
    frame::{GapReason, Join, Joined, Notice, Ok as Reply, Push},
    ws::reader::{Inflater, Message},
};

use super::{Client, Out, REFRESH_RETRY, Rooms};
use crate::{
    checks::{Violation, broken, check_page, check_published},
    mutation::Mutation,
    network::Mark,
    view::View,
};

impl Client {
    /// Bytes came. They are broken up, decoded and checked.
    pub fn received(
        &mut self,
        bytes: &mut [u8],
        rooms: &Rooms,
        inflater: &mut Inflater,
        now: Moment,
        out: &mut Vec<Out>,
    ) -> Result<(), Violation> {
        self.silent_at = None;
        let mut frames = Vec::new();
        let mut close = None;
        let mut input = self.reader.input(bytes, inflater);
        loop {
            match input.next() {
                Ok(None) => break,
                Ok(Some(Message::Text(message) | Message::Binary(message))) => {
                    let mut sink = |frame| frames.push(frame);
                    if let Err(malformed) = self.parts.read(message, &mut sink) {
                        return broken("bytes", malformed.to_string());
                    }
                }
                Ok(Some(Message::Ping(_))) => out.push(Out::Pong),
                Ok(Some(Message::Pong(_))) => {}
                Ok(Some(Message::Close { code, .. })) => {
                    close = Some(code.unwrap_or(1005));
                    break;
                }
                Err(error) => return broken("bytes", format!("{} {}", error.code, error.reason)),
            }
        }
        for frame in frames {
            if self.is_open {
                self.on_frame(frame, rooms, now, out)?;
            }
        }
        if let Some(code) = close
            && self.is_open
        {
            out.push(Out::Close);
            self.closed(code, now, out);
        }
        Ok(())
    }

    /// Nothing waited for this client when its shard was as far as the mark says.
    pub fn marked(&self, mark: &Mark, rooms: &Rooms) -> Result<(), Violation> {
        if self.is_open {
            self.asked.check_mark(mark)?;
        }
        for (name, head) in mark.heads.iter() {
            let joined = self.rooms.get(name).filter(|room| room.is_joined);
            if let (Some(state), Some(truth)) = (joined, rooms.get(name)) {
                let complete = state.view.check_mark(head, mark, truth);
                if let Err(Violation { check, detail }) = complete {
                    return broken(check, format!("{name:?}, marked at {:?}: {detail}", mark.at));
                }
            }
        }
        Ok(())
    }

    /// Live events of a room that came were put out at this moment.
    pub fn check_rate(&mut self, room: &RoomName, at: Moment) -> Result<(), Violation> {
        match self.rooms.get_mut(room).filter(|room| room.is_joined) {
            Some(state) => state.view.check_rate(at),
            None => Ok(()),
        }
    }

    fn on_frame(
        &mut self,
        frame: ServerFrame,
        rooms: &Rooms,
        now: Moment,
        out: &mut Vec<Out>,
    ) -> Result<(), Violation> {
        if let ServerFrame::Reply { id, .. } = &frame {
            self.asked.answered(*id)?;
        }
        match frame {
            ServerFrame::Reply {
                id,
                result: Ok(reply),
            } => self.on_reply(id, reply, rooms, now, out),
            ServerFrame::Reply {
                id,
                result: Err(mut reject),
            } => {
                if self.planted.strikes(Mutation::ForgetRetry) {
                    reject.retry_after_ms = None;
                }
                self.on_reject(id, &reject, now, out)
            }
            ServerFrame::Push(push) => self.on_push(push, rooms, now, out),
        }
    }

    fn on_reply(
        &mut self,
        id: u32,
        reply: Reply,
        rooms: &Rooms,
        now: Moment,
        out: &mut Vec<Out>,
    ) -> Result<(), Violation> {
        match reply {
            Reply::Connected(connected) if id == self.connect_id => self.on_connected(&connected, now, out),
            Reply::Joined(joined) => return self.on_joined(id, &joined, rooms, now, out),
            Reply::Published(published) => {
                self.asked.stored(id)?;
                let Some(call) = self.calls.answered(id) else {
                    return Ok(());
                };
                let Command::Publish(publish) = call.command else {
                    return broken(
                        "answer",
                        format!("{published:?} to a command that was no publish"),
                    );
                };
                self.acknowledged += 1;
                let Some(room) = rooms.get(&publish.room) else {
                    return broken("acknowledged", "in a room that is not there");
                };
                check_published(&published, self.user.as_bytes(), &publish.msg, room)?;
                self.work(now, out);
            }
            Reply::History(page) => {
                self.calls.answered(id);
                if let Some(room) = rooms.get(&page.room) {
                    check_page(&page, room)?;
                }
                self.work(now, out);
            }
            Reply::Refreshed { expires_in_ms } if id == self.refresh_id => {
                self.plan_refresh(expires_in_ms, now);
            }
            Reply::Filtered => {
                let room = self
                    .filters
                    .remove(&id)
                    .and_then(|name| self.rooms.get_mut(&name));
                if let Some(room) = room.filter(|room| room.is_joined) {
                    room.view.on_filtered(now);
                }
            }
            Reply::Pong(_)
            | Reply::Left
            | Reply::Presence(_)
            | Reply::Connected(_)
            | Reply::Refreshed { .. } => {}
        }
        Ok(())
    }

    fn on_joined(
        &mut self,
        id: u32,
        joined: &Joined,
        rooms: &Rooms,
        now: Moment,
        out: &mut Vec<Out>,
    ) -> Result<(), Violation> {
        // Left while the join was under way.
        let Some(join) = self.joins.remove(&id) else {
            return Ok(());
        };
        let name = join.room.clone();
        if name != joined.room {
            return broken("answer", format!("{name:?} was asked for: {joined:?}"));
        }
        let (Some(state), Some(truth)) = (self.rooms.get_mut(&name), rooms.get(&name)) else {
            return broken("answer", format!("a room that is not there: {joined:?}"));
        };
        state.is_joined = true;
        state.view.on_joined(joined, &join, truth, &self.limits, now)?;
        if state.options.wishes != join.wishes {
            self.send_filter(&name, now, out);
        }
        Ok(())
    }

    fn on_reject(
        &mut self,
        id: u32,
        reject: &Reject,
        now: Moment,
        out: &mut Vec<Out>,
    ) -> Result<(), Violation> {
        let is_retryable = reject.code.number() < 200;
        // Whose slot has come may come back at once.
        let is_told = reject.retry_after_ms.is_some_and(|ms| ms > 0) || reject.code == RejectCode::Draining;
        if is_retryable && !is_told {
            return broken("reject", format!("it does not say when to try again: {reject:?}"));
        }
        let is_overload = matches!(reject.code, RejectCode::Overloaded);
        if self.expects_calm && is_overload {
            return broken("calm", format!("nothing is too much any more: {reject:?}"));
        }
        let wait = u64::from(reject.retry_after_ms.unwrap_or(1_000));
        // A slot is a time of one's own already.
        let jitter = match reject.code {
            RejectCode::Draining => 0,
            _ => self.chance.below(1_000),
        };
        let after = now + Duration::from_micros(wait * (1_000 + jitter));
        if let Some(call) = self.calls.answered(id) {
            if is_retryable {
                let given_up = self.calls.given_up;
                self.calls.put_back(call, after);
                if self.expects_calm && self.calls.given_up > given_up {
                    return broken("calm", format!("tried in vain: {reject:?}"));
                }
            } else if reject.code != RejectCode::Disabled {
                return broken("reject", format!("{:?}: {reject:?}", call.command));
            }
            self.work(now, out);
        } else if let Some(Join { room: name, .. }) = self.joins.remove(&id) {
            let is_joined = reject.code == RejectCode::AlreadyJoined;
            if is_joined {
                // An earlier join was done after all, from a place that is not known: begin again.
                self.send(Command::Leave { room: name.clone() }, now, out);
            }
            let Some(room) = self.rooms.get_mut(&name).filter(|_| is_retryable || is_joined) else {
                return broken("reject", format!("a join of {name:?}: {reject:?}"));
            };
            room.retry_at = Some(after);
        } else if let Some(name) = self.filters.remove(&id) {
            // Unless something else was asked for since then.
            let room = self
                .rooms
                .get_mut(&name)
                .filter(|room| is_retryable && room.is_joined);
            if let Some(room) = room.filter(|room| room.asked == room.options.wishes) {
                room.filter_at = Some(after);
            }
        } else if id == self.refresh_id {
            self.refresh_at = Some(now + REFRESH_RETRY);
        }
        Ok(())
    }

    /// The state that was on its way ended: it is asked for once more.
    fn join_anew(&mut self, name: &RoomName, now: Moment, out: &mut Vec<Out>) {
        if let Some(room) = self.rooms.get_mut(name) {
            room.is_joined = false;
            room.view = View::default();
            self.filters.retain(|_, other| other != name);
            self.send(Command::Leave { room: name.clone() }, now, out);
            self.send_join(name, now, out);
        }
    }

    fn on_push(
        &mut self,
        push: Push,
        rooms: &Rooms,
        now: Moment,
        out: &mut Vec<Out>,
    ) -> Result<(), Violation> {
        match push {
            Push::Event {
                room: name,
                publication,
            } => {
                let (Some(state), Some(truth)) = (self.rooms.get_mut(&name), rooms.get(&name)) else {
                    return Ok(());
                };
                // Left a moment ago.
                if !state.is_joined {
                    return Ok(());
                }
                if !state.view.is_replaying() {
                    self.live.push((name, publication.offset, publication.lane));
                }
                state.view.on_event(&publication, truth, now)?;
            }
            Push::Gap {
                room,
                mut position,
                reason,
                mut count,
            } => {
                if matches!(reason, GapReason::Conflated | GapReason::Dropped) {
                    count += u64::from(self.planted.strikes(Mutation::MiscountGap));
                    position.offset += u64::from(self.planted.strikes(Mutation::MoveGap));
                    if self.planted.strikes(Mutation::ForgetGap) {
                        return Ok(());
                    }
                }
                let joined = self.rooms.get_mut(&room).filter(|state| state.is_joined);
                if let (Some(state), Some(truth)) = (joined, rooms.get(&room)) {
                    let was_loading = state.view.is_replaying();
                    state.view.on_gap(position, reason, count, truth, now)?;
                    if was_loading && !matches!(reason, GapReason::Conflated) {
                        self.join_anew(&room, now, out);
                    }
                }
            }
            Push::Members(change) => {
                let joined = self.rooms.get_mut(&change.room).filter(|state| state.is_joined);
                if let Some(state) = joined {
                    state.view.on_members(&change);
                }
            }
            Push::Notice(Notice::TokenExpiring { .. }) => self.refresh(now, out),
            Push::Notice(Notice::Removed { room }) => {
                return broken("removed", format!("nobody asked to remove it from {room:?}"));
            }
            Push::Notice(Notice::Draining { in_ms }) => {
                self.told = Some(in_ms);
                if !self.planted.strikes(Mutation::ComeEarly) {
                    self.slot_at = Some(now + Duration::from_millis(in_ms));
                }
            }
            Push::Notice(Notice::Shutdown) => {}
            Push::Part(_) => return broken("parts", "the reader puts them together".to_owned()),
        }
        Ok(())
    }
}
