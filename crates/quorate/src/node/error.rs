//! Why a node did not start.

use quorate_core::{NameError, NodeId};

use crate::client::ClientError;
use crate::config::ConfigError;
use crate::failure::GroupError;
use quorate_store::{DiskError, OpenError, StoreError};

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The id is not a name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A setting is out of range.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The node has peers and no address to listen at.
    #[error("node {node} has peers but does not listen: give it an address with `listen`")]
    NotListening {
        /// This node.
        node: NodeId,
    },
    /// A peer is given twice, or has this node's id.
    #[error("peer {node} is named twice: every node of the cluster needs an id of its own")]
    Twice {
        /// The id that is given twice.
        node: NodeId,
    },
    /// The address is not `host:port`.
    #[error("address {address:?} of {node} is not host:port, for example 10.0.0.1:7000")]
    Address {
        /// The node it belongs to.
        node: NodeId,
        /// The address as given.
        address: String,
    },
    /// The data directory is in use, not writable or damaged.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The data directory belongs to another node, or lost data.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The list of members went with a damaged database, and the one given is not it.
    #[error(
        "node {node} has lost the list of its cluster with its damaged database, and {given} is not the list (or token) that the \
         cluster was founded with: start it once with the list that its peers were founded with"
    )]
    ListLost {
        /// This node.
        node: NodeId,
        /// The list as given.
        given: String,
    },
    /// The port to listen at is not the one that the members dial.
    #[error(
        "{node} would listen at port {port}, and the other members of its cluster dial {known} for it: none would reach it there; \
         leave the port out, and it listens where they dial, or if address translation leads from {known} to this port, advertise \
         {known}"
    )]
    OtherPort {
        /// This node.
        node: NodeId,
        /// The port as given.
        port: String,
        /// `host:port` in the membership.
        known: String,
    },
    /// No node of the cluster that this one was to join could be reached.
    #[error(
        "none of {addresses} answers within {waited_ms} ms: {detail}; give the address at which a member's bridge listens, and see that the \
         member runs"
    )]
    NotReached {
        /// The addresses as given.
        addresses: String,
        /// What was found at each.
        detail: String,
        /// How long it was tried, in milliseconds.
        waited_ms: u64,
    },
    /// A list of a cluster, and another cluster to join.
    #[error(
        "node {node} is given a list of nodes and told to join: a list founds a cluster, so give one of the two"
    )]
    ListAndJoin {
        /// This node.
        node: NodeId,
    },
    /// An address of a cluster to join that cannot be dialled.
    #[error("cannot join")]
    Join {
        /// Why not.
        source: ClientError,
    },
    /// The directory could not be founded again.
    #[error("cannot make the data directory one of the cluster in the list")]
    FoundAgain {
        /// The store's error.
        source: StoreError,
    },
    /// The bridge's address is in use, or does not belong to this machine.
    #[error(transparent)]
    Bridge(#[from] quorate_bridge::StartError),
    /// The node's thread could not be started.
    #[error("cannot start the thread of node {node}")]
    Thread {
        /// This node.
        node: NodeId,
        /// The system's error.
        source: std::io::Error,
    },
    /// An actor did not start.
    #[error("actor {actor} did not start: {detail}")]
    Actor {
        /// Its name.
        actor: String,
        /// The reason it gave.
        detail: String,
    },
    /// The one group of a node in memory could not be opened.
    #[error("cannot open the group of a node in memory")]
    Group {
        /// The reason.
        source: GroupError,
    },
}

impl StartError {
    /// `host:port` at which the node could not listen, if that is why.
    pub fn not_bound(&self) -> Option<&str> {
        if let Self::Bridge(quorate_bridge::StartError::Listen { address, .. }) = self {
            return Some(address);
        }
        None
    }
}
