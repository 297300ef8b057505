//! The records in the anchor's cells, in MessagePack with named fields.

use quorate_core::{Boot, GroupId, HardRecord, Hash, Incarnation, NodeId, Position};
use serde::{Deserialize, Serialize};

/// How far the database has been made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum DatabaseStatus {
    /// Nothing was promised yet: a database found here is left from an unfinished first start.
    Initialising,
    /// Anchor and database belong together.
    Ready,
    /// The database was found damaged and is being replaced. Every group is marked Recovering already.
    Rebuilding,
}

/// Whose directory this is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IdentityRecord {
    pub(crate) cluster: Hash,
    pub(crate) node: NodeId,
    pub(crate) incarnation: Incarnation,
    pub(crate) boot: Boot,
    #[serde(rename = "phase")]
    pub(crate) status: DatabaseStatus,
    /// Number of the current database, counted over the directory's whole life.
    pub(crate) database: u32,
    /// Group cells in use: each of them must be whole.
    pub(crate) groups: u32,
    /// The last starts, this one last, each with a number that was drawn for it: what tells this directory from a copy that
    /// was started as often. Empty where a build that does not know them wrote last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) starts: Vec<(Boot, u64)>,
}

/// So many starts are kept.
const STARTS_KEPT: usize = 8;

impl IdentityRecord {
    /// Begins a start.
    pub(crate) fn begin(&mut self, boot: Boot, drawn: u64) {
        self.boot = boot;
        self.starts.push((boot, drawn));
        let old = self.starts.len().saturating_sub(STARTS_KEPT);
        self.starts.drain(..old);
    }
}

/// What a group had when its database was set aside: what proves, when that database is put back, that nothing is missing in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Aside {
    /// Number of that database.
    pub(crate) database: u32,
    /// The position before the log's first entry.
    pub(crate) start: Position,
    /// The durable position.
    pub(crate) durable: Position,
}

/// What the anchor keeps of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GroupRecord {
    pub(crate) group: GroupId,
    pub(crate) name: String,
    pub(crate) hard: HardRecord,
    /// The position before the log's first entry.
    pub(crate) start: Position,
    /// Set when the group is marked Recovering because its database is set aside; removed with the mark, and before the first entry
    /// in another database. So while it is there, that database holds all that was promised, except term and vote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) aside: Option<Aside>,
    /// This node was the only voter when its database was last read: no other node has a copy.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) only_copy: bool,
}
