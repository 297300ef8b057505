//! Since when the I/O thread has been at what it does. Written by that thread, read by anyone without asking it: it may hang in
//! a call of the system that does not return.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// `began_ms` while the thread waits for work.
const NOTHING: u64 = u64::MAX;

/// The I/O thread's clock, which no simulation sees: it decides when the anchor is written, and how long work takes.
#[expect(
    clippy::disallowed_methods,
    reason = "a real thread beside the paused runtime; simulation is inline"
)]
pub(super) fn now() -> Instant {
    Instant::now()
}

/// The work in progress.
#[derive(Debug)]
pub(crate) struct WorkGauge {
    started: Instant,
    began_ms: AtomicU64,
}

impl WorkGauge {
    pub(super) fn new() -> Self {
        Self { started: now(), began_ms: AtomicU64::new(NOTHING) }
    }

    /// Does a piece of work, which may hang.
    pub(super) fn during<T>(&self, work: impl FnOnce() -> T) -> T {
        self.began_ms.store(self.elapsed_ms(), Ordering::Relaxed);
        let done = work();
        self.began_ms.store(NOTHING, Ordering::Relaxed);
        done
    }

    /// How long it has taken so far; `None` while there is none.
    pub(super) fn busy_for(&self) -> Option<Duration> {
        let began = self.began_ms.load(Ordering::Relaxed);
        (began != NOTHING).then(|| Duration::from_millis(self.elapsed_ms().saturating_sub(began)))
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(now().duration_since(self.started).as_millis()).unwrap_or(u64::MAX - 1)
    }
}
