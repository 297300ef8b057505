//! The seam under the store: an ordered key-value engine with atomic synced batches, and the sectors of the anchor.
//!
//! Everything this crate promises about disks is made above this line, so an engine needs to keep few promises, each
//! checked by `quorate_testkit::store_suite`:
//! - [`Disk::commit`] is atomic over both keyspaces and on disk when it answers `Ok`. After an error the disk is
//!   poisoned: every later write fails, and the failed batch may or may not be there after reopening.
//! - What was read is what was written, or an error. (Wrong bytes are caught above, by checksums and hash chains.)
//! - An anchor sector that was being written at a crash is old, new or damaged; no other sector changes.
//!
//! It is not: shared. One I/O thread owns a disk; no method is called from an async worker.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

use bytes::Bytes;

/// Bytes of one sector of the anchor: what a disk writes without touching its neighbours.
pub const SECTOR_BYTES: usize = 4096;

/// One sector of the anchor.
pub type Sector = [u8; SECTOR_BYTES];

/// Which of the two ordered maps.
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
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes a row.
    pub fn put(&mut self, keyspace: Keyspace, key: Vec<u8>, value: Bytes) {
        self.rows.insert((keyspace, key), Some(value));
    }

    /// Removes a row; one that is not there may be removed too.
    pub fn remove(&mut self, keyspace: Keyspace, key: Vec<u8>) {
        self.rows.insert((keyspace, key), None);
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Keys and values together.
    pub fn bytes(&self) -> usize {
        self.rows.iter().map(|((_, key), value)| key.len() + value.as_ref().map_or(0, Bytes::len)).sum()
    }

    /// The rows in key order; `None` removes.
    pub fn rows(&self) -> impl Iterator<Item = (Keyspace, &[u8], Option<&Bytes>)> {
        self.rows.iter().map(|((keyspace, key), value)| (*keyspace, key.as_slice(), value.as_ref()))
    }
}

/// What an opened database had to have done to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    /// Where: the journal.
    pub journal: String,
    /// Bytes that were kept.
    pub kept_bytes: u64,
    /// Bytes of the write under way at the crash that were cut off.
    pub cut_bytes: u64,
}

/// Why a disk did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The operating system refused.
    #[error("cannot {action} {place}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or directory.
        place: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// What is on the disk is not what was written there.
    #[error("{place} is damaged: {detail}")]
    Damaged {
        /// Which file or part.
        place: String,
        /// How it was seen.
        detail: String,
    },
    /// A write or sync failed before: what is on the disk is not known until it is opened anew.
    #[error("{place} is poisoned by an earlier failed write: stop the node and open it anew")]
    Poisoned {
        /// Which database.
        place: String,
    },
    /// No space.
    #[error("no space left for {place}: free some, then start the node again")]
    Full {
        /// What was being written.
        place: String,
    },
    /// Another process, or another node of this one, has it open.
    #[error("{place} is in use by another process: give each node a data directory of its own")]
    Locked {
        /// The data directory.
        place: String,
    },
    /// A newer build wrote it.
    #[error("{place} has format version {found}, this build knows up to {known}: start the newer quorate")]
    Future {
        /// Which part.
        place: String,
        /// What it says.
        found: u32,
        /// What this build reads.
        known: u32,
    },
}

impl DiskError {
    /// Whether what is there is wrong, so that asking again does not help.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. })
    }
}

/// What [`Disk::scan`] calls with every row: key and value, until it breaks.
pub type Visit<'a> = dyn FnMut(&[u8], Bytes) -> ControlFlow<()> + 'a;

/// One node's disk: a database, the anchor beside it, and how full it is. Object-safe; every call is synchronous.
pub trait Disk: Send {
    /// What people call it: the data directory.
    fn place(&self) -> String;

    /// Whether the anchor exists.
    fn anchor_exists(&self) -> Result<bool, DiskError>;
    /// Makes the anchor with these sectors: at once, synced, or not at all.
    fn create_anchor(&mut self, sectors: &[Sector]) -> Result<(), DiskError>;
    /// Sectors the anchor has.
    fn anchor_sectors(&self) -> Result<u64, DiskError>;
    /// Reads a sector; zeros beyond the end.
    fn read_sector(&self, sector: u64) -> Result<Box<Sector>, DiskError>;
    /// Writes a sector, not yet synced; lengthens the anchor if it must.
    fn write_sector(&mut self, sector: u64, bytes: &Sector) -> Result<(), DiskError>;
    /// Everything written to the anchor is on disk afterwards.
    fn sync_anchor(&mut self) -> Result<(), DiskError>;

    /// Whether a database exists, open or not.
    fn database_exists(&self) -> Result<bool, DiskError>;
    /// Makes and opens an empty database where none is.
    fn create_database(&mut self) -> Result<(), DiskError>;
    /// Checks and opens the database; [`DiskError::Damaged`] if it is damaged anywhere but in an unfinished last write.
    fn open_database(&mut self) -> Result<Option<TornTail>, DiskError>;
    /// Closes the database, open or not, and renames it so that it can be looked at later. Says where it went.
    fn set_database_aside(&mut self) -> Result<String, DiskError>;

    /// Applies the batch, atomically and synced.
    fn commit(&mut self, batch: &Batch) -> Result<(), DiskError>;
    /// One row.
    fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Bytes>, DiskError>;
    /// The rows from `from` on, in key order. The visitor must not use the disk.
    fn scan(&self, keyspace: Keyspace, from: &[u8], visit: &mut Visit<'_>) -> Result<(), DiskError>;
    /// Frees rows from `from` up to, not including, `to`, as far as that is cheap. They may come back on reopening.
    fn drop_range(&mut self, keyspace: Keyspace, from: &[u8], to: &[u8]) -> Result<(), DiskError>;

    /// Bytes that may still be written.
    fn free_bytes(&self) -> Result<u64, DiskError>;
    /// Bytes held by the ballast, a file that is only there to be deleted.
    fn ballast_bytes(&self) -> Result<u64, DiskError>;
    /// Makes the ballast this long; zero deletes it.
    fn set_ballast(&mut self, bytes: u64) -> Result<(), DiskError>;

    /// Simulation only, where no thread can be kept waiting: how long the next job takes before it is carried out, or
    /// `None` while the disk does nothing at all.
    fn pace(&mut self) -> Option<Duration> {
        Some(Duration::ZERO)
    }
}
