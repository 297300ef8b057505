//! Figures that run over all connections of a link, or over all inbound connections of the bridge.

use crate::event::Gap;
use crate::lock::Lock;
use std::sync::atomic::{AtomicU64, Ordering};

/// A figure for people and status pages: no order between counters is kept.
#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) bytes_in: Counter,
    pub(crate) bytes_out: Counter,
    pub(crate) ups: Counter,
    /// 0: not measured yet.
    pub(crate) round_trip_us: Counter,
    pub(crate) control_dropped: Counter,
    pub(crate) casts_lost: Counter,
    pub(crate) casts_undelivered: Counter,
    pub(crate) malformed: Counter,
    /// What the last connection left open when it ended.
    pub(crate) last_gap: Lock<Gap>,
}
