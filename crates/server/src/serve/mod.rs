//! One running node with its API.

mod options;

use std::net::SocketAddr;
use std::path::PathBuf;

use quorate::{Node, NodeFailure};

pub(crate) use options::join;
pub use options::{ApiOptions, Listed, ServeOptions};

/// Why a node was not served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The API could not be bound.
    #[error("cannot listen for the API at {address}: {source}")]
    Api {
        /// Where.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// `id` is not in the list.
    #[error("node {id} is not in the cluster list ({listed}); name it there, or give another id")]
    NotListed {
        /// This node.
        id: String,
        /// Who is.
        listed: String,
    },
    /// The data directory could not be made.
    #[error("cannot make the data directory {}: {source}", path.display())]
    DataDir {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The node did not start.
    #[error(transparent)]
    Start(#[from] quorate::StartError),
    /// The group did not open.
    #[error(transparent)]
    Group(#[from] quorate::GroupError),
}

/// How a served node ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// It was told to, and ended in order.
    Stopped,
    /// It was told twice: it ended at once.
    Forced,
    /// It had to stop by itself.
    Failed(NodeFailure),
}

/// A node that is served. Dropping it ends it without order.
#[derive(Debug)]
pub struct Running {
    node: Node,
    api_addr: SocketAddr,
    raft_addr: SocketAddr,
}

/// Starts a node, opens its group and serves the API. Returns once both ports are bound; a leader need not be known.
pub async fn serve(options: ServeOptions) -> Result<Running, ServeError> {
    let _ = options;
    todo!()
}

impl Running {
    /// Where the API listens: the first address, if the host has several.
    pub fn api_addr(&self) -> SocketAddr {
        self.api_addr
    }

    /// Where peers connect.
    pub fn raft_addr(&self) -> SocketAddr {
        self.raft_addr
    }

    /// The node.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Waits until the node ends: by itself, or because [`shutdown`](Self::shutdown) was called.
    pub async fn wait(&self) -> Ended {
        todo!()
    }

    /// Ends the node and its API. In order: no new connections, leadership handed over, requests under way answered,
    /// the store closed. Otherwise as a killed process would.
    pub async fn shutdown(&self, graceful: bool) {
        let _ = graceful;
        todo!()
    }

    /// Serves until the process is told to end (SIGTERM, Ctrl-C) and has done so in order, or is told a second time,
    /// or the node fails.
    pub async fn until_signal(self) -> Ended {
        todo!()
    }
}
