//! What the bridge tells: how a link stands, what changed, and how a monitored actor fares.

use crate::protocol::PeerInfo;
use std::sync::Arc;
use std::time::Duration;

/// How a link stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState {
    /// No address: the peer was not added, or was removed.
    Idle,
    /// Connecting or shaking hands.
    Connecting,
    /// Admitted on both sides, messages flow.
    Up,
    /// Waiting to try again.
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
    /// How it stands.
    pub state: LinkState,
    /// Who answered, while the link is up.
    pub peer: Option<Arc<PeerInfo>>,
    /// Waiting to be written.
    pub bytes_queued: usize,
    /// Read from its connections.
    pub bytes_in: u64,
    /// Written to its connections.
    pub bytes_out: u64,
    /// Times the link came up after the first.
    pub reconnects: u64,
    /// The last ping's.
    pub round_trip: Option<Duration>,
    /// Why it is not up, or why it last went down; with the remedy for a refusal.
    pub last_error: Option<String>,
    /// Control messages that gave way to newer ones.
    pub control_dropped: u64,
    /// Casts still queued when a connection ended: certainly not delivered.
    pub casts_lost: u64,
    /// Casts the other end turned away: no such actor, or not understood.
    pub casts_undelivered: u64,
    /// Frames that closed a connection.
    pub malformed: u64,
}

/// Tells that a link changed. Sent in order for one link.
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
#[non_exhaustive]
pub enum LinkChange {
    /// Messages flow. After an earlier Down, all that was cast in between was refused to its sender, and `gap` says
    /// what the earlier connection left open.
    Up {
        /// From the connection before; `None` on the first.
        gap: Option<Gap>,
    },
    /// The connection ended.
    Down {
        /// Why.
        reason: String,
        /// What it left open.
        gap: Gap,
    },
    /// No connection came about; sent when the reason changes, not for each try.
    Refused {
        /// Why, with the remedy.
        reason: String,
    },
    /// Casts found no actor. At most one per keepalive interval; the counter in [`LinkStatus`] is exact.
    Undelivered {
        /// The name they were for (the last one, if several).
        name: String,
        /// How many since the last such event.
        count: u64,
        /// Why.
        detail: String,
    },
}

/// What a connection that ended left open. Calls are told individually.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gap {
    /// Casts that never left this process.
    pub casts_unsent: u64,
    /// Casts handed to the socket since the last answered ping: they may have arrived or not.
    pub casts_unknown: u64,
}

/// Tells how a monitored name fares. The first event comes at once and says how it stands; then one per change.
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
#[non_exhaustive]
pub enum MonitorChange {
    /// The name can be reached.
    Up {
        /// The node's incarnation.
        incarnation: u64,
        /// The node's boot number.
        boot: u64,
    },
    /// It cannot.
    Down {
        /// Why.
        reason: DownReason,
    },
}

/// Why a monitored name is down.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
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

/// Names one monitor, to end it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MonitorId {
    pub(crate) node: String,
    pub(crate) id: u64,
}
