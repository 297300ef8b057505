//! A node's checked settings.

use std::collections::BTreeMap;
use std::sync::Arc;

use quorate_bridge::Net;
use quorate_core::{Hash, Member, Membership, NodeId};

use crate::applier::workers::Workers;
use crate::clock::WallClock;
use crate::config::Config;

/// Where the actors run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placement {
    /// On a current-thread runtime of the node's own.
    OwnThread,
    /// On the caller's runtime.
    Caller,
}

/// Checked settings.
pub(crate) struct NodeSpec {
    pub(crate) id: NodeId,
    pub(crate) peers: BTreeMap<NodeId, Member>,
    pub(crate) founding: Membership,
    pub(crate) cluster: Hash,
    pub(crate) listen: Option<String>,
    pub(crate) api: String,
    pub(crate) config: Config,
    /// Inbound connections; the bridge's own bound if not given.
    pub(crate) connections_max: Option<usize>,
    pub(crate) net: Arc<dyn Net>,
    pub(crate) entropy: u64,
    pub(crate) wall: Option<WallClock>,
    pub(crate) inline: bool,
    /// Where appliers run; set when the node's threads are started.
    pub(crate) workers: Workers,
}

/// How a node ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Leadership is handed over and waiting callers are answered first.
    Graceful,
    /// At once.
    Killed,
}
