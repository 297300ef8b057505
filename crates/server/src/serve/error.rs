//! Why a node was not served.

use std::path::PathBuf;

/// Why a node was not served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The API could not be bound.
    #[error("cannot listen for the API at {address}: {source}")]
    Api {
        /// The address that was asked for.
        address: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// `id` is not in the list.
    #[error("node {id} is not in the cluster list ({listed}); name it there, or give another id")]
    NotListed {
        /// This node.
        id: String,
        /// The ids that are.
        listed: String,
    },
    /// The advertised address is not the one in the list, which peers dial.
    #[error(
        "{advertise} is advertised, but the cluster list says {listed} for {id}, and peers dial that; give both the same address"
    )]
    Advertise {
        /// This node.
        id: String,
        /// What was given.
        advertise: String,
        /// What the list says.
        listed: String,
    },
    /// The directory of a cluster in one process has another number of nodes.
    #[error(
        "{} holds a cluster of {found} nodes, not of {nodes}; give --nodes {found}, or another --data-dir", path.display()
    )]
    OtherNodes {
        /// The directory.
        path: PathBuf,
        /// Nodes that it has.
        found: u16,
        /// Nodes that were asked for.
        nodes: u16,
    },
    /// The data directory could not be made.
    #[error("cannot make the data directory {}: {source}", path.display())]
    DataDir {
        /// Its path.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Every answer has a date, and HTTP has none for this one.
    #[error(
        "the system's clock is {wall_ms} ms after 1970, which is beyond the year 9999 and cannot be written in an HTTP date: set the \
         clock"
    )]
    Clock {
        /// What the clock says.
        wall_ms: u64,
    },
    /// The process cannot be told to end.
    #[error("cannot listen for signals that end the process: {source}")]
    Signals {
        /// What the system said.
        source: std::io::Error,
    },
    /// The node did not start.
    #[error(transparent)]
    Start(#[from] quorate::StartError),
    /// The node ended by itself before it served.
    #[error(transparent)]
    Ended(quorate::NodeFailure),
    /// The group did not open.
    #[error(transparent)]
    Group(#[from] quorate::GroupError),
}
