//! What the store is asked to do.

use std::fmt;

use quorate_core::{Entry, Epoch, GroupId, Incarnation, Index, Membership, NodeId, Persist, Position};

use super::error::{GroupError, StoreError};
use super::event::StoreSink;
use super::types::{Install, LoadedGroup};

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

/// What the store is asked to do: by Node, Group and its roles, through the actor that gathers.
pub enum StoreRequest {
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
}

impl StoreRequest {
    /// The entries it writes.
    pub fn entries(&self) -> &[Entry] {
        match self {
            Self::Persist { persist, .. } => &persist.entries,
            Self::OpenGroup { .. }
            | Self::Load { .. }
            | Self::Read { .. }
            | Self::Locate { .. }
            | Self::Install { .. }
            | Self::Compact { .. }
            | Self::RecordPeer { .. } => &[],
        }
    }

    /// Bytes of the entries it writes, as they will lie on disk.
    pub fn bytes(&self) -> usize {
        self.entries().iter().map(Entry::encoded_bytes).sum()
    }

    /// Whether it only reads, so that it can wait for the writes around it to become one batch.
    pub fn is_read(&self) -> bool {
        matches!(self, Self::Read { .. } | Self::Locate { .. })
    }
}

impl fmt::Debug for StoreRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Persist { .. } => "Persist",
            Self::OpenGroup { .. } => "OpenGroup",
            Self::Load { .. } => "Load",
            Self::Read { .. } => "Read",
            Self::Locate { .. } => "Locate",
            Self::Install { .. } => "Install",
            Self::Compact { .. } => "Compact",
            Self::RecordPeer { .. } => "RecordPeer",
        })
    }
}
