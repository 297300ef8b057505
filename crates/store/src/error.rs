//! What can go wrong: one enum per operation, each with what failed, where, and what to do.

use quorate_core::{ENTRY_VERSION, EntryError, GroupId, Index, NameError, NodeId, TwoVotes};

use crate::disk::DiskError;
use crate::space::ByteCount;

/// The remedy for a node that may not vote any more.
const REPLACE: &str = "move the data directory away, start the node with an empty one and `--join`, and take it in with `quorate member replace`; \
                       that needs a majority of the others";

/// Why a data directory was not opened. Nothing was promised in this process yet.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The disk itself.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// First start, and no cluster id was given.
    #[error(
        "{place} is empty and no cluster id was given: start the node with its cluster's initial members"
    )]
    NoCluster {
        /// The data directory.
        place: String,
    },
    /// A reserve was given that the volume can never have free.
    #[error(
        "the volume of {place} has {total}, and {reserve} must stay free on it (disk_reserve_bytes), so no entry could ever be \
         written: lower disk_reserve_bytes, or give the node a larger volume"
    )]
    SmallVolume {
        /// The data directory.
        place: String,
        /// The volume's size.
        total: ByteCount,
        /// What must stay free.
        reserve: ByteCount,
    },
    /// The directory belongs to another node.
    #[error("{place} belongs to node {found}, not to {expected}: give each node its own data directory")]
    OtherNode {
        /// The data directory.
        place: String,
        /// The node it belongs to.
        found: NodeId,
        /// The node that opened it.
        expected: NodeId,
    },
    /// A database without its anchor: term and vote cannot be trusted.
    #[error(
        "{place} has a database but no anchor, so this node's votes are not known: restore the file `anchor`; without it \
         {}",
        REPLACE
    )]
    DatabaseWithoutAnchor {
        /// The data directory.
        place: String,
    },
    /// An anchor without its database.
    #[error(
        "{place} has an anchor but no database, so what this node acknowledged is gone: restore the directory `db`; without it \
         {}",
        REPLACE
    )]
    AnchorWithoutDatabase {
        /// The data directory.
        place: String,
    },
    /// A cell of the anchor is damaged in both sectors.
    #[error(
        "the anchor of {place} is damaged in {what} ({detail}), so this node's votes are not known: {}",
        REPLACE
    )]
    AnchorDamaged {
        /// The data directory.
        place: String,
        /// Which cell: the identity's, or a group's.
        what: String,
        /// How the damage was detected.
        detail: String,
    },
    /// The anchor is older than the database.
    #[error(
        "the anchor of {place} is of boot {anchor} but its database of boot {database}: it is an old copy; put the \
         newest back; without it {}",
        REPLACE
    )]
    AnchorOld {
        /// The data directory.
        place: String,
        /// The anchor's boot.
        anchor: u64,
        /// The database's boot.
        database: u64,
    },
    /// Database and anchor were never together.
    #[error(
        "the database of {place} is not the one its anchor belongs to ({detail}): put the right one back; without \
         it {}",
        REPLACE
    )]
    ForeignDatabase {
        /// The data directory.
        place: String,
        /// What differs.
        detail: String,
    },
    /// Two votes in one term.
    #[error(
        "group {group} of {place} has two different votes in term {} ({} and {}): this node may have voted twice: {}",
        votes.term, votes.one, votes.other, REPLACE
    )]
    TwoVotes {
        /// The data directory.
        place: String,
        /// The group.
        group: GroupId,
        /// The term and both votes.
        votes: TwoVotes,
    },
    /// The database is damaged, and no other node has what is in it.
    #[error(
        "the database of {place} is damaged ({database}), and this node is the only voter of group {group}, so there is no other \
         copy: nothing was changed; put the whole directory back from a copy, or move it away to begin again without data"
    )]
    OnlyCopy {
        /// The data directory.
        place: String,
        /// A group of which this node is the only voter.
        group: String,
        /// How the database is damaged.
        database: String,
    },
    /// The database is damaged in the middle, and the anchor is not whole either.
    #[error(
        "the database of {place} is damaged ({database}) and so is its anchor ({anchor}): term and vote are not safe: \
         {}",
        REPLACE
    )]
    BothDamaged {
        /// The data directory.
        place: String,
        /// How the database is damaged.
        database: String,
        /// How the anchor is damaged.
        anchor: String,
    },
}

/// Why a group was not opened.
#[derive(Debug, thiserror::Error)]
pub enum GroupError {
    /// The name is not legal.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Two names share a number.
    #[error("group {name} has the number {group}, as {other} on this node has: choose another name")]
    Collision {
        /// The name that was refused.
        name: String,
        /// The number of both.
        group: GroupId,
        /// The name of the group that has it.
        other: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why the open store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk failed; the node must stop.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// What was read is not what was written; the node must stop and, at its next start, recover.
    #[error(
        "the log of group {group} is damaged near index {near}: {detail}; restart the node to let it recover"
    )]
    Damaged {
        /// The group.
        group: GroupId,
        /// The index near which it was read.
        near: Index,
        /// How the damage was detected.
        detail: String,
    },
    /// The caller broke the rules of the log; the node must stop.
    #[error("group {group} refused a write out of order: {detail}")]
    Order {
        /// The group.
        group: GroupId,
        /// What was asked.
        detail: String,
    },
    /// An earlier call failed.
    #[error("the store has failed before: stop the node and start it again")]
    Failed,
    /// The group was not opened on this node. Not fatal.
    #[error("group {group} is not open on this node")]
    NotOpen {
        /// The group.
        group: GroupId,
    },
    /// The index is not on disk: compacted, or not durable. Not fatal.
    #[error("group {group} has no index {index} on disk: its log runs from {first} to {last}")]
    Outside {
        /// The group.
        group: GroupId,
        /// The index asked for.
        index: Index,
        /// The first it has.
        first: Index,
        /// The last it has.
        last: Index,
    },
    /// An older epoch, or none loaded. Not fatal.
    #[error("epoch of group {group} is over: another role has been started")]
    Stale {
        /// The group.
        group: GroupId,
    },
}

impl StoreError {
    /// Whether the node must stop: no answer may be given after this.
    pub fn is_fatal(&self) -> bool {
        match self {
            Self::Disk(_) | Self::Damaged { .. } | Self::Order { .. } | Self::Failed => true,
            Self::NotOpen { .. } | Self::Outside { .. } | Self::Stale { .. } => false,
        }
    }

    /// What a newer build wrote. If it has no version number, the version after this build's is reported.
    pub(crate) fn newer(place: String, version: Option<u8>) -> Self {
        let known = u32::from(ENTRY_VERSION);
        Self::Disk(DiskError::Future { place, found: version.map_or(known + 1, u32::from), known })
    }

    pub(crate) fn entry(group: GroupId, near: Index, error: &EntryError) -> Self {
        Self::Damaged { group, near, detail: error.to_string() }
    }
}
