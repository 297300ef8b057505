//! What the leader knows of one peer.

use serde::{Deserialize, Serialize};

use crate::ids::{Boot, Index, NodeId, ReplicationSession, Round, Time};

/// What the leader counts for one peer.
///
/// Invariants: `match_index` rises within a replication session and boot; it never exceeds the leader's last index.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Progress {
    pub(super) session: ReplicationSession,
    /// The newest boot number in a message of the peer; `None` before the first.
    pub(super) boot: Option<Boot>,
    /// The last index that the peer has on disk and that matches this log.
    pub(super) match_index: Index,
    /// When `match_index` last rose.
    pub(super) matched_at: Time,
    /// When this leader sent the newest message that the peer has answered.
    pub(super) contact: Time,
    /// The newest round that was answered.
    pub(super) round: Round,
    /// Rejections of messages sent before this are ignored.
    pub(super) rewound_at: Time,
    /// The peer's log went back behind what it had acknowledged: it does not count until it restarts.
    pub(super) rolled_back: bool,
    /// Whether its disk had room for commands when it last answered; `None` before its first answer.
    pub(super) has_room: Option<bool>,
    /// Where it refused entries last.
    pub(super) refused_at: Option<Index>,
    pub(super) said: Said,
    /// The link to it is up, as far as is known.
    pub(super) link_up: bool,
    /// The member is new, and has not answered this session: under its name another disk may have sent what still arrives, with
    /// boot numbers of its own.
    pub(super) is_unheard: bool,
}

/// What a peer said of itself when it last answered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Said {
    /// It takes part in no election (`safety.md` 5).
    pub(super) recovering: bool,
    /// Its machine has faulted and stays down.
    pub(super) machine_down: bool,
    /// The last index that its machine had applied; `None` before it said so.
    pub(super) applied: Option<Index>,
}

/// A member that was removed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Departing {
    /// The index of the membership without it.
    pub(super) index: Index,
    /// When this leader knew that it is committed.
    pub(super) committed_at: Option<Time>,
}

/// What a leader reports about a peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerStatus {
    /// The peer.
    pub peer: NodeId,
    /// The last index that it has on disk and that matches the leader's log (matchIndex of the paper).
    pub matched: Index,
    /// Microseconds since the leader sent the newest message that the peer has answered.
    pub contact_age_us: u64,
    /// Its log went back behind what it had acknowledged.
    pub rolled_back: bool,
    /// The last index that its state machine had applied when it last answered; absent before its first answer.
    #[serde(default)]
    pub applied: Option<Index>,
    /// Entries that are committed and not applied there, by that answer.
    #[serde(default)]
    pub apply_lag: Option<u64>,
}
