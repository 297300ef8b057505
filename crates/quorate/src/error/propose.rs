//! Why a proposal was not answered by the state machine.

use quorate_core::NodeId;
use quorate_store::Space;
use serde::{Deserialize, Serialize};

use super::{Outcome, faulted};
use crate::machine::{KEPT_REPLIES_BYTES_MAX, REPLY_BYTES_MAX};
use crate::no_space::{lacks, where_lacks};

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
