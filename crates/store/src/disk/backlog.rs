//! What a disk shows of itself while a commit waits for work that was put off: flushes and compactions.
//!
//! Written by the I/O thread, read by the log store's actor, for which each step is a sign of life, and by leaders, which
//! refuse commands meanwhile.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Shared between a disk and those who wait for it.
#[derive(Debug, Default)]
pub struct Backlog {
    steps: AtomicU64,
    waits: AtomicBool,
}

impl Backlog {
    /// Some of the work was done.
    pub fn progressed(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
    }

    /// How often some of it was done.
    pub fn steps(&self) -> u64 {
        self.steps.load(Ordering::Relaxed)
    }

    /// A commit has waited for a while, or does so no longer.
    pub fn set_waiting(&self, waits: bool) {
        self.waits.store(waits, Ordering::Relaxed);
    }

    /// Whether a commit has waited for a while.
    pub fn is_waiting(&self) -> bool {
        self.waits.load(Ordering::Relaxed)
    }
}
