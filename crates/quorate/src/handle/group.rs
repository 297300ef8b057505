//! What an application holds of a group: typed proposals and queries, and where the group stands.

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use quorate_core::NodeId;
use tokio::time::Instant;

use crate::attempt::{deadline_after, encode_command};
use crate::error::{ProposeError, QueryError, SnapshotFailed, TransferError};
use crate::handle::members::Members;
use crate::handle::retry::{CommandBytes, HandleInner};
use crate::handle::snapshot::{SnapshotBytes, snapshot};
use crate::handle::status::{GroupStatus, status};
use crate::handle::transfer::transfer;
use crate::machine::{CommandKey, StateMachine};
use crate::ports::{Answered, Applied};
use crate::protocol::Consistency;
use crate::route_watch::RouteReceiver;

/// A handle to a replicated `M`. Cloning is cheap; every clone is the same group. It does not keep its node running: that ends
/// with the last clone of [`Node`](crate::Node), except for [`Node::single_memory`](crate::Node::single_memory).
///
/// ```
/// # async fn example() -> anyhow::Result<()> {
/// use quorate::machine::{Add, Counter, Total};
/// use quorate::{Consistency, Node};
///
/// let count = Node::single_memory(Counter::default()).await?;
/// assert_eq!(count.propose(Add(5)).await?, 5);
/// assert_eq!(count.query(Total, Consistency::Linearizable).await?, 5);
/// # Ok(())
/// # }
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
/// ```
pub struct GroupHandle<M> {
    inner: Arc<HandleInner>,
    machine: PhantomData<fn() -> M>,
}

impl<M> Clone for GroupHandle<M> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), machine: PhantomData }
    }
}

impl<M> fmt::Debug for GroupHandle<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GroupHandle({} on {})", self.inner.name, self.inner.node)
    }
}

/// What does not depend on the machine's type.
impl<M> GroupHandle<M> {
    pub(crate) fn new(inner: HandleInner) -> Self {
        Self { inner: Arc::new(inner), machine: PhantomData }
    }

    /// Keeps `owner` until the last clone of this handle is dropped. Called once, for the node of a single group.
    pub(crate) fn keep_alive(&self, owner: Box<dyn Any + Send + Sync>) {
        let _ = self.inner.keep_alive.set(owner);
    }

    pub(crate) fn routes(&self) -> RouteReceiver {
        self.inner.route.clone()
    }

    /// The group's name.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Hands leadership to `to`, or to the voter that can lead best; returns the leader once this node knows another one.
    /// Refused where this node does not lead or the target cannot lead; *unknown* when none took over within `timeout`.
    pub async fn transfer(&self, to: Option<NodeId>, timeout: Duration) -> Result<NodeId, TransferError> {
        transfer(&self.inner, to, timeout).await
    }

    /// The members of the group: who they are, and changes of them.
    pub fn members(&self) -> Members<'_> {
        Members::of(&self.inner)
    }

    /// Has this node take a snapshot of the machine as it is now, or a little later; returns the index of the last entry in it once it
    /// is on disk. The log before the one before it goes then. It is refused if the machine does not run.
    pub async fn snapshot(&self, timeout: Duration) -> Result<u64, SnapshotFailed> {
        snapshot(&self.inner, timeout).await
    }

    /// The newest snapshot of this node, to be copied; `None` if it has none yet. The file is a backup: see
    /// [`NodeBuilder::restore`](crate::NodeBuilder::restore).
    pub async fn newest_snapshot(&self) -> Result<Option<SnapshotBytes>, SnapshotFailed> {
        SnapshotBytes::newest(self.routes()).await
    }

    /// The leader this node knows.
    pub fn leader(&self) -> Option<NodeId> {
        self.inner.route.borrow().leader_id.clone()
    }

    /// Whether this node answers a stale query, at once or once its machine has applied what is known to be committed. Not before a
    /// leader has said since the start how much of the log that is.
    pub fn answers_stale(&self) -> bool {
        let route = self.inner.route.borrow();
        route.fault_here.is_none() && route.applier.is_some() && route.replay.floor().is_some()
    }

    /// Waits until this node knows a leader; `None` after `timeout`.
    pub async fn wait_for_leader(&self, timeout: Duration) -> Option<NodeId> {
        let mut routes = self.inner.route.clone();
        let known = tokio::time::timeout(timeout, routes.wait_for(|route| route.leader_id.is_some())).await;
        known.ok()?.ok()?.leader_id.clone()
    }

    /// Where the group stands on this node.
    pub async fn status(&self) -> GroupStatus {
        // Cloned, because Group could not publish a new route while it is borrowed.
        let route = self.inner.route.borrow().clone();
        status(&self.inner.name, &self.inner.node, route).await
    }

    /// Permits for proposals and for queries that are free, of linearizable or of stale ones, whichever are fewer: all of them
    /// when no call is under way.
    pub fn free_permits(&self) -> (usize, usize) {
        let queries =
            [&self.inner.queries, &self.inner.stale_queries].map(|places| places.available_permits());
        (self.inner.proposals.available_permits(), queries[0].min(queries[1]))
    }
}

impl<M: StateMachine> GroupHandle<M> {
    /// Replicates a command and returns the machine's reply, once the command is on a majority of disks and applied.
    ///
    /// An error says which of three it is: *refused* (it never entered the log), *failed* (it entered and will never
    /// happen) or *unknown* ([`ProposeError::outcome`]). After `unknown` the command may yet happen.
    pub async fn propose(&self, command: impl Into<M::Command>) -> Result<M::Reply, ProposeError> {
        let deadline = self.inner.default_deadline();
        self.propose_under(None, command.into(), deadline).await.map(|applied| applied.reply)
    }

    /// As [`propose`](Self::propose), with a deadline of your own, and with the command's index and term.
    pub async fn propose_by(
        &self,
        command: impl Into<M::Command>,
        timeout: Duration,
    ) -> Result<Applied<M::Reply>, ProposeError> {
        self.propose_under(None, command.into(), deadline_after(timeout)).await
    }

    /// As [`propose_by`](Self::propose_by), once only: however often the same key is proposed, the command is applied
    /// once, and each time answered with the first reply. After *unknown* a retry is safe only if the first attempt had the same
    /// key. Another command under the same key is [`KeyReused`](ProposeError::KeyReused), and is not applied.
    pub async fn propose_once(
        &self,
        key: impl Into<CommandKey>,
        command: impl Into<M::Command>,
        timeout: Duration,
    ) -> Result<Applied<M::Reply>, ProposeError> {
        self.propose_under(Some(key.into()), command.into(), deadline_after(timeout)).await
    }

    async fn propose_under(
        &self,
        key: Option<CommandKey>,
        command: M::Command,
        deadline: Instant,
    ) -> Result<Applied<M::Reply>, ProposeError> {
        let payload = encode_command(&command, key, self.inner.command_bytes_max)?;
        drop(command);
        self.inner.propose_with_retry(&mut CommandBytes::new(payload), deadline).await
    }

    /// Asks the machine.
    pub async fn query(
        &self,
        query: impl Into<M::Query>,
        consistency: Consistency,
    ) -> Result<M::Answer, QueryError>
    where
        M::Query: Clone,
    {
        let deadline = self.inner.default_deadline();
        self.inner.query_with_retry(query.into(), consistency, deadline).await.map(|answered| answered.answer)
    }

    /// As [`query`](Self::query), with a deadline of your own, and with how far the answer is applied.
    pub async fn query_by(
        &self,
        query: impl Into<M::Query>,
        consistency: Consistency,
        timeout: Duration,
    ) -> Result<Answered<M::Answer>, QueryError>
    where
        M::Query: Clone,
    {
        self.inner.query_with_retry(query.into(), consistency, deadline_after(timeout)).await
    }
}
