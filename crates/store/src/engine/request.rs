//! What the store is asked to do.

use std::fmt;

use quorate_core::{Entry, Epoch, GroupId, Incarnation, Index, Membership, NodeId, Persist, Position};

use super::event::StoreSink;
use super::read::LoadedGroup;
use crate::error::{GroupError, StoreError};

/// Where an answer goes once what was asked is on disk, or is refused. Dropped without an answer where the store has
/// failed: the outcome is unknown then.
pub struct Answer<T, E = StoreError>(Box<dyn FnOnce(Result<T, E>) + Send>);

impl<T, E> Answer<T, E> {
    /// `tell` is called at most once, on the I/O thread: it must only hand the answer on.
    pub fn new(tell: impl FnOnce(Result<T, E>) + Send + 'static) -> Self {
        Self(Box::new(tell))
    }

    pub(super) fn send(self, result: Result<T, E>) {
        (self.0)(result);
    }
}

/// From where a peer's incarnation is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerSource {
    /// The peer has dialled this node.
    ItDialled,
    /// This node has dialled the peer, which has admitted it: this node's incarnation is on its disk.
    ItAdmitted,
    /// The membership has it.
    Membership,
}

/// What the store is asked to do: by Node, Group and its roles, through the actor that gathers.
pub enum StoreRequest {
    /// Node, when `group()` is called: make the group, or find it. `founding` is used only to make it.
    OpenGroup {
        /// Its name.
        name: String,
        /// Its members, if it is made.
        founding: Membership,
        /// Its number.
        reply: Answer<GroupId, GroupError>,
    },
    /// Group, before every start of a role: begin an epoch, drop what older epochs left, and return what is on disk.
    Load {
        /// The group.
        group: GroupId,
        /// Larger than any epoch before it in this process.
        epoch: Epoch,
        /// About how many bytes of the newest entries to return.
        tail_bytes_max: usize,
        /// Where the completions of this epoch go.
        sink: StoreSink,
        /// What is on disk.
        reply: Answer<LoadedGroup>,
    },
    /// A role: write this; [`StoreEvent::Persisted`](super::StoreEvent::Persisted) goes to the epoch's sink. A sequence that is
    /// on disk is answered at once; one that leaves a gap, or of another epoch, is dropped: the role resends it after
    /// `StoreBack`.
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
        /// The sender's epoch.
        epoch: Epoch,
        /// The first index to return.
        from: Index,
        /// The last index to return; entries not on disk are left out.
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
        /// The sender's epoch.
        epoch: Epoch,
        /// The index.
        index: Index,
        /// The position at that index.
        reply: Answer<Position>,
    },
    /// Group, for a role: durable snapshots cover the entries up to here, which may be dropped.
    Compact {
        /// The group.
        group: GroupId,
        /// The sender's epoch.
        epoch: Epoch,
        /// The last index that may be dropped.
        through: Index,
        /// The log's new beginning, once it is on disk.
        reply: Answer<Position>,
    },
    /// Node, before a peer's first vote or ack counts: its incarnation is on disk when this is answered
    /// (`safety.md` 14). A known peer keeps its first incarnation unless the membership has another.
    RecordPeer {
        /// The peer.
        peer: NodeId,
        /// The incarnation it told.
        incarnation: Incarnation,
        /// From where it is known.
        source: PeerSource,
        /// The incarnation now on record.
        reply: Answer<Incarnation>,
    },
}

impl StoreRequest {
    /// The entries it writes.
    pub fn entries(&self) -> &[Entry] {
        if let Self::Persist { persist, .. } = self { &persist.entries } else { &[] }
    }

    /// Bytes of the entries it writes, as they will lie on disk.
    pub fn bytes(&self) -> usize {
        if let Self::Persist { persist, .. } = self { persist.entries.bytes().len() } else { 0 }
    }

    /// Whether it only reads, so that it can wait for the writes around it to become one batch.
    pub fn is_read(&self) -> bool {
        matches!(self, Self::Read { .. } | Self::Locate { .. })
    }
}

impl fmt::Debug for StoreRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreRequest").field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}
