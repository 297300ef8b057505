//! A node: one process's part of a cluster. Owns the data directory, the restart rules and one thread on which all of
//! its consensus actors run.
//!
//! - `builder`: settings, checks, start.
//! - `owner`: what lives above the actors: the thread, the store, the bridge's tables, the groups' specifications.
//! - `actor`: Node, the root supervisor.
//! - `admission`: who may connect.
//! - `inspect`: which actors run, and how to hurt them.

mod actor;
mod admission;
mod builder;
mod inspect;
mod owner;

use std::sync::Arc;
use std::time::Duration;

use quorate_bridge::LinkStatus;
use quorate_core::NodeId;
use tokio::sync::{oneshot, watch};

pub use builder::{NodeBuilder, StartError};
pub use inspect::{ActorStatus, Injury};

use crate::error::{GroupError, NodeFailure};
use crate::group::{GroupHandle, GroupStatus};
use crate::machine::{Counter, Executor, StateMachine};
use crate::node::actor::{NodeMessage, OpenGroup};
use crate::node::owner::{Ending, Owner};
use crate::store::Identity;

/// How long a node that stops waits for each of: leadership handed over, callers answered.
const STOP_STEP: Duration = Duration::from_secs(2);

/// A running node. Clones are the same node; it ends when [`stop`](Self::stop) is called or the last clone is dropped.
///
/// ```
/// # async fn example() -> anyhow::Result<()> {
/// use quorate::machine::{Add, Counter, Total};
/// use quorate::{Consistency, Node};
///
/// let directory = tempfile::tempdir()?;
/// let node = Node::builder("node0", directory.path()).start().await?;
/// let count = node.group("counter", Counter::default()).await?;
/// assert_eq!(count.propose(Add(5)).await?, 5);
/// node.stop().await;
/// # Ok(())
/// # }
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
/// ```
#[derive(Clone)]
pub struct Node {
    inner: Arc<Inner>,
}

struct Inner {
    owner: Arc<Owner>,
    /// Told how to end; dropping it ends the node too.
    ending: watch::Sender<Option<Ending>>,
    ended: watch::Receiver<bool>,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Node({})", self.inner.owner.id)
    }
}

impl Node {
    /// A node of this id that keeps its data in this directory.
    pub fn builder(id: &str, directory: impl Into<std::path::PathBuf>) -> NodeBuilder {
        NodeBuilder::new(id, directory.into())
    }

    /// One group on one node with nothing on disk: for tests and tutorials. The node ends with the last handle.
    pub async fn single_memory<M: StateMachine>(machine: M) -> Result<GroupHandle<M>, StartError> {
        let node = NodeBuilder::in_memory("node0").start().await?;
        let handle =
            node.group("main", machine).await.map_err(|error| StartError::Group { source: error })?;
        handle.keep_alive(node);
        Ok(handle)
    }

    /// This node's id.
    pub fn id(&self) -> &NodeId {
        &self.inner.owner.id
    }

    /// Cluster, incarnation and boot number.
    pub fn identity(&self) -> &Identity {
        self.inner.owner.store.identity()
    }

    /// Where its bridge listens.
    pub fn local_addr(&self) -> Option<std::net::SocketAddr> {
        self.inner.owner.bridge.as_ref()?.local_addr()
    }

    /// Opens a group and gives a handle to it. Every node of the cluster opens the groups it takes part in; a group is
    /// the same on all nodes by its name. `machine` is its state before the first command, alike on every node.
    pub async fn group<M: StateMachine>(&self, name: &str, machine: M) -> Result<GroupHandle<M>, GroupError> {
        quorate_core::check_name(name)?;
        let captured = Executor::new(machine).map(|executor| executor.zero());
        let zero = captured
            .map_err(|error| GroupError::Machine { name: name.to_owned(), detail: error.to_string() })?;
        let (reply, answer) = oneshot::channel();
        let open = OpenGroup::new::<M>(name, zero, reply);
        self.tell(NodeMessage::Open(open)).map_err(|detail| GroupError::Stopped { detail })?;
        let stopped = || GroupError::Stopped { detail: "the node ended while the group was opened".into() };
        let route = answer.await.map_err(|_| stopped())??;
        Ok(GroupHandle::new(self.inner.owner.handle_inner(name.to_owned(), route)))
    }

    /// Resolves when the node had to stop by itself, or has ended.
    pub async fn failed(&self) -> Option<NodeFailure> {
        let mut failure = self.inner.owner.failure.subscribe();
        let mut ended = self.inner.ended.clone();
        tokio::select! {
            biased;
            failed = failure.wait_for(Option::is_some) => drop(failed),
            ended = ended.wait_for(|ended| *ended) => drop(ended),
        }
        self.inner.owner.failure.borrow().clone()
    }

    /// Stops in order: no new callers, leadership handed over, waiting callers answered, actors ended, store closed.
    pub async fn stop(&self) {
        self.end(Ending::Graceful).await;
    }

    /// Ends as a killed process would, as far as a process can do that to a part of itself: nothing is handed over,
    /// nobody is told; waiting callers get *unknown*.
    pub async fn kill(&self) {
        self.end(Ending::Killed).await;
    }

    /// Every link to a peer.
    pub fn links(&self) -> Vec<LinkStatus> {
        self.inner.owner.bridge.as_ref().map(quorate_bridge::BridgeHandle::links).unwrap_or_default()
    }

    /// Every open group, by name.
    pub async fn groups(&self) -> Vec<GroupStatus> {
        let mut all = Vec::new();
        for (name, route) in self.inner.owner.routes() {
            let route = route.borrow().clone();
            all.push(crate::group::status(&name, self.id(), &route).await);
        }
        all
    }

    /// Every actor of this node, by name.
    pub fn actors(&self) -> Vec<ActorStatus> {
        inspect::actors(&self.inner.owner)
    }

    /// Hurts an actor, by its name in [`actors`](Self::actors): for tests, and for operators who want to see a node
    /// heal. `false` if there is none of that name.
    pub fn injure(&self, actor: &str, injury: Injury) -> bool {
        inspect::injure(&self.inner.owner, actor, injury)
    }

    async fn end(&self, how: Ending) {
        self.inner.ending.send_if_modified(|ending| {
            // An order to end at once overrides one to end in order.
            let changes = ending.is_none() || (*ending == Some(Ending::Graceful) && how == Ending::Killed);
            if changes {
                *ending = Some(how);
            }
            changes
        });
        let mut ended = self.inner.ended.clone();
        drop(ended.wait_for(|ended| *ended).await);
    }

    fn tell(&self, message: NodeMessage) -> Result<(), String> {
        let actor = self.inner.owner.actor.borrow().clone();
        let actor = actor.ok_or_else(|| "it is not running".to_owned())?;
        actor.cast(message).map_err(|_| "it is ending".to_owned())
    }
}

/// What the doc examples and tests build most.
impl Node {
    /// A counter on one node with nothing on disk.
    pub async fn single_memory_counter() -> Result<GroupHandle<Counter>, StartError> {
        Self::single_memory(Counter::default()).await
    }
}
