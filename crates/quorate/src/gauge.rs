//! What an applier shows of itself without being asked: it may be inside a machine that does not return.
//!
//! Written by one applier, read by Group, which starts roles from it, and for the status. Each applier has
//! one of its own, so that one that was given up and still runs changes nothing here.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use quorate_core::{Index, LogId, Term, Time};

use crate::clock::Clock;

/// `began` while no entry is being applied.
const NOTHING: u64 = u64::MAX;

pub(crate) struct Gauge {
    clock: Clock,
    applied: AtomicU64,
    /// The term of that entry. The two may be of different moments: then they are of no entry of the log, or of one that was applied.
    term: AtomicU64,
    /// When the entry after it was given to the machine.
    began: AtomicU64,
    halted: AtomicBool,
}

impl std::fmt::Debug for Gauge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Gauge({})", self.applied())
    }
}

impl Gauge {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            clock,
            applied: AtomicU64::new(0),
            term: AtomicU64::new(0),
            began: AtomicU64::new(NOTHING),
            halted: AtomicBool::new(false),
        }
    }

    /// The machine gets the next entry.
    pub(crate) fn begin(&self) {
        self.began.store(self.clock.now().0, Ordering::Relaxed);
    }

    /// It has taken this one.
    pub(crate) fn end(&self, applied: LogId) {
        self.began.store(NOTHING, Ordering::Relaxed);
        self.term.store(applied.term.0, Ordering::Relaxed);
        self.applied.store(applied.index.0, Ordering::Release);
    }

    /// The next entry is one that this build cannot read: another start of the machine would end there, too.
    pub(crate) fn halt(&self) {
        self.halted.store(true, Ordering::Release);
    }

    pub(crate) fn has_halted(&self) -> bool {
        self.halted.load(Ordering::Acquire)
    }

    /// The last index applied.
    pub(crate) fn applied(&self) -> Index {
        Index(self.applied.load(Ordering::Acquire))
    }

    /// The last entry applied.
    pub(crate) fn applied_entry(&self) -> LogId {
        let index = self.applied();
        LogId { term: Term(self.term.load(Ordering::Relaxed)), index }
    }

    /// How long the machine has been at the present entry.
    pub(crate) fn applying_for(&self) -> Option<Duration> {
        let began = self.began.load(Ordering::Relaxed);
        (began != NOTHING).then(|| self.clock.now().since(Time(began)))
    }
}
