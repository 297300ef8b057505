//! How full the disk is (`safety.md` 16).

use crate::error::StoreError;
use crate::store::Store;

/// How full the disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes that may still be written.
    pub free_bytes: u64,
    /// Bytes that must stay free.
    pub reserve_bytes: u64,
    /// Bytes of live entries.
    pub live_bytes: u64,
}

impl Space {
    /// Whether proposals are refused.
    pub fn is_full(self) -> bool {
        self.free_bytes < self.reserve_bytes
    }
}

impl Store {
    /// How full the disk is (`safety.md` 16).
    pub fn space(&self) -> Result<Space, StoreError> {
        let live_bytes = self.groups.values().map(|group| group.runs.bytes()).sum();
        let reserve_bytes = self.options.reserve_bytes_min.max(2 * live_bytes);
        Ok(Space { free_bytes: self.disk.free_bytes()?, reserve_bytes, live_bytes })
    }
}
