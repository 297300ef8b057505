//! One node on its host: booted with its disk, given work by scripts, gone with the host.
//!
//! What outlives a crash is the disk and a few counts, in [`Host`]; everything else, the node and what scripts do on it
//! included, is in the future that turmoil drops. That future never ends by itself: a node that stopped leaves its host
//! idle until somebody crashes or restarts it, as an operator would.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use quorate::store::{Disk, SimDisk};
use quorate::{GroupError, Node, NodeFailure, StartError};
use tokio::sync::mpsc;

use super::net::SimNet;
use super::world::World;

/// Works of scripts that may wait for one node.
const WORKS_MAX: usize = 4_096;
/// How often a disk that does nothing is looked at.
const STALL_LOOK: Duration = Duration::from_millis(5);
/// Where every node listens.
pub(super) const PORT: u16 = 7_000;
/// What the walls show at the beginning of every simulation: some day in 2023.
const EPOCH_MS: u64 = 1_700_000_000_000;

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
        /// Why.
        reason: String,
    },
}

/// What of a node outlives its crashes.
pub(super) struct Host<G> {
    pub(super) name: String,
    pub(super) disk: SimDisk,
    pub(super) boots: u64,
    /// By how much its wall clock is wrong.
    pub(super) skew_ms: Arc<AtomicI64>,
    pub(super) state: NodeState,
    pub(super) works: Option<mpsc::Sender<Work<G>>>,
    /// Its sockets; of each life its own.
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
            works: None,
            net: SimNet::default(),
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum BootError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Group(#[from] GroupError),
}

/// The whole life of a host between two crashes.
pub(super) async fn live<G: Clone + 'static>(world: Rc<World<G>>, at: usize) -> turmoil::Result {
    {
        let mut host = world.host_mut(at);
        host.boots += 1;
        host.state = NodeState::Starting;
        world.trace.note(format_args!("{} starts, boot {}", host.name, host.boots));
    }
    let reason = match boot(&world, at).await {
        Ok((node, groups)) => run(&world, at, node, groups).await,
        Err(error) => format!("it did not start: {error}"),
    };
    {
        let mut host = world.host_mut(at);
        host.works = None;
        world.trace.note(format_args!("{} ended: {reason}", host.name));
        host.state = NodeState::Ended { reason };
    }
    std::future::pending().await
}

async fn boot<G: 'static>(world: &World<G>, at: usize) -> Result<(Node, G), BootError> {
    let (name, disk, boots, skew_ms, net) = {
        let host = world.host_mut(at);
        (host.name.clone(), host.disk.clone(), host.boots, host.skew_ms.clone(), host.net.clone())
    };
    started_to_spin(disk.clone()).await;
    let now_ms = world.trace.clock();
    let wall = move || {
        let true_ms = EPOCH_MS + now_ms.load(Ordering::Relaxed);
        true_ms.saturating_add_signed(skew_ms.load(Ordering::Relaxed))
    };
    let mut builder = Node::builder(&name, "")
        .disk(Box::new(disk))
        .inline_disk()
        .on_callers_runtime()
        .net(Arc::new(net))
        .entropy(world.entropy(at, boots))
        .wall_clock(wall)
        .config(world.config.clone())
        .listen(&format!("0.0.0.0:{PORT}"))
        .advertise(&format!("{name}:{PORT}"));
    for peer in world.names().into_iter().filter(|peer| *peer != name) {
        builder = builder.peer(&peer, &format!("{peer}:{PORT}"));
    }
    let node = builder.start().await?;
    let groups = (world.open)(node.clone()).await?;
    Ok((node, groups))
}

/// A disk that does nothing would hold up the simulation while it is opened, not the node alone.
#[expect(clippy::disallowed_methods, reason = "simulated time: nobody waits for it")]
async fn started_to_spin(mut disk: SimDisk) {
    while disk.pace().is_none() {
        tokio::time::sleep(STALL_LOOK).await;
    }
}

/// Does what scripts want until the node ends. Says why it did.
async fn run<G: Clone + 'static>(world: &World<G>, at: usize, node: Node, groups: G) -> String {
    let (works, mut wanted) = mpsc::channel::<Work<G>>(WORKS_MAX);
    {
        let mut host = world.host_mut(at);
        (host.works, host.state) = (Some(works), NodeState::Up);
        world.trace.note(format_args!("{} is up", host.name));
    }
    let mut failed = std::pin::pin!(node.failed());
    loop {
        tokio::select! {
            biased;
            failure = &mut failed => return said(failure),
            work = wanted.recv() => match work {
                Some(work) => drop(tokio::task::spawn_local(work(node.clone(), groups.clone()))),
                None => return "nobody can ask it any more".to_owned(),
            },
        }
    }
}

fn said(failure: Option<NodeFailure>) -> String {
    failure.map_or_else(|| "it was told to".to_owned(), |failure| failure.to_string())
}
