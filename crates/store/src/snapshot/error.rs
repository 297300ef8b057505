//! Why a snapshot file was not written, read or received.

use std::io;

use quorate_core::Index;

use crate::disk::DiskError;
use crate::space::ByteCount;

/// Why a snapshot file was not written, read or received. None of them poisons the store.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The disk itself.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// What is in the file is not what was written.
    #[error(
        "{place} is damaged at byte {offset}: {detail}; move it away and use an older snapshot, or one of another node"
    )]
    Damaged {
        /// The file.
        place: String,
        /// Where the damage was detected.
        offset: u64,
        /// How it was detected.
        detail: String,
    },
    /// A newer build wrote it.
    #[error("{place} has format version {found}, this build knows up to {known}: use the newer quorate")]
    Future {
        /// The file.
        place: String,
        /// The version found there.
        found: u32,
        /// The newest version this build reads.
        known: u32,
    },
    /// It is whole, and not the snapshot that its name or its sender says it is.
    #[error("{place} is another snapshot than was asked for ({detail}): take it again")]
    Other {
        /// The file.
        place: String,
        /// What differs.
        detail: String,
    },
    /// It was removed, or replaced by another one, or never there.
    #[error("{place} is not there (any more): use a newer snapshot")]
    Gone {
        /// The file.
        place: String,
    },
    /// Bytes that do not continue what was received.
    #[error(
        "{place} has {expected} of {bytes} bytes, and {given} bytes at {offset} do not continue it: send from there"
    )]
    Order {
        /// The file.
        place: String,
        /// Where the next bytes belong.
        expected: u64,
        /// The length that was announced.
        bytes: u64,
        /// Where they were said to belong.
        offset: u64,
        /// How many there were.
        given: u64,
    },
    /// What must stay free for the log would not.
    #[error(
        "no room for {place}: {} more are needed, {} are free and {} must stay so (disk_reserve_bytes): free some, or use a larger volume",
        ByteCount(*needed), ByteCount(*free), ByteCount(*reserve)
    )]
    NoRoom {
        /// The file.
        place: String,
        /// Bytes that it lacks.
        needed: u64,
        /// Bytes that are free.
        free: u64,
        /// Bytes that must stay free.
        reserve: u64,
    },
    /// It was ended before all its bytes were there.
    #[error("{place} is not whole ({detail}): write or receive the rest, or begin again")]
    Unfinished {
        /// The file.
        place: String,
        /// What is missing.
        detail: String,
    },
    /// Membership and names are too long for a header.
    #[error(
        "the header of a snapshot at index {index} has {bytes} bytes, more than {bytes_max}: fewer members, or shorter addresses"
    )]
    LongHeader {
        /// Where it is taken.
        index: Index,
        /// What it has.
        bytes: usize,
        /// What it may have.
        bytes_max: usize,
    },
}

impl SnapshotError {
    /// Whether there is too little room, so that what was begun is better removed than kept.
    pub fn is_no_room(&self) -> bool {
        matches!(self, Self::NoRoom { .. } | Self::Disk(DiskError::Full { .. }))
    }

    /// Whether the bytes are wrong, so that reading or receiving the same again does not help.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::Future { .. } | Self::Other { .. })
    }
}

impl From<SnapshotError> for io::Error {
    /// It can be had back with [`io::Error::downcast`].
    fn from(error: SnapshotError) -> Self {
        let kind = match &error {
            error if error.is_no_room() => io::ErrorKind::StorageFull,
            SnapshotError::Gone { .. } => io::ErrorKind::NotFound,
            SnapshotError::Damaged { .. } | SnapshotError::Future { .. } | SnapshotError::Other { .. } => {
                io::ErrorKind::InvalidData
            }
            SnapshotError::NoRoom { .. }
            | SnapshotError::Disk(_)
            | SnapshotError::Order { .. }
            | SnapshotError::Unfinished { .. }
            | SnapshotError::LongHeader { .. } => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}
