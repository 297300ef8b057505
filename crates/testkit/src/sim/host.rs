//! What of a node outlives its crashes: its disk and a few counts.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use quorate::store::SimDisk;
use quorate::{Node, NodeFailure};
use tokio::sync::mpsc;

use super::faults::Machines;
use super::kernel::Wire;
use super::net::SimNet;
use super::process::Process;

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
    /// It is told to join the cluster of the others, and not given their list.
    pub(super) joins: bool,
    pub(super) boots: u64,
    /// How far its wall clock is ahead of the simulated time, in milliseconds.
    pub(super) skew_ms: Arc<AtomicI64>,
    pub(super) state: NodeState,
    /// Why it ended by itself since its last start.
    pub(super) failure: Option<NodeFailure>,
    pub(super) works: Option<mpsc::Sender<Work<G>>>,
    /// Its sockets since its last start.
    pub(super) net: SimNet,
    pub(super) wire: Wire,
    pub(super) machines: Machines,
    /// The node, except while it is given time; `None` while the host is down.
    pub(super) process: Option<Process>,
    /// Since when, in milliseconds of simulated time, the process is given no time.
    pub(super) paused_at: Option<u64>,
    /// By how much its clock jumps ahead when it is given time next.
    pub(super) jump: Duration,
}

impl<G> Host<G> {
    pub(super) fn new(at: usize, seed: u64) -> Self {
        Self {
            name: format!("node{at}"),
            disk: SimDisk::new(),
            joins: false,
            boots: 0,
            skew_ms: Arc::default(),
            state: NodeState::Down,
            failure: None,
            works: None,
            net: SimNet::default(),
            wire: Wire::default(),
            machines: Machines::new(seed),
            process: None,
            paused_at: None,
            jump: Duration::ZERO,
        }
    }
}
