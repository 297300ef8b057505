//! What the store says without being asked: completions, a full disk, and its failure.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use quorate_core::{Epoch, GroupId, Sequence};

use crate::disk::DiskError;
use crate::error::StoreError;

/// Where the completions of one epoch go. Called on the I/O thread (in simulation: by the caller), so it must only hand
/// the event on.
pub type StoreSink = Arc<dyn Fn(StoreEvent) + Send + Sync>;

/// Called once, when the disk has failed: the node must stop, and nothing may be answered after it.
pub type FatalSink = Arc<dyn Fn(StoreFatal) + Send + Sync>;

/// What a role hears from the store without having asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreEvent {
    /// Everything up to `sequence` of this epoch is on disk.
    Persisted {
        /// The group.
        group: GroupId,
        /// The epoch of the role that asked for it.
        epoch: Epoch,
        /// The last sequence that is on disk.
        sequence: Sequence,
    },
    /// The disk has fallen below its reserve, or is above it again. Sent once at Load if it is below.
    DiskFull(bool),
}

/// Why the store has stopped permanently.
#[derive(Debug, Clone)]
pub enum StoreFatal {
    /// A call failed.
    Failed(Arc<StoreError>),
    /// The I/O thread has not answered for this long.
    Silent(Duration),
}

impl fmt::Display for StoreFatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => write!(f, "{error}"),
            Self::Silent(span) => write!(f, "the disk has not answered for {} ms", span.as_millis()),
        }
    }
}

/// Why the store has stopped, for a program that chooses what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// No space is left: free some, then start the node again.
    DiskFull,
    /// A write or sync failed before: what is on the disk is unknown until the node is started again.
    Poisoned,
    /// The operating system refused a call.
    Io,
    /// The database's files were deleted, moved, replaced or cut while the node was running.
    FilesGone,
    /// The disk has not answered in time.
    Silent,
    /// What was read is not what was written, or a newer build wrote it: the next start recovers or refuses.
    Unreadable,
    /// The store was asked for something that the rules of the log forbid.
    Misuse,
}

impl StoreFatal {
    /// Why, for a program that chooses what to do.
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Silent(_) => FailureKind::Silent,
            Self::Failed(error) => match &**error {
                StoreError::Disk(error) => match error {
                    DiskError::Full { .. } => FailureKind::DiskFull,
                    DiskError::Poisoned { .. } => FailureKind::Poisoned,
                    DiskError::Io { .. }
                    | DiskError::Locked { .. }
                    | DiskError::Engine { .. }
                    | DiskError::NoWorkingDirectory { .. }
                    | DiskError::Stray { .. } => FailureKind::Io,
                    DiskError::Gone { .. } | DiskError::Cut { .. } => FailureKind::FilesGone,
                    DiskError::Damaged { .. } | DiskError::Future { .. } => FailureKind::Unreadable,
                },
                StoreError::Damaged { .. } => FailureKind::Unreadable,
                StoreError::Failed => FailureKind::Poisoned,
                StoreError::Order { .. }
                | StoreError::NotOpen { .. }
                | StoreError::Outside { .. }
                | StoreError::Stale { .. } => FailureKind::Misuse,
            },
        }
    }
}
