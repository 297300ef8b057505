//! Errors, one enum per operation. Each is one of refused, failed and unknown, and never "refused" for what may yet
//! happen (`docs/ARCHITECTURE.md`, "three outcomes").

mod members;
mod propose;
mod query;

use quorate_core::{NodeId, TransferRefusal};
use serde::{Deserialize, Serialize};

pub use members::ChangeError;
pub use propose::{BusyCause, NotReadyReason, ProposeError};
pub use query::QueryError;

/// The log target of lines that only a bug or a damaged disk explains: two leaders in a term, changed or lost entries. The
/// testkit fails a simulation in which one appears.
pub const BROKEN_TARGET: &str = "quorate::broken";

/// What an error means for the command it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It never entered the log; trying again is safe.
    Refused,
    /// It entered and will never happen, or the machine could not read it.
    Failed,
    /// It may have happened or may yet happen; trying again is safe only under the key that it was first proposed with.
    Unknown,
}

/// Where a machine is down, and why.
fn faulted(index: u64, detail: &str) -> String {
    match (index, detail) {
        (0, "") => {
            "before its first entry: its state machine cannot be restored from its first state".to_owned()
        }
        (0, detail) => format!("before its first entry: {detail}"),
        (index, "") => format!("at index {index}: its state machine panics there"),
        (index, detail) => format!("at index {index}: {detail}"),
    }
}

/// Why leadership was not handed over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// Refused: this node does not lead.
    #[error("{node} does not lead; ask the leader")]
    NotLeader {
        /// The node that was asked.
        node: NodeId,
    },
    /// Refused by the leader.
    #[error(transparent)]
    Refused(#[from] TransferRefusal),
    /// Unknown: no other node led in time. It may yet.
    #[error("no other node led within {waited_ms} ms")]
    Unfinished {
        /// How long it was waited for, in milliseconds.
        waited_ms: u64,
    },
}

impl TransferError {
    /// Whether it was refused or is unknown.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::NotLeader { .. } | Self::Refused(_) => Outcome::Refused,
            Self::Unfinished { .. } => Outcome::Unknown,
        }
    }
}

/// Why no snapshot was taken or read. No command is concerned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct SnapshotFailed {
    /// What stood against it.
    pub reason: String,
    /// *Unknown* if it may yet be taken.
    pub outcome: Outcome,
}

impl SnapshotFailed {
    pub(crate) fn of(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), outcome: Outcome::Failed }
    }
}
