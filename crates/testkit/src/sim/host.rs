//! What of a node outlives its crashes: its disk and a few counts.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use quorate::store::SimDisk;
use quorate::{Node, NodeFailure};
use tokio::sync::mpsc;

use super::net::SimNet;

/// The port on which every node listens.
pub(super) const PORT: u16 = 7_000;

pub(super) type Local<T> = Pin<Box<dyn Future<Output = T>>>;
/// What a script wants done on a node.
pub(super) type Work<G> = Box<dyn FnOnce(Node, G) -> Local<()>>;

/// Whether a node runs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NodeState {
    /// Its host was crashed, and not restarted.
    Down,
    /// It is opening its disk and its groups.
    Starting,
    /// It runs.
    Up,
    /// It ended by itself or was told to, or could not start: restart it.
    Ended {
        /// The failure in words, or that it was told to stop.
        reason: String,
    },
}

/// What of a node outlives its crashes.
pub(super) struct Host<G> {
    pub(super) name: String,
    pub(super) disk: SimDisk,
    pub(super) boots: u64,
    /// How far its wall clock is ahead of the simulated time, in milliseconds.
    pub(super) skew_ms: Arc<AtomicI64>,
    pub(super) state: NodeState,
    /// Why it ended by itself since its last start.
    pub(super) failure: Option<NodeFailure>,
    pub(super) works: Option<mpsc::Sender<Work<G>>>,
    /// Its sockets since its last start.
    pub(super) net: SimNet,
}

impl<G> Host<G> {
    pub(super) fn new(at: usize) -> Self {
        Self {
            name: format!("node{at}"),
            disk: SimDisk::new(),
            boots: 0,
            skew_ms: Arc::default(),
            state: NodeState::Down,
            failure: None,
            works: None,
            net: SimNet::default(),
        }
    }
}
