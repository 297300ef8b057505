//! A node's checked settings.

use std::collections::BTreeMap;
use std::sync::Arc;

use quorate_bridge::Net;
use quorate_core::{Hash, Member, Membership, NodeId};

use crate::clock::WallClock;
use crate::config::Config;
use crate::host::workers::Workers;

/// Where the actors run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placement {
    /// On a current-thread runtime of the node's own.
    OwnThread,
    /// On the caller's runtime.
    Caller,
}

/// The cluster as it is given at a start.
#[derive(Debug, Clone)]
pub(crate) struct Given {
    /// This node and its peers.
    pub(crate) members: BTreeMap<NodeId, Member>,
    /// It is a list of the whole cluster, which may have one node. Otherwise a new directory is that of a lone node.
    pub(crate) is_list: bool,
    /// Keeps apart clusters with the same list.
    pub(crate) token: String,
    /// Of what the cluster must agree on.
    pub(crate) fingerprint: u64,
    /// It is told to join: a directory without a group founds nothing.
    pub(crate) is_joiner: bool,
    /// The cluster that a new directory is to join.
    pub(crate) joins: Option<Hash>,
}

/// Where a node asks to be taken in, and as what.
#[derive(Debug, Clone)]
pub(crate) struct Joins {
    /// `host:port` of members' bridges.
    pub(crate) addresses: Vec<String>,
    /// As its own address, for the members.
    pub(crate) raft: String,
    /// It stays a learner until it is promoted by command.
    pub(crate) as_learner: bool,
}

impl Given {
    /// The membership of a new group.
    pub(crate) fn founding(&self) -> Membership {
        Membership::of_voters(self.members.clone(), self.fingerprint)
    }
}

/// Checked settings.
pub(crate) struct NodeSpec {
    pub(crate) id: NodeId,
    pub(crate) given: Given,
    pub(crate) listen: Option<String>,
    /// Listen at the port that the membership has for this node, if it has one.
    pub(crate) port_as_founded: bool,
    pub(crate) api: String,
    pub(crate) joins: Option<Joins>,
    pub(crate) config: Config,
    /// Inbound connections; the bridge's own bound if not given.
    pub(crate) connections_max: Option<usize>,
    pub(crate) net: Arc<dyn Net>,
    pub(crate) entropy: u64,
    pub(crate) wall: Option<WallClock>,
    pub(crate) inline: bool,
    /// Where appliers run; set when the node's threads are started.
    pub(crate) workers: Workers,
    /// Where the files of snapshots are written and read; set with them.
    pub(crate) snapshot_workers: Workers,
}

/// How a node ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Leadership is handed over and waiting callers are answered first.
    Graceful,
    /// As [`Graceful`](Self::Graceful), without a node to hand leadership to: all end together.
    Together,
    /// At once.
    Killed,
}
