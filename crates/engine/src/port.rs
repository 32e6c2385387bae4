//! One user of the engine: a shard, or the HTTP API.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crossbeam_channel::{Receiver, Sender, TrySendError};
use tidegate_core::request::{Event, Request};

use crate::Bell;

/// See the module. A dropped port is forgotten, and its members are lost.
pub struct Port {
    index: u8,
    requests: Sender<(u8, Request)>,
    bell: Arc<Bell>,
    has_pushed: bool,
    events: Receiver<Event>,
    is_gone: Arc<AtomicBool>,
}

impl Drop for Port {
    fn drop(&mut self) {
        self.is_gone.store(true, Ordering::Relaxed);
        self.bell.ring();
    }
}

impl Port {
    pub(crate) fn new(
        index: u8,
        requests: Sender<(u8, Request)>,
        bell: Arc<Bell>,
        events: Receiver<Event>,
        is_gone: Arc<AtomicBool>,
    ) -> Self {
        Self {
            index,
            requests,
            bell,
            has_pushed: false,
            events,
            is_gone,
        }
    }

    /// Hands a request over; gives it back when the way is full, or the engine has ended.
    pub fn try_submit(&mut self, request: Request) -> Result<(), Request> {
        let outcome = self.try_push(request);
        self.ring();
        outcome
    }

    /// As [`Self::try_submit`], but the engine may sleep until [`Self::ring`]: for several in a row.
    pub fn try_push(&mut self, request: Request) -> Result<(), Request> {
        self.has_pushed = true;
        match self.requests.try_send((self.index, request)) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full((_, request)) | TrySendError::Disconnected((_, request))) => Err(request),
        }
    }

    /// Wakes the engine if something was pushed.
    pub fn ring(&mut self) {
        if std::mem::take(&mut self.has_pushed) {
            self.bell.ring();
        }
    }

    /// Takes the next event; never waits.
    pub fn try_event(&mut self) -> Option<Event> {
        self.events.try_recv().ok()
    }
}
