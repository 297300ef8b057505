//! The seam under the snapshot files: one flat directory of files that are written once and renamed when they are whole.
//!
//! What the formats above it rely on, and the shared suite checks of each implementation:
//! - [`SnapshotDisk::publish`] is atomic and on disk when it answers `Ok`: after a crash the file has one name or the other.
//!   Whether its *bytes* are on disk is what [`SnapshotDisk::sync`] says, and only that.
//! - What was written and not synced may be lost, whole or in part, at a crash; so may a name that was made or removed.
//! - A write beyond the beginning never makes a file: one that was removed meanwhile does not come back with a hole in it.
//!
//! It is not the store's [`Disk`](super::Disk): it is shared, it is used beside the I/O thread, and an error of it poisons nothing.

use super::error::DiskError;

/// How large a volume is and how much of it is free, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VolumeBytes {
    /// Bytes that may still be written.
    pub free: u64,
    /// Bytes of all of it.
    pub total: u64,
}

/// A directory of snapshot files. Object-safe; every call is synchronous and may be made from any thread that may block.
pub trait SnapshotDisk: Send + Sync {
    /// What a file is called in messages.
    fn place(&self, name: &str) -> String;
    /// The names of all files, in order. A name that is no text, and what is no plain file, is left out.
    fn list(&self) -> Result<Vec<String>, DiskError>;
    /// The length of a file; `None` if there is none.
    fn length(&self, name: &str) -> Result<Option<u64>, DiskError>;
    /// Fills `bytes` from `offset` on; how many there were before the file's end, or `None` if there is no file.
    fn read_at(&self, name: &str, offset: u64, bytes: &mut [u8]) -> Result<Option<usize>, DiskError>;
    /// Writes at `offset`, not yet synced. At offset zero a missing file, and a missing directory, is made.
    fn write_at(&self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), DiskError>;
    /// Cuts a file that exists to `length`, not yet synced.
    fn truncate(&self, name: &str, length: u64) -> Result<(), DiskError>;
    /// The bytes of a file are on disk afterwards.
    fn sync(&self, name: &str) -> Result<(), DiskError>;
    /// Renames a file, over one that has the name already, and syncs the directory.
    fn publish(&self, from: &str, to: &str) -> Result<(), DiskError>;
    /// Removes a file, which may be missing, and syncs the directory.
    fn remove(&self, name: &str) -> Result<(), DiskError>;
    /// Measures the volume that the files are on.
    fn volume(&self) -> Result<VolumeBytes, DiskError>;
    /// Syncs the directory: names that an earlier process changed are on disk afterwards.
    fn sync_names(&self) -> Result<(), DiskError>;
}
