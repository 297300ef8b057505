//! One node on its host: booted with its disk, given work by scripts, dropped with the host.
//!
//! What outlives a crash is in [`Host`](super::host::Host); everything else, the node and what scripts do on it included, is
//! in its process, and its sockets are in its kernel: a crash ends both. The kernel goes on when the node has stopped: the host
//! is idle until the script crashes or restarts it, as an operator would.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use quorate::store::{Disk, SimDisk};
use quorate::{GroupError, Node, NodeFailure, StartError};
use tokio::sync::mpsc;

use super::host::{NodeState, PORT, Work};
use super::kernel::{KernelNet, calls, serve};
use super::process::Process;
use super::threads::SimThreads;
use super::world::World;

/// Works of scripts that may wait for one node.
const WORKS_MAX: usize = 4_096;
/// How often a stalled disk is looked at while its node starts.
const STALL_LOOK: Duration = Duration::from_millis(5);
/// What wall clocks show at the beginning of every simulation: a day in 2023.
const EPOCH_MS: u64 = 1_700_000_000_000;

#[derive(Debug, thiserror::Error)]
enum BootError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Group(#[from] GroupError),
}

/// What a host does between two crashes: its kernel, beside the process of its node.
pub(super) async fn live<G: Clone + 'static>(world: Rc<World<G>>, at: usize) -> turmoil::Result {
    let (net, calls) = calls();
    let (sockets, wire) = {
        let mut host = world.host_mut(at);
        host.boots += 1;
        (host.state, host.failure) = (NodeState::Starting, None);
        (host.paused_at, host.jump) = (None, Duration::ZERO);
        world.trace.note(format_args!("{} starts, boot {}", host.name, host.boots));
        host.process = Some(Process::new(be_node(world.clone(), at, net)));
        host.wire.restarted();
        (host.net.clone(), host.wire.clone())
    };
    serve(calls, sockets, wire).await;
    std::future::pending().await
}

async fn be_node<G: Clone + 'static>(world: Rc<World<G>>, at: usize, net: KernelNet) {
    let reason = match boot(&world, at, net).await {
        Ok((node, groups)) => run(&world, at, node, groups).await,
        Err(error) => format!("it did not start: {error}"),
    };
    let mut host = world.host_mut(at);
    host.works = None;
    world.trace.note(format_args!("{} ended: {reason}", host.name));
    host.state = NodeState::Ended { reason };
}

async fn boot<G: 'static>(world: &World<G>, at: usize, net: KernelNet) -> Result<(Node, G), BootError> {
    let (name, disk, boots, skew_ms, machines, joins) = {
        let host = world.host_mut(at);
        let (disk, skew_ms) = (host.disk.clone(), host.skew_ms.clone());
        (host.name.clone(), disk, host.boots, skew_ms, host.machines.clone(), host.joins)
    };
    let threads = SimThreads::new(&name, machines, world.apply_threads(), world.idle.clone());
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
        .machine_threads(Arc::new(threads))
        .entropy(world.entropy(at, boots))
        .wall_clock(wall)
        .config(world.config.clone())
        .listen(&format!("0.0.0.0:{PORT}"))
        .advertise(&format!("{name}:{PORT}"));
    let others = world.names().into_iter().filter(|peer| *peer != name);
    let others: Vec<_> = others.map(|peer| (format!("{peer}:{PORT}"), peer)).collect();
    if joins {
        builder = builder.join(others.into_iter().map(|(address, _)| address));
    } else {
        builder = others.iter().fold(builder, |builder, (address, peer)| builder.peer(peer, address));
    }
    if let Some(connections_max) = world.connections_max.get() {
        builder = builder.connections_max(connections_max);
    }
    let node = builder.start().await?;
    let groups = (world.open)(node.clone()).await?;
    Ok((node, groups))
}

/// A disk that does nothing would hold up the simulation while it is opened, not the node alone.
#[expect(clippy::disallowed_methods, reason = "simulated time: no real time passes")]
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
        world.trace.excuse(&host.name, false);
        world.trace.note(format_args!("{} is up", host.name));
    }
    let mut failed = std::pin::pin!(node.failed());
    loop {
        tokio::select! {
            biased;
            failure = &mut failed => {
                world.host_mut(at).failure.clone_from(&failure);
                return said(failure);
            }
            work = wanted.recv() => match work {
                Some(work) => drop(tokio::task::spawn_local(work(node.clone(), groups.clone()))),
                None => return "its script has ended".to_owned(),
            },
        }
    }
}

fn said(failure: Option<NodeFailure>) -> String {
    failure.map_or_else(|| "it was told to".to_owned(), |failure| failure.to_string())
}
