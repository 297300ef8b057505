//! What the log store hears and says.

use std::fmt;
use std::sync::Arc;

use quorate_core::{
    Entry, Epoch, GroupId, Incarnation, Index, Membership, NodeId, Persist, Position, Sequence,
};
use ractor::RpcReplyPort;

use super::error::{GroupError, StoreError};
use super::types::{Install, LoadedGroup, ScrubReport, Space};

/// Where completions of one epoch go. Called on the I/O thread (or inline in simulation): it must only hand on.
pub type StoreSink = Arc<dyn Fn(StoreEvent) + Send + Sync>;

/// Called once, when the disk has failed: the node must stop and no answer may be given after it.
pub type FatalSink = Arc<dyn Fn(StoreFatal) + Send + Sync>;

/// What a role hears from the store without having asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreEvent {
    /// Everything up to `sequence` of this epoch is on disk.
    Persisted {
        /// The group.
        group: GroupId,
        /// The epoch that ordered it.
        epoch: Epoch,
        /// The last of them.
        sequence: Sequence,
    },
    /// The disk has fallen below its reserve, or is above it again. Said once at Load if it is below.
    DiskFull(bool),
}

/// Why the store has stopped for good.
#[derive(Debug, Clone)]
pub enum StoreFatal {
    /// The disk said so.
    Failed(Arc<StoreError>),
    /// The I/O thread has not answered for this long.
    Silent(std::time::Duration),
}

impl fmt::Display for StoreFatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => write!(f, "the log store failed: {error}"),
            Self::Silent(span) => write!(f, "the disk has not answered for {} ms", span.as_millis()),
        }
    }
}

/// An answer that comes once what was asked is on disk, or is refused. A dropped port means the store has failed or
/// its actor was restarted: the outcome is not known.
pub type Answer<T, E = StoreError> = RpcReplyPort<Result<T, E>>;

/// What the log store hears. All but [`StoreMessage::Internal`] is sent by Node, Group and its roles.
pub enum StoreMessage {
    /// Node, when `group()` is called: make the group if it is not here, or find it. `founding` is used only then.
    OpenGroup {
        /// Its name.
        name: String,
        /// Its members, if it is new.
        founding: Membership,
        /// Its number.
        reply: Answer<GroupId, GroupError>,
    },
    /// Group, before every start of a role: forget what older epochs left, and say what is on disk.
    Load {
        /// The group.
        group: GroupId,
        /// One more than any before in this process.
        epoch: Epoch,
        /// About how many bytes of the newest entries are wanted.
        tail_bytes_max: usize,
        /// Where the completions of this epoch go.
        sink: StoreSink,
        /// What is on disk.
        reply: Answer<LoadedGroup>,
    },
    /// A role: write this; [`StoreEvent::Persisted`] goes to the epoch's sink. A sequence that is on disk is answered
    /// at once; one that leaves a gap, or of another epoch, is dropped: the role says it again after `StoreBack`.
    Persist {
        /// The group.
        group: GroupId,
        /// The role's epoch.
        epoch: Epoch,
        /// What to write.
        persist: Persist,
    },
    /// A role, replicator or applier: entries from disk, verified.
    Read {
        /// The group.
        group: GroupId,
        /// The asker's epoch.
        epoch: Epoch,
        /// The first wanted.
        from: Index,
        /// The last wanted; those not on disk are left out.
        through: Index,
        /// About how many bytes, at most (at least one entry).
        bytes_max: usize,
        /// The entries.
        reply: Answer<Vec<Entry>>,
    },
    /// A role: the chain hash at an index.
    Locate {
        /// The group.
        group: GroupId,
        /// The asker's epoch.
        epoch: Epoch,
        /// Where.
        index: Index,
        /// What stands there.
        reply: Answer<Position>,
    },
    /// Snapshotter: a received snapshot replaces the log.
    Install {
        /// The group.
        group: GroupId,
        /// The asker's epoch.
        epoch: Epoch,
        /// What replaces it.
        install: Install,
        /// Once it is on disk.
        reply: Answer<()>,
    },
    /// Snapshotter: entries up to here are covered by a durable snapshot and may go.
    Compact {
        /// The group.
        group: GroupId,
        /// The asker's epoch.
        epoch: Epoch,
        /// The last that may go.
        through: Index,
        /// The new beginning, once it is on disk.
        reply: Answer<Position>,
    },
    /// Node, before a peer's first vote or ack counts: its incarnation is on disk when this is answered
    /// (`safety.md` 14). Answers what is now remembered: a peer that is known keeps its first one unless `replace`.
    RecordPeer {
        /// The peer.
        peer: NodeId,
        /// What it said.
        incarnation: Incarnation,
        /// An operator removed and added it again, or the membership says so.
        replace: bool,
        /// The incarnation remembered.
        reply: Answer<Incarnation>,
    },
    /// Node: all remembered peers.
    Peers {
        /// In order of name.
        reply: Answer<Vec<(NodeId, Incarnation)>>,
    },
    /// Anyone: how full the disk is.
    Space {
        /// The answer.
        reply: Answer<Space>,
    },
    /// Node: read and verify everything. Other requests wait meanwhile.
    Scrub {
        /// What was found.
        reply: Answer<ScrubReport>,
    },
    /// From the I/O thread and the actor's own timer.
    Internal(Internal),
}

/// What the log store says to itself; nobody else can make one.
#[derive(Debug)]
pub struct Internal(pub(super) InternalKind);

#[derive(Debug)]
pub(super) enum InternalKind {
    /// The thread is idle and knows the actor of this store epoch.
    Attached(u64),
    /// The thread has finished this job.
    Done(u64),
    /// Has this job been finished in time?
    Watch(u64),
    /// Simulation only: nothing came for a while; bring the anchor up to date.
    Settle,
    /// Simulation only: a slow disk has come to the job under way, unless it does nothing now.
    Inline(u64),
    /// From tests and `quorate actors stop --panic`: panic, as a bug would.
    Panic,
}

impl StoreMessage {
    /// Makes the actor that hears it panic, as a bug would: for tests, and for operators who want to see a node heal.
    pub fn panic() -> Self {
        Self::Internal(Internal(InternalKind::Panic))
    }
}
