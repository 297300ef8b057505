//! What the bridge reports: the state of a link, its changes, and the changes of a monitored actor.

use crate::identity::{PeerInfo, RefusalCode};
use std::sync::Arc;
use std::time::Duration;

/// The state of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState {
    /// No address: the peer was not added, or was removed.
    Idle,
    /// Connecting or shaking hands.
    Connecting,
    /// Admitted on both sides: messages flow.
    Up,
    /// Waiting before the next attempt.
    Backoff,
}

/// One link, for status pages. Counters run over all its connections.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LinkStatus {
    /// The peer's node id.
    pub node: String,
    /// Where it is dialled; empty when idle.
    pub address: String,
    /// Whether it is up, and if not, what it does.
    pub state: LinkState,
    /// How long there has been no connection: since the last one, or since the peer is dialled; `None` while it is up or idle.
    pub down_for: Option<Duration>,
    /// Who answered, while the link is up.
    pub peer: Option<Arc<PeerInfo>>,
    /// Bytes waiting to be written.
    pub bytes_queued: usize,
    /// Bytes read.
    pub bytes_in: u64,
    /// Bytes written.
    pub bytes_out: u64,
    /// Times the link came up after the first.
    pub reconnects: u64,
    /// Of the last answered ping; `None` before the first.
    pub round_trip: Option<Duration>,
    /// Why it is not up, with the remedy for a refusal; `None` while it is up.
    pub last_error: Option<String>,
    /// What of a protocol the peer speaks in another version, with both versions, while it is connected: messages of it are not
    /// delivered until both nodes have one version.
    pub incompatible: Option<String>,
    /// Control messages dropped from the full queue to make room for newer ones.
    pub control_dropped: u64,
    /// Casts still queued when a connection ended: certainly not delivered.
    pub casts_lost: u64,
    /// Casts the other end did not deliver: no such actor, or not understood.
    pub casts_undelivered: u64,
    /// Frames that closed a connection.
    pub malformed: u64,
}

/// A change of a link. Reported in order for one link.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LinkEvent {
    /// The peer's node id.
    pub node: String,
    /// Its incarnation (0 if it never answered).
    pub incarnation: u64,
    /// Its boot number (0 if it never answered).
    pub boot: u64,
    /// What changed.
    pub change: LinkChange,
}

/// See [`LinkEvent`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkChange {
    /// Messages flow. Casts made while the link was down were refused to their senders.
    Up {
        /// What the previous connection left open; `None` on the first.
        gap: Option<Gap>,
    },
    /// The connection ended.
    Down {
        /// Why.
        reason: String,
        /// What it left open.
        gap: Gap,
        /// The other end closed it or reset it, as happens when its process ends. False if it was silent for too long, or was closed
        /// from here. Something between two nodes can do the same, so it does not prove that the peer has ended.
        by_peer: bool,
    },
    /// No connection came up. Reported when the reason changes, not for each attempt.
    Refused {
        /// Which side refused, and under which rule.
        refusal: LinkRefusal,
        /// Why, with the remedy.
        reason: String,
    },
}

/// What kept a link from coming up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkRefusal {
    /// The peer refused this node.
    ByPeer(RefusalCode),
    /// This node refused the peer.
    ByUs(RefusalCode),
    /// The peer was not reached, or the handshake broke off.
    Unreachable,
}

/// What a connection that ended left open. Each call is told its own end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gap {
    /// Casts that never left this process.
    pub casts_unsent: u64,
    /// Casts handed to the socket writer since the last answered ping: they may have arrived or not.
    pub casts_unknown: u64,
}

/// A change of a monitored name. The first event comes at once and gives its present state; then one per change.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MonitorEvent {
    /// The node.
    pub node: String,
    /// The name.
    pub name: String,
    /// What changed.
    pub change: MonitorChange,
}

/// See [`MonitorEvent`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MonitorChange {
    /// The name can be reached.
    Up {
        /// The node's incarnation.
        incarnation: u64,
        /// The node's boot number.
        boot: u64,
    },
    /// The name cannot be reached.
    Down {
        /// Why.
        reason: DownReason,
    },
}

/// Why a monitored name is down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DownReason {
    /// Its actor ended; the node is there.
    Died(String),
    /// The node stopped exposing it.
    Withdrawn,
    /// The node does not expose it.
    NotExposed,
    /// The link to the node is down: nothing is known about the actor.
    NodeLost(String),
}

/// Identifies one monitor, for `BridgeHandle::demonitor`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MonitorId {
    pub(crate) node: String,
    pub(crate) id: u64,
}
