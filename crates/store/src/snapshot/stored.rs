//! One file of a snapshot disk, and errors that name it.

use std::sync::Arc;

use super::error::SnapshotError;
use crate::disk::{DiskError, SnapshotDisk};

/// A file of a snapshot disk, by its name.
#[derive(Clone)]
pub(super) struct StoredFile {
    pub(super) disk: Arc<dyn SnapshotDisk>,
    pub(super) name: String,
}

impl StoredFile {
    pub(super) fn new(disk: &Arc<dyn SnapshotDisk>, name: String) -> Self {
        Self { disk: Arc::clone(disk), name }
    }

    pub(super) fn place(&self) -> String {
        self.disk.place(&self.name)
    }

    pub(super) fn length(&self) -> Result<u64, SnapshotError> {
        self.disk.length(&self.name)?.ok_or_else(|| self.gone())
    }

    /// Fills `bytes`, all of which must be there.
    pub(super) fn read(&self, offset: u64, bytes: &mut [u8]) -> Result<(), SnapshotError> {
        let filled = self.disk.read_at(&self.name, offset, bytes)?.ok_or_else(|| self.gone())?;
        if filled < bytes.len() {
            return Err(self.damaged(offset + filled as u64, "it ends within a record".to_owned()));
        }
        Ok(())
    }

    pub(super) fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), SnapshotError> {
        self.disk.write_at(&self.name, offset, bytes).map_err(|error| self.unwritten(error))
    }

    pub(super) fn truncate(&self, length: u64) -> Result<(), SnapshotError> {
        self.disk.truncate(&self.name, length).map_err(|error| self.unwritten(error))
    }

    pub(super) fn sync(&self) -> Result<(), SnapshotError> {
        self.disk.sync(&self.name).map_err(|error| self.unwritten(error))
    }

    pub(super) fn publish(&self, to: &str) -> Result<(), SnapshotError> {
        self.disk.publish(&self.name, to).map_err(|error| self.unwritten(error))
    }

    /// A file that was removed while it was written is gone, and that is no fault of the disk.
    fn unwritten(&self, error: DiskError) -> SnapshotError {
        match error {
            DiskError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => self.gone(),
            error => error.into(),
        }
    }

    /// Removes it, as far as that works: a part that stays is removed at the next start, or found again.
    pub(super) fn discard(&self) {
        let _ = self.disk.remove(&self.name);
    }

    pub(super) fn damaged(&self, offset: u64, detail: String) -> SnapshotError {
        SnapshotError::Damaged { place: self.place(), offset, detail }
    }

    pub(super) fn gone(&self) -> SnapshotError {
        SnapshotError::Gone { place: self.place() }
    }
}
