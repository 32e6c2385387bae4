//! The API's way to the engine: a request out, its answer awaited.

use std::collections::HashMap;

use tidegate_core::request::{Event, Request, Ticket};
use tidegate_engine::Port;
use tidegate_wire::{Reject, RejectCode};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

/// Requests that wait for an answer; beyond it callers are told to come back.
const WAITING_MAX: usize = 10_000;

/// See the module. The lock is held for a map's insert, never across a wait.
pub(super) struct EngineClient(std::sync::Mutex<Inner>);

struct Inner {
    port: Port,
    waiting: HashMap<Ticket, oneshot::Sender<Event>>,
    last: u64,
}

impl EngineClient {
    pub(super) fn new(port: Port) -> Self {
        Self(std::sync::Mutex::new(Inner {
            port,
            waiting: HashMap::new(),
            last: 0,
        }))
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Submits a request; the answer comes to the receiver.
    pub(super) fn submit(&self, request: impl FnOnce(Ticket) -> Request) -> Result<Answer, Reject> {
        let mut inner = self.inner();
        let busy = || {
            Reject::retry(
                RejectCode::Overloaded,
                1_000,
                "too many requests wait for the engine",
            )
        };
        if inner.waiting.len() >= WAITING_MAX {
            return Err(busy());
        }
        inner.last += 1;
        let ticket = Ticket(inner.last);
        let (sender, receiver) = oneshot::channel();
        inner.port.try_submit(request(ticket)).map_err(|_| busy())?;
        inner.waiting.insert(ticket, sender);
        Ok(Answer { ticket, receiver })
    }

    /// Waits for an answer; what has come by then is given after the deadline too.
    pub(super) async fn answer(&self, answer: Answer, deadline: Instant) -> Result<Event, Reject> {
        match timeout_at(deadline, answer.receiver).await {
            Ok(Ok(event)) => Ok(event),
            Ok(Err(_)) | Err(_) => {
                self.inner().waiting.remove(&answer.ticket);
                let detail = "no answer from the engine in time; it may or may not have happened";
                Err(Reject::retry(RejectCode::Timeout, 1_000, detail))
            }
        }
    }

    /// Hands out the answers that have come.
    pub(super) fn drain(&self) {
        let mut inner = self.inner();
        while let Some(event) = inner.port.try_event() {
            let ticket = match &event {
                Event::Published { ticket, .. }
                | Event::History { ticket, .. }
                | Event::State { ticket, .. }
                | Event::Presence { ticket, .. } => *ticket,
                Event::Attached { .. }
                | Event::Publication { .. }
                | Event::Broken { .. }
                | Event::Members(_) => {
                    continue;
                }
            };
            if let Some(sender) = inner.waiting.remove(&ticket) {
                // Who asked may have gone.
                let _ = sender.send(event);
            }
        }
    }
}

/// An answer that is to come.
pub(super) struct Answer {
    ticket: Ticket,
    receiver: oneshot::Receiver<Event>,
}
