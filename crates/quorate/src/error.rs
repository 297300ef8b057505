//! Errors, one enum per operation. Each is one of refused, failed and unknown, and never "refused" for what may yet
//! happen (`docs/ARCHITECTURE.md`, "three outcomes").

use quorate_core::{NodeId, TransferRefusal};
use quorate_store::Space;
use serde::{Deserialize, Serialize};

use crate::machine::{KEPT_REPLIES_BYTES_MAX, REPLY_BYTES_MAX};
use crate::no_space::{lacks, where_lacks};

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

/// Why a proposal was not answered by the state machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ProposeError {
    /// Refused: as much is under way as the asked node or the leader admits.
    #[error("busy: {in_flight} {cause}; slow down and retry")]
    Busy {
        /// How many there are of what `cause` names.
        in_flight: usize,
        /// What there is too much of. A node of an earlier build sends none: `UnderWay`.
        #[serde(default)]
        cause: BusyCause,
    },
    /// Refused: no leader was found before the deadline.
    #[error(
        "no leader known for {waited_ms} ms: a majority of the group's nodes has to reach each other, and in a new cluster all of \
         them once; the links of a node (`Node::links`, `quorate status`) say which others it does not reach, and why"
    )]
    NoLeader {
        /// How long it was waited for, in milliseconds.
        waited_ms: u64,
    },
    /// Refused: the leader is known, and nothing can be sent to it.
    #[error(
        "leader {leader} is known but cannot be reached from this node, for {waited_ms} ms: {detail}; mend the way to it, or ask \
         another node"
    )]
    LeaderUnreachable {
        /// The leader.
        leader: String,
        /// What fails.
        detail: String,
        /// How long it was waited for, in milliseconds.
        waited_ms: u64,
    },
    /// Refused: this replica cannot take proposals now.
    #[error("not ready: {detail}")]
    NotReady {
        /// The reason, for programs. A node of an earlier build sends none: `Other`.
        #[serde(default)]
        reason: NotReadyReason,
        /// The reason, for people.
        detail: String,
    },
    /// Refused: larger than an entry may be.
    #[error("command of {bytes} bytes is too large, the limit is {bytes_max}; split it")]
    TooLarge {
        /// Its size in MessagePack.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// Refused: it cannot be written in MessagePack.
    #[error("command cannot be encoded: {detail}")]
    Unencodable {
        /// The reason.
        detail: String,
    },
    /// Refused: the machine of the leader's build cannot read it. In the log, replicas of that build would have to stop at it.
    #[error(
        "the leader cannot read this command: {detail}; bring the leader to the version that proposes it, or give the client the \
         machine that the group has"
    )]
    NotReadHere {
        /// What is wrong with it.
        detail: String,
    },
    /// Refused: the leader's disk is below its reserve, or those of so many other voters that no majority can take it.
    #[error(
        "no space: {}, reads go on meanwhile",
        where_lacks(node, full, &lacks(*free_bytes, *reserve_bytes, *free_files, *reserve_files))
    )]
    NoSpace {
        /// The leader.
        node: String,
        /// Bytes free on its disk.
        free_bytes: u64,
        /// Bytes that must stay free on it.
        reserve_bytes: u64,
        /// Files that may still be made on it.
        #[serde(default)]
        free_files: u64,
        /// Files that must be left. Zero where nothing but bytes bounds them, and from a node of an earlier build.
        #[serde(default)]
        reserve_files: u64,
        /// The voters whose full disks keep the leader from committing, which has room itself; empty where it has none, and from
        /// a node of an earlier build.
        #[serde(default)]
        full: Vec<String>,
    },
    /// Refused: the node that leads does not have this group open.
    #[error("node {node} has not opened group {group}; check the name, or open it there too")]
    NoSuchGroup {
        /// The group.
        group: String,
        /// The node.
        node: String,
    },
    /// Refused: on a majority of the nodes the state machine panicked on one entry, cannot read it, or cannot even be restored.
    #[error("group faulted {}; fix the machine and restart the nodes", faulted(*index, detail))]
    Faulted {
        /// The index of the entry. Zero: the machine cannot be restored from its first state.
        index: u64,
        /// What the machine of the asked node ended with. Empty where that one runs, and from a node of an earlier build.
        #[serde(default)]
        detail: String,
    },
    /// Refused: the node is stopping or has stopped.
    #[error("node stopped: {detail}")]
    Stopped {
        /// The reason.
        detail: String,
    },
    /// Failed: another leader's entry took its place.
    #[error("superseded: another entry was committed at index {index}; the command did not happen")]
    Superseded {
        /// The index it had been given.
        index: u64,
    },
    /// Failed: the machine cannot read it, on every node alike.
    #[error("command cannot be read by the state machine: {detail}")]
    Unreadable {
        /// What is wrong with it.
        detail: String,
    },
    /// Failed: another command was applied under the same key.
    #[error(
        "another command was applied under this key, at index {index}; this one was not: give every command a key of its own"
    )]
    KeyReused {
        /// The index at which the other command was applied.
        index: u64,
    },
    /// Unknown: its session has gone on to a later sequence; whether this one was applied before is no longer kept.
    #[error(
        "stale session: the client is at sequence {last}, applied at index {index}; this one is not applied any more, and may have been \
         before: read, then decide"
    )]
    StaleSequence {
        /// The newest sequence of its client.
        last: u64,
        /// The index at which that was applied.
        index: u64,
    },
    /// Unknown: it was applied before, but its reply is not kept (`machine::REPLY_BYTES_MAX`, `machine::KEPT_REPLIES_BYTES_MAX`).
    #[error(
        "applied before, at index {index}; its reply is not kept: it had more than {} MiB, or the replies kept since fill {} MiB",
        REPLY_BYTES_MAX >> 20, KEPT_REPLIES_BYTES_MAX >> 20
    )]
    ReplyNotKept {
        /// The index at which it was applied.
        index: u64,
    },
    /// Unknown: its client may have been forgotten, so it may have been applied before; it will not be applied.
    #[error(
        "session expired: clients last active at or below index {forgotten_through} are forgotten; take a new client id"
    )]
    SessionExpired {
        /// The greatest such index.
        forgotten_through: u64,
        /// The index at which that was found; what is sent later is applied after it. Zero if the node did not send it.
        #[serde(default)]
        index: u64,
    },
    /// Unknown: it may have happened or may yet happen.
    #[error(
        "outcome unknown: {detail}; a retry is safe only under the key that it was first proposed with; without one, read first"
    )]
    Unknown {
        /// Why there is no answer.
        detail: String,
    },
}

impl ProposeError {
    /// Whether it was refused, failed or is unknown.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Busy { .. }
            | Self::NoLeader { .. }
            | Self::LeaderUnreachable { .. }
            | Self::NotReady { .. }
            | Self::TooLarge { .. }
            | Self::Unencodable { .. }
            | Self::NotReadHere { .. }
            | Self::NoSpace { .. }
            | Self::NoSuchGroup { .. }
            | Self::Faulted { .. }
            | Self::Stopped { .. } => Outcome::Refused,
            Self::Superseded { .. } | Self::Unreadable { .. } | Self::KeyReused { .. } => Outcome::Failed,
            Self::StaleSequence { .. }
            | Self::ReplyNotKept { .. }
            | Self::SessionExpired { .. }
            | Self::Unknown { .. } => Outcome::Unknown,
        }
    }

    /// As many proposals as have permits.
    pub(crate) fn busy(in_flight: usize) -> Self {
        Self::Busy { in_flight, cause: BusyCause::UnderWay }
    }

    pub(crate) fn unknown(detail: impl Into<String>) -> Self {
        Self::Unknown { detail: detail.into() }
    }

    /// For this leader, with its disk as it was measured last.
    pub(crate) fn no_space(leader: &NodeId, space: Space) -> Self {
        Self::no_space_at(leader, space, Vec::new())
    }

    /// For a leader with room, and voters that have none.
    pub(crate) fn no_space_at(leader: &NodeId, space: Space, voters: Vec<String>) -> Self {
        let Space { free_bytes, reserve_bytes, free_files, reserve_files, .. } = space;
        let (node, full) = (leader.to_string(), voters);
        Self::NoSpace { node, free_bytes, reserve_bytes, free_files, reserve_files, full }
    }

    pub(crate) fn not_ready(reason: NotReadyReason) -> Self {
        Self::NotReady { reason, detail: reason.to_string() }
    }
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

/// What there is too much of for another proposal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BusyCause {
    /// Entries that are not committed.
    #[error("entries of the leader's log wait for a majority")]
    Uncommitted,
    /// Entries that are committed and not applied.
    #[error("committed entries wait for the leader's state machine")]
    Unapplied,
    /// Entries that wait for the flushes and compactions of the leader's disk.
    #[error("commands wait for the leader's disk, which is behind with its compactions")]
    Disk,
    /// Proposals that wait for their answer.
    #[default]
    #[serde(other)]
    #[error("proposals of this group are under way")]
    UnderWay,
}

/// Why a replica takes no proposals now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum NotReadyReason {
    /// This node knows no leader.
    #[error("no leader is known")]
    NoLeader,
    /// The node that was asked is not the leader.
    #[error("this replica does not lead")]
    NotLeader,
    /// The leader stepped down before it gave the command an index.
    #[error("the replica no longer leads")]
    SteppedDown,
    /// The role ended while the command was on its way to it.
    #[error("the replica changed its role")]
    RoleChanged,
    /// The leader is handing leadership over.
    #[error("leadership is being handed over")]
    Transferring,
    /// An earlier change of membership is not committed yet.
    #[error("a membership change is in progress")]
    ChangeInProgress,
    /// The leader's applier is being restarted.
    #[error("the state machine of this replica is being restarted")]
    MachineRestarting,
    /// The leader's node is stopping.
    #[error("the leader's node is stopping")]
    Stopping,
    /// The node could not be reached; nothing was sent.
    #[error("the node cannot be reached")]
    Unreachable,
    /// A reason that this build does not know.
    #[default]
    #[serde(other)]
    #[error("the replica takes no proposals now")]
    Other,
}

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
