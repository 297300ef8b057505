//! What opening tells its caller.

use quorate_core::{GroupId, Position};

use crate::disk::TornTail;
use crate::space::Space;
use crate::store::Identity;

/// What was found at opening.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenReport {
    /// Whose directory it is.
    pub identity: Identity,
    /// Whether the directory was empty.
    pub first_start: bool,
    /// The groups of this node.
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
    /// A sector of the anchor was damaged; the cell's other sector and the database replaced it, and it was rewritten.
    BadSector {
        /// The sector's number.
        sector: u64,
        /// How the damage was detected.
        detail: String,
    },
    /// The database looked damaged, but not when it was read again: a disk, or the path to it, to watch.
    ReadAgain {
        /// What looked damaged at first.
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
        /// Its new place.
        to: String,
        /// What was damaged.
        detail: String,
    },
    /// A database that was set aside before was put back in its place.
    PutBack {
        /// Its number, counted over the directory's whole life.
        database: u32,
        /// Whether every log holds all that it held when it was set aside: those groups are no longer Recovering. If
        /// not, the node recovers from its peers.
        proven: bool,
    },
    /// Files in the database's directory that are no part of it: left alone.
    UnknownFiles {
        /// The first of them.
        first: Vec<String>,
        /// How many there are.
        count: usize,
    },
    /// Free space is below the reserve: the node takes no entry until there is more.
    NoRoom(Space),
    /// Free space was below the reserve and the ballast was deleted.
    BallastDropped {
        /// Bytes it held.
        bytes: u64,
    },
}
