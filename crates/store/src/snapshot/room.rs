//! How much of a volume snapshots may take (`safety.md` 16): what must stay free for the log stays free.
//!
//! Owns no number of its own. It is asked before each write, so a snapshot that another file overtakes ends there.

use std::sync::Arc;

use super::error::SnapshotError;
use crate::disk::SnapshotDisk;
use crate::options::StoreOptions;

/// Leaves the reserve that is set, not twice the live log: a log that has grown over the disk's mark becomes shorter by nothing but
/// a snapshot.
#[derive(Clone)]
pub(super) struct Room {
    disk: Arc<dyn SnapshotDisk>,
    /// `None` leaves nothing free.
    options: Option<StoreOptions>,
}

impl Room {
    pub(super) fn new(disk: &Arc<dyn SnapshotDisk>, options: Option<StoreOptions>) -> Self {
        Self { disk: Arc::clone(disk), options }
    }

    /// Whether `more` bytes of this file may be written.
    pub(super) fn check(&self, name: &str, more: u64) -> Result<(), SnapshotError> {
        let Some(options) = &self.options else { return Ok(()) };
        let volume = self.disk.volume()?;
        let reserve = options.reserve_bytes(volume.total);
        if volume.free >= reserve.saturating_add(more) {
            return Ok(());
        }
        Err(SnapshotError::NoRoom { place: self.disk.place(name), needed: more, free: volume.free, reserve })
    }
}
