//! The seam under the store: an ordered key-value engine with atomic synced batches, and the sectors of the anchor.
//!
//! All promises of the store are kept above this seam, so a disk needs to keep few, each
//! checked by `quorate_testkit::store_suite`:
//! - [`Disk::commit`] is atomic over both keyspaces and on disk when it answers `Ok`. After an error the disk is
//!   poisoned: every later write fails, and whether the failed batch is there after reopening is unknown.
//! - What was read is what was written, or an error. (Wrong bytes are caught above, by checksums and hash chains.)
//! - An anchor sector that was being written at a crash is old, new or damaged; no other sector changes.
//!
//! It is not: shared. One I/O thread owns a disk; no method is called from an async worker. The snapshot files beside the
//! database, which [`Disk::snapshots`] hands out, are shared and have promises of their own.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::backlog::Backlog;
use super::error::DiskError;
use super::snapshots::SnapshotDisk;

/// Bytes of one sector of the anchor: the unit a disk writes without changing its neighbours.
pub const SECTOR_BYTES: usize = 4096;

/// One sector of the anchor.
pub type Sector = [u8; SECTOR_BYTES];

/// One of the two ordered maps of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Keyspace {
    /// Runs of entries.
    Log,
    /// Everything small: hard states, markers, group records, peers.
    Hard,
}

/// Writes that happen together or not at all. A later write to a key replaces an earlier one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    rows: BTreeMap<(Keyspace, Vec<u8>), Option<Bytes>>,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes a row.
    pub fn put(&mut self, keyspace: Keyspace, key: Vec<u8>, value: Bytes) {
        self.rows.insert((keyspace, key), Some(value));
    }

    /// Removes a row. Removing a missing row is allowed.
    pub fn remove(&mut self, keyspace: Keyspace, key: Vec<u8>) {
        self.rows.insert((keyspace, key), None);
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Bytes of all keys and values.
    pub fn bytes(&self) -> usize {
        self.rows.iter().map(|((_, key), value)| key.len() + value.as_ref().map_or(0, Bytes::len)).sum()
    }

    /// The rows in key order; `None` removes.
    pub fn rows(&self) -> impl Iterator<Item = (Keyspace, &[u8], Option<&Bytes>)> {
        self.rows.iter().map(|((keyspace, key), value)| (*keyspace, key.as_slice(), value.as_ref()))
    }
}

/// An unfinished last write that was cut off when the database was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    /// The journal's path.
    pub journal: String,
    /// Bytes of whole batches, which were kept.
    pub kept_bytes: u64,
    /// Bytes of the unfinished write, which were cut off.
    pub cut_bytes: u64,
}

/// The files of a volume (its inodes).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Files {
    /// Those that may still be made.
    pub free: u64,
    /// Those that it takes in all.
    pub total: u64,
}

/// What [`Disk::scan`] calls with every row: key and value, until it breaks.
pub type Visit<'a> = dyn FnMut(&[u8], Bytes) -> ControlFlow<()> + 'a;

/// One node's disk: a database, the anchor beside it, and how full it is. Object-safe; every call is synchronous.
pub trait Disk: Send {
    /// Its name in messages: the data directory.
    fn place(&self) -> String;

    /// Whether the anchor exists.
    fn anchor_exists(&self) -> Result<bool, DiskError>;
    /// Makes the anchor with these sectors: all of them, synced, or none.
    fn create_anchor(&mut self, sectors: &[Sector]) -> Result<(), DiskError>;
    /// Reads a sector; zeros past the end.
    fn read_sector(&self, sector: u64) -> Result<Box<Sector>, DiskError>;
    /// Writes a sector, not yet synced; extends the anchor if needed.
    fn write_sector(&mut self, sector: u64, bytes: &Sector) -> Result<(), DiskError>;
    /// Everything written to the anchor is on disk afterwards.
    fn sync_anchor(&mut self) -> Result<(), DiskError>;

    /// Whether a database exists, open or not.
    fn database_exists(&self) -> Result<bool, DiskError>;
    /// Makes and opens an empty database. There must be none.
    fn create_database(&mut self) -> Result<(), DiskError>;
    /// Checks and opens the database; [`DiskError::Damaged`] only if a checksum or the format says that it is damaged anywhere
    /// but in an unfinished last write. An error or a panic of the engine that proves nothing is another error.
    fn open_database(&mut self) -> Result<Option<TornTail>, DiskError>;
    /// Files in the opened database's directory that are no part of it and were left alone. A disk without a directory has none.
    fn unknown_files(&self) -> Vec<String> {
        Vec::new()
    }
    /// Checks that what is open is still what the directory holds: [`DiskError::Gone`] if not. Cheap enough for every second.
    fn check_in_place(&mut self) -> Result<(), DiskError> {
        Ok(())
    }
    /// Closes the database, open or not, and renames it so that it can be examined later. Returns its new place.
    fn set_database_aside(&mut self) -> Result<String, DiskError>;
    /// Closes the database and deletes it, if it holds no more than its making leaves there; whether it did.
    fn delete_unused_database(&mut self) -> Result<bool, DiskError> {
        Ok(false)
    }

    /// What a commit that waits shows of itself. The same as long as the disk lives.
    fn backlog(&self) -> Arc<Backlog> {
        Arc::default()
    }
    /// Applies the batch, atomically and synced.
    fn commit(&mut self, batch: &Batch) -> Result<(), DiskError>;
    /// Reads one row.
    fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Bytes>, DiskError>;
    /// Visits the rows from `from` on, in key order. The visitor must not use the disk.
    fn scan(&self, keyspace: Keyspace, from: &[u8], visit: &mut Visit<'_>) -> Result<(), DiskError>;
    /// Frees rows from `from` up to, not including, `to`, as far as that is cheap. They may come back after reopening.
    fn drop_range(&mut self, keyspace: Keyspace, from: &[u8], to: &[u8]) -> Result<(), DiskError>;

    /// Bytes that may still be written.
    fn free_bytes(&self) -> Result<u64, DiskError>;
    /// Bytes of the whole volume.
    fn total_bytes(&self) -> Result<u64, DiskError>;
    /// How many files the volume takes; `None` where only its bytes bound them.
    fn files(&self) -> Result<Option<Files>, DiskError> {
        Ok(None)
    }
    /// Bytes of the ballast, a file that exists only to be deleted when the disk is full.
    fn ballast_bytes(&self) -> Result<u64, DiskError>;
    /// Sets the size of the ballast; zero deletes it.
    fn set_ballast(&mut self, bytes: u64) -> Result<(), DiskError>;

    /// The snapshot files in the same directory, to be used beside the thread that owns this disk.
    fn snapshots(&self) -> Arc<dyn SnapshotDisk>;

    /// Simulation only, where no thread may block: how long the next job is delayed, or `None` while the disk is
    /// stalled.
    fn pace(&mut self) -> Option<Duration> {
        Some(Duration::ZERO)
    }
}
