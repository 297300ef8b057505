//! What the store is told and what it answers: plain values.

use std::time::Duration;

use quorate_core::{
    Boot, Entry, GroupId, HardState, Hash, Incarnation, Index, Membership, MembershipLog, NodeId, Position,
    Tail,
};

use super::disk::TornTail;

/// What a store needs to know to open; what one process may choose.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// This node. A directory of another one is refused.
    pub node: NodeId,
    /// The cluster id; used at first start only, and needed then.
    pub cluster: Option<Hash>,
    /// Random; the incarnation drawn at first start comes from it.
    pub entropy: u64,
    /// Bytes of one run at most; one entry may exceed it alone.
    pub run_bytes_max: usize,
    /// Run boundaries remembered per group, at most; above it every second of the older half is forgotten.
    pub boundaries_max: usize,
    /// Free space below which proposals are refused; twice the live log counts if that is more (`safety.md` 16).
    pub reserve_bytes_min: u64,
    /// The file that is deleted first when the disk is full; zero for none.
    pub ballast_bytes: u64,
}

impl StoreOptions {
    /// The defaults for a node.
    pub fn new(node: NodeId, cluster: Option<Hash>, entropy: u64) -> Self {
        Self {
            node,
            cluster,
            entropy,
            run_bytes_max: 1 << 20,
            boundaries_max: 4_096,
            reserve_bytes_min: 256 << 20,
            ballast_bytes: 64 << 20,
        }
    }
}

/// Who a data directory belongs to (`safety.md` 14).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The cluster.
    pub cluster: Hash,
    /// The node.
    pub node: NodeId,
    /// Drawn when the directory was made.
    pub incarnation: Incarnation,
    /// This start; one more than the last.
    pub boot: Boot,
}

/// What opening found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenReport {
    /// Who this is.
    pub identity: Identity,
    /// Whether the directory was empty.
    pub first_start: bool,
    /// The groups that are here.
    pub groups: Vec<GroupReport>,
    /// What an operator should see, in the order in which it was found.
    pub notices: Vec<OpenNotice>,
}

/// One group as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupReport {
    /// Its number.
    pub group: GroupId,
    /// Its name.
    pub name: String,
    /// The last entry.
    pub last: Position,
    /// It must catch up before it votes (`safety.md` 5).
    pub recovering: bool,
}

/// Something an operator should see after opening.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenNotice {
    /// The unfinished last write was cut off.
    TornTail(TornTail),
    /// A slot of the anchor was damaged; its partner and the database stood in, and it was rewritten.
    BadSlot {
        /// Which sector.
        sector: u64,
        /// How it was seen.
        detail: String,
    },
    /// The database looked damaged, and read once more it was not: a disk, or a way to it, to keep an eye on.
    ReadAgain {
        /// What was seen at first.
        detail: String,
    },
    /// A group lost entries it may have acknowledged; every group of the node recovers.
    Lost {
        /// The group.
        group: GroupId,
        /// What is missing.
        detail: String,
    },
    /// The database was damaged, renamed, and replaced by an empty one; every group of the node recovers.
    SetAside {
        /// Where it went.
        to: String,
        /// What was wrong.
        detail: String,
    },
    /// The disk was below the reserve and the ballast was deleted.
    BallastDropped {
        /// Bytes it held.
        bytes: u64,
    },
}

/// One group's part of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupWrite {
    /// The group.
    pub group: GroupId,
    /// The newest term, vote and flag.
    pub hard_state: HardState,
    /// Remove this index and all after it first.
    pub truncate_from: Option<Index>,
    /// Then append these.
    pub entries: Vec<Entry>,
}

/// A log that is replaced by a snapshot (`safety.md` 7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Install {
    /// The last entry the snapshot covers. A log that has it keeps what follows; any other log is dropped whole.
    pub at: Position,
    /// The membership in force there.
    pub membership: Membership,
    /// The newest term, vote and flag.
    pub hard_state: HardState,
}

/// What is on disk of a group, when a role starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedGroup {
    /// The group.
    pub group: GroupId,
    /// Its name.
    pub name: String,
    /// Term, vote and whether it is recovering.
    pub hard_state: HardState,
    /// The terms of the whole log and its newest entries.
    pub tail: Tail,
    /// The memberships in the log; the first is that at `start`.
    pub memberships: MembershipLog,
    /// The place before the first entry: origin, or where the log was compacted.
    pub start: Position,
}

/// How full the disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes free.
    pub free_bytes: u64,
    /// Bytes that must stay free.
    pub reserve_bytes: u64,
    /// Bytes of entries that are live.
    pub live_bytes: u64,
}

impl Space {
    /// Whether proposals are refused.
    pub fn is_full(self) -> bool {
        self.free_bytes < self.reserve_bytes
    }
}

/// What a walk over everything found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScrubReport {
    /// Groups walked.
    pub groups: usize,
    /// Runs read.
    pub runs: u64,
    /// Entries whose chain was checked.
    pub entries: u64,
    /// Bytes read.
    pub bytes: u64,
    /// What is wrong, one clause each; empty if all is well.
    pub damage: Vec<String>,
}

/// How long a group's row in the anchor may lag behind its log (`safety.md` 3).
pub const ANCHOR_LAG_MAX: Duration = Duration::from_millis(20);
