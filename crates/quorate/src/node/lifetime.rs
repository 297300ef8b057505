//! The one task above a node's actors: opens the data, starts Node, starts it again should it end by itself, and takes
//! everything down in order when told to or when the disk failed.

use std::sync::Arc;
use std::time::Duration;

use ractor::Actor;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::failure::NodeFailure;
use crate::host::workers::WorkerThreads;
use crate::node::actor::NodeActor;
use crate::node::error::StartError;
use crate::node::open::open;
use crate::node::owner::Owner;
use crate::node::spec::{Ending, NodeSpec, Placement};
use crate::node::stop::{part_in_order, take_down};
use crate::restarts::{NODE, Restarts};
use quorate_store::Disk;

/// How often the root supervisor is started, one try after the other, before the node gives up.
const NODE_STARTS_MAX: usize = 10;

/// A node that runs, and how to end it.
pub(super) struct Running {
    pub(super) owner: Arc<Owner>,
    /// Told how to end; dropping it ends the node too.
    pub(super) ending: watch::Sender<Option<Ending>>,
    pub(super) ended: watch::Receiver<bool>,
}

/// Starts a node and returns once it listens.
pub(super) async fn start(
    mut spec: NodeSpec,
    disk: Box<dyn Disk>,
    placement: Placement,
) -> Result<Running, StartError> {
    let (started, outcome) = oneshot::channel();
    let (ending, ending_asked) = watch::channel(None);
    let (ended, ended_seen) = watch::channel(false);
    let id = spec.id.clone();
    match placement {
        Placement::OwnThread => {
            // Its runtime is made and ends on the thread itself: a runtime that is dropped among tasks panics.
            let work = move || {
                let failed = |source| StartError::Thread { node: spec.id.clone(), source };
                let threads = WorkerThreads::for_machines(spec.id.as_str(), spec.config.node.apply_threads);
                let files = WorkerThreads::for_snapshots(spec.id.as_str());
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                match (threads, files, runtime) {
                    (Ok(threads), Ok(files), Ok(runtime)) => {
                        spec.workers = threads.workers();
                        spec.snapshot_workers = files.workers();
                        runtime.block_on(live(spec, disk, started, ending_asked, ended));
                        drop((threads, files));
                    }
                    (Err(source), ..) | (_, Err(source), _) | (.., Err(source)) => {
                        drop(started.send(Err(failed(source))));
                    }
                }
            };
            let spawned = std::thread::Builder::new().name(format!("{id}/node")).spawn(work);
            spawned.map_err(|source| StartError::Thread { node: id.clone(), source })?;
        }
        Placement::Caller => spawn_owner(live(spec, disk, started, ending_asked, ended)),
    }
    let died =
        || StartError::Actor { actor: format!("node {id}"), detail: "its thread ended at the start".into() };
    let owner = outcome.await.map_err(|_| died())??;
    Ok(Running { owner, ending, ended: ended_seen })
}

#[expect(clippy::disallowed_methods, reason = "the one task above a node's actors; it ends with the node")]
fn spawn_owner(task: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(task);
}

type Started = oneshot::Sender<Result<Arc<Owner>, StartError>>;

async fn live(
    spec: NodeSpec,
    disk: Box<dyn Disk>,
    started: Started,
    mut ending: watch::Receiver<Option<Ending>>,
    ended: watch::Sender<bool>,
) {
    let (owner, join) = match begin(spec, disk).await {
        Ok(begun) => begun,
        Err(error) => {
            let _ = started.send(Err(error));
            return;
        }
    };
    if started.send(Ok(owner.clone())).is_err() {
        take_down(&owner, Ending::Killed).await;
        return;
    }
    let how = watch_over(&owner, join, &mut ending).await;
    if how != Ending::Killed {
        // A second order to end, at once this time, or a failed disk cuts it short.
        let mut failure = owner.failure.subscribe();
        tokio::select! {
            biased;
            hurried = ending.wait_for(|asked| *asked == Some(Ending::Killed)) => drop(hurried),
            failed = failure.wait_for(Option::is_some) => drop(failed),
            () = part_in_order(&owner, how) => {}
        }
    }
    take_down(&owner, how).await;
    ended.send_replace(true);
}

async fn begin(spec: NodeSpec, disk: Box<dyn Disk>) -> Result<(Arc<Owner>, JoinHandle<()>), StartError> {
    let owner = open(spec, disk).await?;
    match spawn_node(&owner).await {
        Ok(join) => Ok((owner, join)),
        Err(error) => {
            take_down(&owner, Ending::Killed).await;
            Err(error)
        }
    }
}

/// Starts the root supervisor again whenever it ends, until the node is to end: how.
async fn watch_over(
    owner: &Arc<Owner>,
    mut join: JoinHandle<()>,
    ending: &mut watch::Receiver<Option<Ending>>,
) -> Ending {
    let (mut failure, mut restarts) = (owner.failure.subscribe(), Restarts::new(NODE));
    loop {
        tokio::select! {
            biased;
            asked = ending.wait_for(Option::is_some) => {
                // An error means that every clone of the node was dropped: it ends in order, too.
                return asked.ok().and_then(|asked| *asked).unwrap_or(Ending::Graceful);
            }
            failed = failure.wait_for(Option::is_some) => {
                drop(failed);
                return Ending::Killed;
            }
            _ = &mut join => {}
        }
        tracing::warn!(node = %owner.id, "restarting root supervisor");
        match respawn_node(owner, &mut restarts).await {
            Ok(next) => join = next,
            Err(error) => {
                owner.fail(NodeFailure::Actor { actor: "Node".into(), detail: error.to_string() });
                return Ending::Killed;
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the pause before a restart, in the task above all actors")]
async fn pause(span: Duration) {
    tokio::time::sleep(span).await;
}

/// Retries with the pauses of the table: a child of the previous root supervisor may hold its name a little longer.
async fn respawn_node(owner: &Arc<Owner>, restarts: &mut Restarts) -> Result<JoinHandle<()>, StartError> {
    let mut last = None;
    for _ in 0..NODE_STARTS_MAX {
        pause(restarts.pause(owner.clock.now())).await;
        match spawn_node(owner).await {
            Ok(join) => return Ok(join),
            Err(error) => last = Some(error),
        }
    }
    Err(last.expect("it was tried"))
}

async fn spawn_node(owner: &Arc<Owner>) -> Result<JoinHandle<()>, StartError> {
    let name = format!("{}/node", owner.name_prefix);
    let spawned = Actor::spawn(Some(name.clone()), NodeActor, owner.clone()).await;
    let (actor, join) =
        spawned.map_err(|error| StartError::Actor { actor: name, detail: error.to_string() })?;
    owner.actor.send_replace(Some(actor));
    Ok(join)
}
