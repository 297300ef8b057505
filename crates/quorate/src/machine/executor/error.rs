//! What the executor refuses, one enum per operation.

use std::io;

use quorate_core::{Index, LogId};

/// A machine that panicked, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("state machine panicked at index {index}: {message}")]
pub struct Fault {
    /// The index of the entry.
    pub index: Index,
    /// The message of the panic.
    pub message: String,
}

/// Why an entry was not taken. The position has not moved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// The machine panicked, on this entry or an earlier one, and was dropped. Restore from a snapshot, or install one from
    /// beyond the entry.
    #[error(transparent)]
    Faulted(#[from] Fault),
    /// This entry, or another one at its index, was taken before: the caller breaks `safety.md` 10.
    #[error("entry {found} is not after {applied}, which is applied: an index is never applied twice")]
    Again {
        /// The last one taken.
        applied: LogId,
        /// The one given.
        found: LogId,
    },
    /// It is not the next one, or its term falls: the caller lost entries.
    #[error("entry {found} does not follow {applied}, the last applied")]
    Gap {
        /// The last one taken.
        applied: LogId,
        /// The one given.
        found: LogId,
    },
    /// Its envelope is of a newer build, which applies it. This replica has to wait for its upgrade.
    #[error(
        "command at index {index} has envelope version {version}, which this build does not know: upgrade this node"
    )]
    Newer {
        /// The index of the entry.
        index: Index,
        /// The version in its envelope.
        version: u8,
    },
    /// It does not decode, and the executor was told to halt at such: [`OnUnreadable::Halt`](super::OnUnreadable::Halt).
    #[error(
        "command at index {index} cannot be read: {detail}; a newer build proposed it: upgrade this node"
    )]
    Unreadable {
        /// The index of the entry.
        index: Index,
        /// Why it does not decode.
        detail: String,
    },
}

/// Why a query has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryFailed {
    /// The machine panicked earlier and was dropped.
    #[error(transparent)]
    Faulted(#[from] Fault),
    /// The machine panicked on this query. It goes on: a query changes nothing.
    #[error("state machine panicked on a query: {message}")]
    Panicked {
        /// The message of the panic.
        message: String,
    },
}

/// Why a state was not captured.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The machine panicked earlier and was dropped.
    #[error(transparent)]
    Faulted(#[from] Fault),
    /// The machine panicked in `snapshot`. It goes on: a capture changes nothing.
    #[error("state machine panicked in snapshot: {message}")]
    Panicked {
        /// The message of the panic.
        message: String,
    },
    /// Snapshot zero could not write itself out.
    #[error("first state of the machine cannot be written")]
    Write(#[from] io::Error),
}
