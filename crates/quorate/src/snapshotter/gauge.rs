//! What an applier sees of the snapshotter without asking: whether it may capture its machine, and what that cost last time.
//!
//! Owned above both. Written by the applier when it captures, and by the snapshotter when it is free again.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// See the module's header.
#[derive(Debug, Default)]
pub(crate) struct SnapshotGauge {
    /// A captured machine has not been written yet: another one would hold the state a third time.
    busy: AtomicBool,
    /// The last one was not taken: what it was to cover is still in the log.
    failed: AtomicBool,
    /// Bytes of the newest snapshot.
    bytes: AtomicU64,
}

impl SnapshotGauge {
    /// True for the one that may capture now.
    pub(crate) fn begin(&self) -> bool {
        !self.busy.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Acquire)
    }

    /// Another one may be captured; and whether the last one was taken.
    pub(crate) fn end(&self, was_taken: bool) {
        self.failed.store(!was_taken, Ordering::Relaxed);
        self.busy.store(false, Ordering::Release);
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    pub(crate) fn set_bytes(&self, bytes: u64) {
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}
