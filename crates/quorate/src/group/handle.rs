//! What an application holds of a group: typed proposals and queries, and where the group stands.
//!
//! Stage 1 of 7, Proposed: a permit is taken, the command encoded and hashed once, and sent along the route to the
//! leader: here without a hop, or on another node over the bridge. What is *refused* while no leader is known is tried
//! again until the deadline; what is *unknown* is never tried again.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_bridge::{CallError, RemoteRef, Sent};
use quorate_core::{NodeId, Proposal};
use ractor::ActorCell;
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;

use crate::config::LiveConfig;
use crate::error::{Outcome, ProposeError, QueryError};
use crate::group::inbound::{ask, propose};
use crate::group::{
    Applied, Condition, Facade, FacadeMessage, GroupMessage, LeaderRoute, ProposalPort, QueryPort, Route,
    RouteReceiver, TypedPort, TypedQuery,
};
use crate::machine::{CodecError, Envelope, SessionKey, StateMachine, decode};
use crate::role::{RoleStatus, Submission};
use crate::wire::{self, GroupProtocol, Request, Response};

/// How long a refusal by a leader that is about to change is waited out before the route is looked at again.
const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// How fresh an answer must be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Consistency {
    /// Reflects everything that was acknowledged before the query was asked: the leader confirms that it leads
    /// (ReadIndex, Raft thesis section 6.4).
    #[default]
    Linearizable,
    /// Whatever this node's machine holds; may be old.
    Stale,
}

/// Where a group stands on this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupStatus {
    /// The group's name.
    pub group: String,
    /// This node.
    pub node: String,
    /// The leader, if one is known here.
    pub leader: Option<String>,
    /// The term of that knowledge.
    pub term: u64,
    /// The role; absent while it is being restarted.
    pub role: Option<RoleStatus>,
    /// The entry at which this node's machine faulted.
    pub fault_here: Option<u64>,
    /// The entry at which a majority's machines faulted.
    pub faulted: Option<u64>,
    /// Restarts of the role from disk since the group was opened.
    pub role_restarts: u64,
    /// Restarts of the applier since the group was opened.
    pub applier_restarts: u64,
}

/// A handle to a replicated `M`. Cloning is cheap; every clone is the same group.
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
    inner: Arc<Inner>,
    machine: PhantomData<fn() -> M>,
}

pub(crate) struct Inner {
    pub(crate) name: String,
    pub(crate) node: NodeId,
    pub(crate) route: RouteReceiver,
    pub(crate) live: LiveConfig,
    pub(crate) command_bytes_max: usize,
    pub(crate) proposals: Arc<Semaphore>,
    pub(crate) queries: Arc<Semaphore>,
    /// Keeps the node of [`Node::single_memory`](crate::Node::single_memory) alive as long as its handles.
    pub(crate) keep_alive: std::sync::OnceLock<crate::Node>,
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

impl<M: StateMachine> GroupHandle<M> {
    pub(crate) fn new(inner: Inner) -> Self {
        Self { inner: Arc::new(inner), machine: PhantomData }
    }

    pub(crate) fn keep_alive(&self, node: crate::Node) {
        // Set once, by the constructor of a single node.
        let _ = self.inner.keep_alive.set(node);
    }

    /// The group's name.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Replicates a command and returns the machine's reply, once the command is on a majority of disks and applied.
    ///
    /// An error says which of three it is: *refused* (it never entered the log), *failed* (it entered and will never
    /// happen) or *unknown* ([`ProposeError::outcome`]). After `unknown` the command may yet happen.
    pub async fn propose(&self, command: impl Into<M::Command>) -> Result<M::Reply, ProposeError> {
        let payload = self.encode(&command.into(), None)?;
        self.submit(payload, self.default_deadline()).await.map(|applied| applied.reply)
    }

    /// As [`propose`](Self::propose), with a deadline of one's own and with the place of the command in the log.
    pub async fn propose_by(
        &self,
        command: impl Into<M::Command>,
        timeout: Duration,
    ) -> Result<Applied<M::Reply>, ProposeError> {
        let payload = self.encode(&command.into(), None)?;
        self.submit(payload, Instant::now() + timeout).await
    }

    /// As [`propose_by`](Self::propose_by), once only: however often the same key is proposed, the command is applied
    /// once, and each time answered with the first reply. The one way to retry after *unknown*.
    pub async fn propose_once(
        &self,
        key: SessionKey,
        command: impl Into<M::Command>,
        timeout: Duration,
    ) -> Result<Applied<M::Reply>, ProposeError> {
        let payload = self.encode(&command.into(), Some(key))?;
        self.submit(payload, Instant::now() + timeout).await
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
        self.query_by(query, consistency, Duration::from_millis(self.inner.live.call_timeout_ms)).await
    }

    /// As [`query`](Self::query), with a deadline of one's own.
    pub async fn query_by(
        &self,
        query: impl Into<M::Query>,
        consistency: Consistency,
        timeout: Duration,
    ) -> Result<M::Answer, QueryError>
    where
        M::Query: Clone,
    {
        let (query, started) = (query.into(), Instant::now());
        let deadline = started + timeout;
        let mut routes = self.inner.route.clone();
        loop {
            let route = routes.borrow_and_update().clone();
            if let Condition::Stopped(detail) = &route.condition {
                return Err(QueryError::Stopped { detail: detail.clone() });
            }
            let answer = self.ask_once(&route, query.clone(), consistency, deadline).await;
            match answer {
                // A query changes nothing: whatever kept it from being answered, it may be asked again.
                Err(QueryError::NotReady { .. }) if Instant::now() < deadline => {
                    wait_for_change(&mut routes, deadline).await;
                }
                Err(QueryError::NotReady { detail }) if consistency == Consistency::Stale => {
                    return Err(QueryError::NotReady { detail });
                }
                Err(QueryError::NotReady { .. }) => {
                    let waited_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
                    return Err(QueryError::NoLeader { waited_ms });
                }
                other => return other,
            }
        }
    }

    /// Hands leadership to `to`, or to the voter that is furthest; returns when another leader is known here, or
    /// `false` when none took over within `timeout`.
    pub async fn transfer(&self, to: Option<NodeId>, timeout: Duration) -> bool {
        let mut routes = self.inner.route.clone();
        let route = routes.borrow_and_update().clone();
        let (LeaderRoute::Here(_), Some(group)) = (&route.leader, &route.group) else { return false };
        if group.cast(GroupMessage::Transfer { to }).is_err() {
            return false;
        }
        let moved = |route: &Route| route.leader_id.as_ref().is_some_and(|id| *id != self.inner.node);
        tokio::time::timeout(timeout, routes.wait_for(moved)).await.is_ok_and(|route| route.is_ok())
    }

    /// The leader this node knows.
    pub fn leader(&self) -> Option<NodeId> {
        self.inner.route.borrow().leader_id.clone()
    }

    /// Waits until a leader is known here.
    pub async fn wait_for_leader(&self, timeout: Duration) -> Option<NodeId> {
        let mut routes = self.inner.route.clone();
        let known = tokio::time::timeout(timeout, routes.wait_for(|route| route.leader_id.is_some())).await;
        known.ok()?.ok()?.leader_id.clone()
    }

    /// Where the group stands on this node.
    pub async fn status(&self) -> GroupStatus {
        // Not borrowed while it waits: the group's actor could not publish a new route meanwhile.
        let route = self.inner.route.borrow().clone();
        status(&self.inner.name, &self.inner.node, &route).await
    }

    /// A plain ractor actor that stands for the group: link it, supervise it, `call!` it. It finds the group again
    /// after every restart and ends only when the group is faulted or the node ends. The group itself is supervised by
    /// its node alone.
    pub async fn spawn_facade(
        &self,
        supervisor: Option<ActorCell>,
    ) -> Result<ractor::ActorRef<FacadeMessage<M>>, ractor::SpawnErr>
    where
        M::Query: Clone,
    {
        Facade::spawn(self.clone(), supervisor).await
    }

    /// Permits that are free: all of them when nothing is under way.
    pub fn free_permits(&self) -> (usize, usize) {
        (self.inner.proposals.available_permits(), self.inner.queries.available_permits())
    }

    pub(crate) fn routes(&self) -> RouteReceiver {
        self.inner.route.clone()
    }

    fn default_deadline(&self) -> Instant {
        Instant::now() + Duration::from_millis(self.inner.live.call_timeout_ms)
    }

    fn encode(&self, command: &M::Command, key: Option<SessionKey>) -> Result<Bytes, ProposeError> {
        let bytes_max = self.inner.command_bytes_max;
        Envelope::encode(command, key, bytes_max).map_err(|error| match error {
            CodecError::TooLarge { bytes, .. } => ProposeError::TooLarge { bytes, bytes_max },
            error => ProposeError::Unencodable { detail: error.to_string() },
        })
    }

    async fn submit(&self, payload: Bytes, deadline: Instant) -> Result<Applied<M::Reply>, ProposeError> {
        let started = Instant::now();
        let proposal = Proposal::new(payload.clone());
        let mut routes = self.inner.route.clone();
        loop {
            let route = routes.borrow_and_update().clone();
            match &route.condition {
                Condition::Open => {}
                Condition::Faulted(index) => return Err(ProposeError::Faulted { index: *index }),
                Condition::Stopped(detail) => return Err(ProposeError::Stopped { detail: detail.clone() }),
            }
            let attempt = match &route.leader {
                LeaderRoute::Here(_) => self.submit_here(&route, proposal.clone(), deadline).await,
                LeaderRoute::There(leader) => self.submit_there(leader, payload.clone(), deadline).await,
                LeaderRoute::Nobody => Err(ProposeError::not_ready("no leader is known")),
            };
            let refused = match attempt {
                Err(refused @ (ProposeError::NotReady { .. } | ProposeError::NoSuchGroup { .. })) => refused,
                other => return other,
            };
            debug_assert_eq!(refused.outcome(), Outcome::Refused);
            if Instant::now() >= deadline {
                let waited_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
                return Err(match refused {
                    error @ ProposeError::NoSuchGroup { .. } => error,
                    _ => ProposeError::NoLeader { waited_ms },
                });
            }
            wait_for_change(&mut routes, deadline).await;
        }
    }

    async fn submit_here(
        &self,
        route: &Route,
        proposal: Proposal,
        deadline: Instant,
    ) -> Result<Applied<M::Reply>, ProposeError> {
        let Ok(permit) = self.inner.proposals.clone().try_acquire_owned() else {
            return Err(ProposeError::Busy { in_flight: self.inner.live.proposals_max });
        };
        let (sender, answer) = oneshot::channel();
        let port = ProposalPort::Local(Box::new(TypedPort::<M::Reply> { sender, permit }));
        propose(route, Submission { proposal, port });
        match tokio::time::timeout_at(deadline, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(ProposeError::unknown("an actor ended while the command was under way")),
            Err(_) => Err(ProposeError::unknown("the deadline passed while the command was under way")),
        }
    }

    async fn submit_there(
        &self,
        leader: &RemoteRef<GroupProtocol>,
        payload: Bytes,
        deadline: Instant,
    ) -> Result<Applied<M::Reply>, ProposeError> {
        let Ok(_permit) = self.inner.proposals.clone().try_acquire_owned() else {
            return Err(ProposeError::Busy { in_flight: self.inner.live.proposals_max });
        };
        let timeout = deadline.saturating_duration_since(Instant::now());
        match wire::call(leader, &Request::Propose { payload }, timeout).await {
            Ok(Response::Applied { reply, index, term }) => match decode::<M::Reply>(&reply) {
                Ok(reply) => Ok(Applied { reply, index, term }),
                Err(error) => {
                    Err(ProposeError::unknown(format!("applied, but the reply cannot be read: {error}")))
                }
            },
            Ok(Response::NotApplied(error)) => Err(error),
            Ok(Response::Answered { .. } | Response::NotAnswered(_)) => {
                Err(ProposeError::unknown("the leader answered something else"))
            }
            Err(error) => Err(self.not_called(leader, &error)),
        }
    }

    /// Never *refused* once a byte of it may have been sent.
    fn not_called(&self, leader: &RemoteRef<GroupProtocol>, error: &CallError) -> ProposeError {
        match (error, error.outcome()) {
            (CallError::NoSuchActor { .. }, Sent::NotSent) => {
                ProposeError::NoSuchGroup { group: self.inner.name.clone(), node: leader.node().to_owned() }
            }
            (error, Sent::NotSent) => ProposeError::not_ready(error.to_string()),
            (error, Sent::Unknown) => ProposeError::unknown(error.to_string()),
        }
    }

    async fn ask_once(
        &self,
        route: &Route,
        query: M::Query,
        consistency: Consistency,
        deadline: Instant,
    ) -> Result<M::Answer, QueryError> {
        let Ok(permit) = self.inner.queries.clone().try_acquire_owned() else {
            return Err(QueryError::Busy { in_flight: self.inner.live.queries_max });
        };
        let (sender, answer) = oneshot::channel();
        let port = QueryPort::Local(Box::new(TypedQuery { query, sender, permit }));
        ask(route, consistency, port);
        match tokio::time::timeout_at(deadline, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(QueryError::NotReady { detail: "an actor ended during the query".into() }),
            Err(_) => Err(QueryError::NotReady { detail: "the deadline passed".into() }),
        }
    }
}

/// Until the route changes, or a pause has passed: a refusal may also end without a change of route.
async fn wait_for_change(routes: &mut RouteReceiver, deadline: Instant) {
    let until = deadline.min(Instant::now() + RETRY_PAUSE);
    let changed = tokio::time::timeout_at(until, routes.changed()).await;
    if matches!(changed, Ok(Err(_))) {
        // The node is gone: nothing will change any more, and nothing may spin.
        drop(tokio::time::timeout_at(until, std::future::pending::<()>()).await);
    }
}

pub(crate) async fn status(name: &str, node: &NodeId, route: &Route) -> GroupStatus {
    let role = match &route.group {
        Some(group) => ractor::call_t!(group, GroupMessage::Inspect, 1_000).ok(),
        None => None,
    };
    let faulted = match route.condition {
        Condition::Faulted(index) => Some(index),
        Condition::Open | Condition::Stopped(_) => None,
    };
    GroupStatus {
        group: name.to_owned(),
        node: node.to_string(),
        leader: route.leader_id.as_ref().map(ToString::to_string),
        term: route.term.0,
        role,
        fault_here: route.fault_here,
        faulted,
        role_restarts: route.role_restarts,
        applier_restarts: route.applier_restarts,
    }
}
