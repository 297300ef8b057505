//! Measures how full the disk is (`safety.md` 16), and keeps what was measured last for everyone who asks.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::error::StoreError;
use crate::options::StoreOptions;
use crate::space::Space;
use crate::store::Store;

/// What was measured last: written by the I/O thread, read by anyone. The fields may be of two measurements.
#[derive(Debug)]
pub(crate) struct SpaceGauge {
    free_bytes: AtomicU64,
    reserve_bytes: AtomicU64,
    live_bytes: AtomicU64,
    total_bytes: AtomicU64,
    free_files: AtomicU64,
    reserve_files: AtomicU64,
    full: AtomicBool,
}

impl SpaceGauge {
    /// Nothing is measured yet: all is free.
    pub(super) fn new() -> Self {
        let [free_bytes, total_bytes, free_files] = [u64::MAX; 3].map(AtomicU64::new);
        let [reserve_bytes, live_bytes, reserve_files] = [0; 3].map(AtomicU64::new);
        let full = AtomicBool::new(false);
        Self { free_bytes, reserve_bytes, live_bytes, total_bytes, free_files, reserve_files, full }
    }

    pub(super) fn set(&self, space: Space, full: bool) {
        let Space { free_bytes, reserve_bytes, live_bytes, total_bytes, free_files, reserve_files } = space;
        self.free_files.store(free_files, Ordering::Relaxed);
        self.reserve_files.store(reserve_files, Ordering::Relaxed);
        self.free_bytes.store(free_bytes, Ordering::Relaxed);
        self.reserve_bytes.store(reserve_bytes, Ordering::Relaxed);
        self.live_bytes.store(live_bytes, Ordering::Relaxed);
        self.total_bytes.store(total_bytes, Ordering::Relaxed);
        self.full.store(full, Ordering::Relaxed);
    }

    pub(super) fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    pub(super) fn get(&self) -> Space {
        Space {
            free_bytes: self.free_bytes.load(Ordering::Relaxed),
            reserve_bytes: self.reserve_bytes.load(Ordering::Relaxed),
            live_bytes: self.live_bytes.load(Ordering::Relaxed),
            total_bytes: self.total_bytes.load(Ordering::Relaxed),
            free_files: self.free_files.load(Ordering::Relaxed),
            reserve_files: self.reserve_files.load(Ordering::Relaxed),
        }
    }
}

impl Store {
    /// How full the disk is (`safety.md` 16).
    pub fn space(&self) -> Result<Space, StoreError> {
        let live_bytes = self.groups.values().map(|group| group.runs.bytes()).sum();
        let total_bytes = self.disk.total_bytes()?;
        let reserve_bytes = self.options.reserve_bytes(total_bytes).max(2 * live_bytes);
        let free_bytes = self.disk.free_bytes()?;
        let (free_files, reserve_files) = match self.disk.files()? {
            Some(files) => (files.free, StoreOptions::reserve_files(files.total)),
            None => (u64::MAX, 0),
        };
        Ok(Space { free_bytes, reserve_bytes, live_bytes, total_bytes, free_files, reserve_files })
    }
}
