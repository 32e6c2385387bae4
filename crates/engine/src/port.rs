//! One user of the engine: a shard, or the HTTP API.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crossbeam_channel::{Receiver, Sender, TrySendError};
use tidegate_core::request::{Event, Request};

/// See the module. A dropped port is forgotten, and its members are lost.
pub struct Port {
    index: u8,
    requests: Sender<(u8, Request)>,
    events: Receiver<Event>,
    is_gone: Arc<AtomicBool>,
}

impl Drop for Port {
    fn drop(&mut self) {
        self.is_gone.store(true, Ordering::Relaxed);
    }
}

impl Port {
    pub(crate) fn new(
        index: u8,
        requests: Sender<(u8, Request)>,
        events: Receiver<Event>,
        is_gone: Arc<AtomicBool>,
    ) -> Self {
        Self {
            index,
            requests,
            events,
            is_gone,
        }
    }

    /// Hands a request over; gives it back when the way is full, or the engine has ended.
    pub fn try_submit(&mut self, request: Request) -> Result<(), Request> {
        match self.requests.try_send((self.index, request)) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full((_, request)) | TrySendError::Disconnected((_, request))) => Err(request),
        }
    }

    /// Takes the next event; never waits.
    pub fn try_event(&mut self) -> Option<Event> {
        self.events.try_recv().ok()
    }
}
