//! How one thread wakes another.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Wakes a thread that may be asleep, and costs one atomic swap when it is not.
///
/// The sleeper arms the bell, then looks at its channels once more, then sleeps; who
/// sends, sends first and rings after. In either order of the two, one sees the other.
pub struct Bell {
    may_sleep: AtomicBool,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl Bell {
    /// Makes a bell that wakes by calling `wake`.
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        let wake = Box::new(wake);
        Arc::new(Self {
            may_sleep: AtomicBool::new(false),
            wake,
        })
    }

    /// Wakes the sleeper, if it may be asleep.
    pub fn ring(&self) {
        if self.may_sleep.swap(false, Ordering::SeqCst) {
            (self.wake)();
        }
    }

    /// The sleeper says that it is about to sleep; it must look at its channels after this.
    pub fn arm(&self) {
        self.may_sleep.store(true, Ordering::SeqCst);
        std::sync::atomic::fence(Ordering::SeqCst);
    }

    /// The sleeper says that it is awake.
    pub fn disarm(&self) {
        self.may_sleep.store(false, Ordering::SeqCst);
    }
}

impl std::fmt::Debug for Bell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bell").finish_non_exhaustive()
    }
}
