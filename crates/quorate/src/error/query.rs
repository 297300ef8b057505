//! Why a query was not answered.

use serde::{Deserialize, Serialize};

use super::{Outcome, faulted};

/// Why a query was not answered. A query changes nothing, so every one of these may be retried.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum QueryError {
    /// As many queries as this node admits are under way.
    #[error("busy: {in_flight} queries of this group are under way on this node; slow down and retry")]
    Busy {
        /// How many are under way.
        in_flight: usize,
    },
    /// No leader confirmed the read before the deadline.
    #[error("no leader confirmed the read for {waited_ms} ms; retry, or ask with stale consistency")]
    NoLeader {
        /// How long it was waited for, in milliseconds.
        waited_ms: u64,
    },
    /// The leader is known, and cannot be asked to confirm the read.
    #[error(
        "leader {leader} is known but cannot be reached from this node, for {waited_ms} ms: {detail}; mend the way to it, ask \
         another node, or ask with stale consistency"
    )]
    LeaderUnreachable {
        /// The leader.
        leader: String,
        /// What fails.
        detail: String,
        /// How long it was waited for, in milliseconds.
        waited_ms: u64,
    },
    /// This replica cannot answer now.
    #[error("not ready: {detail}")]
    NotReady {
        /// The reason.
        detail: String,
    },
    /// The node that was asked does not have this group open.
    #[error("node {node} has not opened group {group}; check the name, or open it there too")]
    NoSuchGroup {
        /// The group.
        group: String,
        /// The node.
        node: String,
    },
    /// The state machine of this node panicked on an entry, or cannot be restored, and stays down.
    #[error("state machine of this node faulted {}; ask another node", faulted(*index, detail))]
    Faulted {
        /// The index of the entry. Zero: the machine cannot be restored from its first state.
        index: u64,
        /// What it ended with. Empty from a node of an earlier build.
        #[serde(default)]
        detail: String,
    },
    /// The query or its answer cannot be carried between nodes.
    #[error("query or answer cannot be carried: {detail}")]
    Unreadable {
        /// The reason.
        detail: String,
    },
    /// The state machine panicked on this query; it goes on without it.
    #[error("state machine panicked on the query: {detail}")]
    Panicked {
        /// The message of the panic.
        detail: String,
    },
    /// The node is stopping or has stopped.
    #[error("node stopped: {detail}")]
    Stopped {
        /// The reason.
        detail: String,
    },
}

impl QueryError {
    pub(crate) fn not_ready(detail: impl Into<String>) -> Self {
        Self::NotReady { detail: detail.into() }
    }

    /// Refused for all but a panic of the machine: a query changes nothing.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Panicked { .. } | Self::Unreadable { .. } => Outcome::Failed,
            Self::Busy { .. }
            | Self::NoLeader { .. }
            | Self::LeaderUnreachable { .. }
            | Self::NotReady { .. }
            | Self::NoSuchGroup { .. }
            | Self::Faulted { .. }
            | Self::Stopped { .. } => Outcome::Refused,
        }
    }
}
