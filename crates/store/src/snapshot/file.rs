//! A snapshot file to be read: as a state, or as bytes to be sent.

use bytes::Bytes;

use super::error::SnapshotError;
use super::header::SnapshotInfo;
use super::opened::Opened;
use super::reader::SnapshotPayload;

/// A snapshot file whose header and end record are whole.
#[derive(Clone)]
pub struct SnapshotFile(Opened);

impl std::fmt::Debug for SnapshotFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SnapshotFile").field("name", &self.0.file.name).finish_non_exhaustive()
    }
}

impl SnapshotFile {
    pub(super) fn new(opened: Opened) -> Self {
        Self(opened)
    }

    /// What is in it.
    pub fn info(&self) -> SnapshotInfo {
        self.0.info()
    }

    /// Tells this file from another one of the same position, as a second snapshot of it is: the checksum of its header, to which every
    /// record of the file is tied.
    pub fn mark(&self) -> Bytes {
        Bytes::copy_from_slice(&self.0.header.sum)
    }

    /// Reads the state in it, from the beginning.
    pub fn reader(&self) -> SnapshotPayload {
        SnapshotPayload::new(self.0.clone())
    }

    /// Reads all of it.
    pub fn verify(&self) -> Result<SnapshotInfo, SnapshotError> {
        let mut reader = self.reader();
        while !reader.next_chunk()?.is_empty() {}
        Ok(self.info())
    }

    /// The bytes of the file from `offset` on, at most `bytes_max`; empty at its end. They are not verified: what receives them does
    /// that.
    pub fn read_raw(&self, offset: u64, bytes_max: usize) -> Result<Bytes, SnapshotError> {
        let rest = usize::try_from(self.0.bytes.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; rest.min(bytes_max)];
        self.0.file.read(offset, &mut bytes)?;
        Ok(bytes.into())
    }
}
