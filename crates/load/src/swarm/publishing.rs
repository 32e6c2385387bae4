//! What a swarm sends on schedule, and what is answered.

use tidegate_wire::ws::frame::Opcode;

use super::{PUBLISH_ID, Stage, Swarm, UNSENT_MAX, number_after};
use crate::{
    plan::Kind,
    tally::{Answers, Slot},
};

/// A tenth of a second.
pub(crate) const SLOT_NS: u64 = 100_000_000;
/// A minute of slots; what is later counts in the last.
const SLOTS_MAX: usize = 600;

/// Something that was sent, or could not be.
pub(super) struct Record {
    intended_ns: u64,
    stream: u32,
    fate: Fate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Unanswered,
    Unsent,
    Answered,
}

/// What is to be sent.
pub(crate) struct Outgoing<'a> {
    pub(crate) stream: usize,
    pub(crate) kind: Kind,
    pub(crate) room: &'a str,
    /// How many of the stream came before.
    pub(crate) number: u64,
    /// On the swarm's clock.
    pub(crate) intended_ns: u64,
    pub(crate) pad: &'a str,
}

impl Swarm {
    /// Sends from a connection. If that is gone, or takes no more, this is counted, and nothing is made up for.
    pub(crate) fn publish(&mut self, index: usize, outgoing: &Outgoing<'_>) {
        self.answers[outgoing.stream].sent += 1;
        let connection = &self.connections[index];
        let takes_it = connection.stage == Stage::Ready && connection.unsent.len() < UNSENT_MAX;
        let record = Record {
            intended_ns: outgoing.intended_ns,
            stream: outgoing.stream as u32,
            fate: if takes_it { Fate::Unanswered } else { Fate::Unsent },
        };
        if !takes_it {
            self.records.push(record);
            self.answers[outgoing.stream].unsent += 1;
            return;
        }
        let Outgoing {
            kind,
            room,
            number,
            intended_ns,
            pad,
            ..
        } = outgoing;
        let key = match kind {
            Kind::Publish { keys: 0 } => String::new(),
            Kind::Publish { keys } => format!(r#","key":"k{}""#, number % u64::from(*keys)),
            Kind::Churn => return self.churn(index, Some(record)),
        };
        let id = self.records.len() as u64 + PUBLISH_ID;
        self.records.push(record);
        self.connections[index].in_flight += 1;
        let publish = format!(
            r#"{{"id":{id},"publish":{{"room":"{room}"{key},"data":{{"t":{intended_ns},"p":"{pad}"}}}}}}"#
        );
        self.send(index, Opcode::Text, publish.as_bytes());
    }

    /// Leaves the room that this connection enters, or joins it again. Without a record nobody waits for the answer.
    pub(super) fn churn(&mut self, index: usize, record: Option<Record>) {
        let connection = &mut self.connections[index];
        let Some(seat) = connection.seats.iter().find(|seat| seat.enters) else {
            return;
        };
        let id = self.records.len() as u64 + PUBLISH_ID;
        let command = match connection.is_away {
            true => seat.join(id),
            false => format!(r#"{{"id":{id},"leave":{{"room":"{}"}}}}"#, seat.room),
        };
        connection.is_away = !connection.is_away;
        connection.in_flight += 1;
        self.records.push(record.unwrap_or(Record {
            intended_ns: 0,
            stream: u32::MAX,
            fate: Fate::Unanswered,
        }));
        self.send(index, Opcode::Text, command.as_bytes());
    }

    /// The answer to something sent; `ok` or a reject.
    pub(super) fn on_answer(&mut self, index: usize, id: u64, payload: &[u8], ok: Option<()>, now_ns: u64) {
        let Some(record) = self.records.get_mut((id - PUBLISH_ID) as usize) else {
            return;
        };
        if std::mem::replace(&mut record.fate, Fate::Answered) != Fate::Unanswered {
            return;
        }
        let connection = &mut self.connections[index];
        connection.in_flight -= 1;
        if ok.is_some()
            && let Some(seat) = connection.seats.iter_mut().find(|seat| seat.enters)
            && number_after(payload, b"\"count\":").is_some()
        {
            seat.on_members(payload);
        }
        let Some(answers) = self.answers.get_mut(record.stream as usize) else {
            return;
        };
        let (phase, since_begin_ns) = self.timeline.phase(record.intended_ns);
        let us = (now_ns.saturating_sub(record.intended_ns) / 1_000).max(1);
        let slot = (self.slotted == Some(phase)).then(|| {
            let place = ((since_begin_ns / SLOT_NS) as usize).min(SLOTS_MAX - 1);
            if self.slots.len() <= place {
                self.slots.resize(place + 1, Slot::default());
            }
            &mut self.slots[place]
        });
        if ok.is_some() {
            answers.acknowledged += 1;
            answers.ack_us[phase].saturating_record(us);
            if record.intended_ns >= self.play_began_ns {
                self.played_ack_us.saturating_record(us);
            }
            if let Some(slot) = slot {
                slot.ack_us.saturating_record(us);
            }
            return;
        }
        let code = number_after(payload, b"\"code\":").unwrap_or(0);
        *answers.rejected.entry(code).or_default() += 1;
        answers.reject_us[phase].saturating_record(us);
        if let Some(ms) = number_after(payload, b"\"retry_after_ms\":") {
            answers.retry_after_ms.saturating_record(ms.max(1));
        }
        if let Some(slot) = slot {
            slot.rejected += 1;
        }
    }

    /// What was answered so far, and how many were not.
    pub(crate) fn answers(&self) -> Vec<Answers> {
        let mut all = self.answers.clone();
        for record in &self.records {
            if record.fate == Fate::Unanswered
                && let Some(answers) = all.get_mut(record.stream as usize)
            {
                answers.unanswered += 1;
            }
        }
        all
    }
}
