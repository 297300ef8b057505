//! What an application holds of a node.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use quorate_bridge::LinkStatus;
use quorate_core::NodeId;
use tokio::sync::{Semaphore, oneshot};

use crate::config::Config;
use crate::failure::{GroupError, NodeFailure};
use crate::handle::group::GroupHandle;
use crate::handle::retry::HandleInner;
use crate::handle::status::{GroupStatus, status};
use crate::host::machine::{MachineFactory, factory_of};
use crate::machine::StateMachine;
use crate::messages::node::{NodeMessage, OpenGroup};
use crate::node::inspect::{self, ActorStatus, Injury};
use crate::node::lifetime::Running;
use crate::node::spec::Ending;
use quorate_store::{Identity, Space};

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
    running: Arc<Running>,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Node({})", self.running.owner.id)
    }
}

impl Node {
    pub(super) fn new(running: Running) -> Self {
        Self { running: Arc::new(running) }
    }

    /// This node's id.
    pub fn id(&self) -> &NodeId {
        &self.running.owner.id
    }

    /// This node's cluster, incarnation and boot number.
    pub fn identity(&self) -> &Identity {
        self.running.owner.store.identity()
    }

    /// How full its disk was when it was measured last.
    pub fn space(&self) -> Space {
        self.running.owner.store.space()
    }

    /// Whether it takes no entries because its disk is below its reserve.
    pub fn is_disk_full(&self) -> bool {
        self.running.owner.store.is_full()
    }

    /// How long its disk has been at the work in progress; `None` while it waits for some. While it hangs nothing is written,
    /// and no vote is given.
    pub fn disk_busy_for(&self) -> Option<Duration> {
        self.running.owner.store.busy_for()
    }

    /// The settings it was started with.
    pub fn config(&self) -> &Config {
        &self.running.owner.config
    }

    /// The address its bridge listens at; `None` on a node without peers.
    pub fn local_addr(&self) -> Option<std::net::SocketAddr> {
        self.running.owner.bridge.as_ref()?.local_addr()
    }

    /// Opens a group and gives a handle to it. Every node of the cluster opens the groups it takes part in; a group is
    /// the same on all nodes by its name.
    ///
    /// `machine` is the group's state before its first command. It must be the same on every node and at every start, for the log is
    /// replayed from it each time; nothing checks that. Settings belong into commands.
    ///
    /// It returns before the machine is restored and has replayed the log. What fails then is told by the first call
    /// ([`ProposeError::Faulted`](crate::ProposeError::Faulted) with the reason) and by [`GroupStatus::halted`].
    pub async fn group<M: StateMachine>(&self, name: &str, machine: M) -> Result<GroupHandle<M>, GroupError> {
        quorate_core::check_name(name)?;
        let machine = factory_of(machine)
            .map_err(|error| GroupError::Machine { name: name.to_owned(), detail: error.to_string() })?;
        self.open_group(name.to_owned(), Arc::new(machine)).await.map(GroupHandle::new)
    }

    /// In a box, so that it is compiled with this crate.
    fn open_group(
        &self,
        name: String,
        machine: Arc<dyn MachineFactory>,
    ) -> Pin<Box<dyn Future<Output = Result<HandleInner, GroupError>> + Send + '_>> {
        Box::pin(async move {
            // The reason why the node ended says more than that it did.
            let stopped = |detail: &str| {
                let failure = self.running.owner.failure.borrow().as_ref().map(ToString::to_string);
                GroupError::Stopped { detail: failure.unwrap_or_else(|| detail.to_owned()) }
            };
            let (reply, answer) = oneshot::channel();
            let open = NodeMessage::Open(OpenGroup { name: name.clone(), machine, reply });
            let actor = self.running.owner.actor.borrow().clone();
            let actor = actor.ok_or_else(|| stopped("it is not running"))?;
            actor.cast(open).map_err(|_| stopped("it is ending"))?;
            let route = answer.await.map_err(|_| stopped("the node ended while the group was opened"))??;
            let (owner, live) = (&self.running.owner, self.running.owner.config.live.clone());
            Ok(HandleInner {
                name,
                node: owner.id.clone(),
                route,
                command_bytes_max: owner.config.node.command_bytes_max,
                proposals: Arc::new(Semaphore::new(live.proposals_max)),
                queries: Arc::new(Semaphore::new(live.queries_max)),
                stale_queries: Arc::new(Semaphore::new(live.queries_max)),
                live,
                keep_alive: OnceLock::new(),
            })
        })
    }

    /// Resolves when the node had to stop by itself, or has ended.
    pub async fn failed(&self) -> Option<NodeFailure> {
        let mut failure = self.running.owner.failure.subscribe();
        let mut ended = self.running.ended.clone();
        tokio::select! {
            biased;
            failed = failure.wait_for(Option::is_some) => drop(failed),
            ended = ended.wait_for(|ended| *ended) => drop(ended),
        }
        self.running.owner.failure.borrow().clone()
    }

    /// Stops in order: no new callers, leadership handed over, waiting callers answered, actors ended, store closed.
    pub async fn stop(&self) {
        self.end(Ending::Graceful).await;
    }

    /// As [`stop`](Self::stop), where the other nodes of its cluster end at the same time: there is none to hand leadership to.
    pub async fn stop_with_others(&self) {
        self.end(Ending::Together).await;
    }

    /// Ends as a killed process would, as far as a process can do that to a part of itself: leadership is not handed over
    /// and peers are not told; waiting callers get *unknown*.
    pub async fn kill(&self) {
        self.end(Ending::Killed).await;
    }

    /// Every link to a peer.
    pub fn links(&self) -> Vec<LinkStatus> {
        self.running.owner.bridge.as_ref().map(quorate_bridge::BridgeHandle::links).unwrap_or_default()
    }

    /// Every open group, by name.
    pub async fn groups(&self) -> Vec<GroupStatus> {
        let mut all = Vec::new();
        for (name, route) in self.running.owner.routes() {
            let route = route.borrow().clone();
            all.push(status(&name, self.id(), route).await);
        }
        all
    }

    /// Every actor of this node, by name.
    pub fn actors(&self) -> Vec<ActorStatus> {
        inspect::actors(&self.running.owner)
    }

    /// Hurts an actor, by its name in [`actors`](Self::actors): for tests, and for operators who want to see a node
    /// heal. `false` if there is none of that name.
    pub fn injure(&self, actor: &str, injury: Injury) -> bool {
        inspect::injure(&self.running.owner, actor, injury)
    }

    async fn end(&self, how: Ending) {
        self.running.ending.send_if_modified(|ending| {
            // An order to end at once overrides one to end in order.
            let changes = ending.is_none() || (*ending != Some(Ending::Killed) && how == Ending::Killed);
            if changes {
                *ending = Some(how);
            }
            changes
        });
        let mut ended = self.running.ended.clone();
        drop(ended.wait_for(|ended| *ended).await);
    }
}
