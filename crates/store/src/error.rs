//! What can go wrong, one enum per operation; each says what, where and what to do.

use quorate_core::{ENTRY_VERSION, EntryError, GroupId, Index, NameError, NodeId, Term};

use super::disk::DiskError;

/// Why a data directory was not opened. Nothing was promised in this process yet.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The disk itself.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// First start, and nobody said which cluster this is.
    #[error(
        "{place} is empty and no cluster id was given: start the node with its cluster's initial members"
    )]
    NoCluster {
        /// The data directory.
        place: String,
    },
    /// The directory belongs to another node.
    #[error("{place} belongs to node {found}, not to {expected}: give each node its own data directory")]
    OtherNode {
        /// The data directory.
        place: String,
        /// Whose it is.
        found: NodeId,
        /// Who asked.
        expected: NodeId,
    },
    /// A database whose anchor is gone: term and vote cannot be trusted.
    #[error(
        "{place} has a database but no anchor, so this node's votes are not known: restore the file `anchor`, or \
         remove the node from its groups, empty the directory and add it again"
    )]
    DatabaseWithoutAnchor {
        /// The data directory.
        place: String,
    },
    /// An anchor whose database is gone.
    #[error(
        "{place} has an anchor but no database, so what this node acknowledged is gone: restore the directory `db`, or \
         remove the node from its groups, empty the directory and add it again"
    )]
    AnchorWithoutDatabase {
        /// The data directory.
        place: String,
    },
    /// A sector of the anchor is damaged and nothing else can stand in for it.
    #[error(
        "the anchor of {place} is damaged in {what} ({detail}): remove the node from its groups, empty the directory \
         and add it again"
    )]
    AnchorDamaged {
        /// The data directory.
        place: String,
        /// Identity, or a group.
        what: String,
        /// How it was seen.
        detail: String,
    },
    /// The anchor is older than the database.
    #[error(
        "the anchor of {place} is of boot {anchor} but its database of boot {database}: it is an old copy; put the \
         newest back, or remove the node from its groups, empty the directory and add it again"
    )]
    AnchorOld {
        /// The data directory.
        place: String,
        /// The anchor's.
        anchor: u64,
        /// The database's.
        database: u64,
    },
    /// Database and anchor were never together.
    #[error(
        "the database of {place} is not the one its anchor belongs to ({detail}): put the right one back, or remove \
         the node from its groups, empty the directory and add it again"
    )]
    ForeignDatabase {
        /// The data directory.
        place: String,
        /// What differs.
        detail: String,
    },
    /// Two votes in one term.
    #[error(
        "group {group} of {place} has two different votes in term {term} ({one} and {other}): this node may have voted \
         twice; remove it from the group, empty the directory and add it again"
    )]
    TwoVotes {
        /// The data directory.
        place: String,
        /// The group.
        group: GroupId,
        /// The term.
        term: Term,
        /// One vote.
        one: NodeId,
        /// The other.
        other: NodeId,
    },
    /// The database is damaged in the middle, and the anchor is not whole either.
    #[error(
        "the database of {place} is damaged ({database}) and so is its anchor ({anchor}): term and vote are not safe; \
         remove the node from its groups, empty the directory and add it again"
    )]
    BothDamaged {
        /// The data directory.
        place: String,
        /// What is wrong with the database.
        database: String,
        /// What is wrong with the anchor.
        anchor: String,
    },
}

/// Why a group was not opened.
#[derive(Debug, thiserror::Error)]
pub enum GroupError {
    /// No legal name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Two names share a number.
    #[error("group {name} has the number {group}, as {other} on this node has: choose another name")]
    Collision {
        /// The name asked for.
        name: String,
        /// The number of both.
        group: GroupId,
        /// The group that is here.
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
        /// Where.
        near: Index,
        /// How it was seen.
        detail: String,
    },
    /// The caller broke the rules of the log; the node must stop.
    #[error("group {group} was asked to break its log: {detail}")]
    Order {
        /// The group.
        group: GroupId,
        /// How.
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
    /// Nothing is there: compacted, or not durable. Not fatal.
    #[error("group {group} has no index {index} on disk: its log runs from {first} to {last}")]
    Outside {
        /// The group.
        group: GroupId,
        /// What was asked for.
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

    /// What a newer build wrote. A form without a number of its own counts as the version after this build's.
    pub(crate) fn newer(place: String, version: Option<u8>) -> Self {
        let known = u32::from(ENTRY_VERSION);
        Self::Disk(DiskError::Future { place, found: version.map_or(known + 1, u32::from), known })
    }

    pub(crate) fn entry(group: GroupId, near: Index, error: &EntryError) -> Self {
        Self::Damaged { group, near, detail: error.to_string() }
    }
}
