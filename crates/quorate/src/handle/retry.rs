//! How a handle's proposal or query finds its way. Stage 1 of 7, Proposed: a permit is taken and the command sent along
//! the route to the leader, on this node without a hop or on another node over the bridge. What is *refused* while no
//! leader is known is tried again until the deadline; what is *unknown* is never tried again.
//!
//! Generic over reply and answer, so compiled once per machine; kept short for that reason. What needs no type is in
//! functions that are compiled once.

use std::any::Any;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use quorate_bridge::RemoteRef;
use quorate_core::{NodeId, Proposal};
use serde::de::DeserializeOwned;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::Instant;

use crate::attempt::{self, EncodedReply, call_group, proposal_result, waited_ms};
use crate::config::LiveConfig;
use crate::error::{NotReadyReason, Outcome, ProposeError, QueryError};
use crate::messages::role::Submission;
use crate::ports::{Answered, Applied, ProposalPort, QueryPort, TypedPort, TypedQuery};
use crate::protocol::{Consistency, GroupProtocol, Request};
use crate::route::{Condition, LeaderRoute, Route};
use crate::route_watch::RouteReceiver;

/// What a handle and its clones share.
pub(crate) struct HandleInner {
    pub(crate) name: String,
    pub(crate) node: NodeId,
    pub(crate) route: RouteReceiver,
    pub(crate) live: LiveConfig,
    pub(crate) command_bytes_max: usize,
    pub(crate) proposals: Arc<Semaphore>,
    pub(crate) queries: Arc<Semaphore>,
    /// Dropped with the last handle: the node of [`Node::single_memory`](crate::Node::single_memory) ends with it.
    pub(crate) keep_alive: OnceLock<Box<dyn Any + Send + Sync>>,
}

type Wait<'a, T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'a>>;

impl HandleInner {
    pub(crate) fn default_deadline(&self) -> Instant {
        Instant::now() + Duration::from_millis(self.live.call_timeout_ms)
    }

    /// Sends a command to the leader and waits for the reply; tries again while it is refused for a reason that may pass.
    pub(crate) async fn propose_with_retry<R: DeserializeOwned + Send + 'static>(
        &self,
        payload: Bytes,
        deadline: Instant,
    ) -> Result<Applied<R>, ProposeError> {
        let started = Instant::now();
        let proposal = Proposal::new(payload.clone());
        let (mut routes, mut attempts) = (self.route.clone(), 0);
        loop {
            let route = open_route(&mut routes)?;
            let attempt = match &route.leader {
                LeaderRoute::Here(_) => self.propose_here(&route, proposal.clone(), deadline).await,
                LeaderRoute::There(leader) => {
                    let replied = self.propose_there(leader, payload.clone(), deadline).await;
                    replied.and_then(EncodedReply::decode)
                }
                LeaderRoute::Unknown => Err(ProposeError::not_ready(NotReadyReason::NoLeader)),
            };
            match attempt {
                Err(refused @ (ProposeError::NotReady { .. } | ProposeError::NoSuchGroup { .. })) => {
                    wait_to_retry(&mut routes, refused, (started, attempts), deadline).await?;
                    attempts += 1;
                }
                other => return other,
            }
        }
    }

    async fn propose_here<R: Send + 'static>(
        &self,
        route: &Route,
        proposal: Proposal,
        deadline: Instant,
    ) -> Result<Applied<R>, ProposeError> {
        let permit = self.proposal_permit()?;
        let (sender, answer) = oneshot::channel();
        let port = ProposalPort::Local(Box::new(TypedPort { sender, permit }));
        route.send_proposal(Submission { proposal, port });
        match tokio::time::timeout_at(deadline, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(ProposeError::unknown("an actor ended while the command was under way")),
            Err(_) => Err(ProposeError::unknown("the deadline passed while the command was under way")),
        }
    }

    fn propose_there<'a>(
        &'a self,
        leader: &'a RemoteRef<GroupProtocol>,
        payload: Bytes,
        deadline: Instant,
    ) -> Wait<'a, EncodedReply, ProposeError> {
        Box::pin(async move {
            let _permit = self.proposal_permit()?;
            let response = call_group(leader, &Request::Propose { payload }, deadline).await;
            proposal_result(response, &self.name)
        })
    }

    fn proposal_permit(&self) -> Result<OwnedSemaphorePermit, ProposeError> {
        let permit = self.proposals.clone().try_acquire_owned();
        permit.map_err(|_| ProposeError::Busy { in_flight: self.live.proposals_max })
    }

    /// Asks the machine of this node; tries again until the deadline, because a query changes nothing.
    pub(crate) async fn query_with_retry<Q: Clone + Send + 'static, A: Send + 'static>(
        &self,
        query: Q,
        consistency: Consistency,
        deadline: Instant,
    ) -> Result<Answered<A>, QueryError> {
        let started = Instant::now();
        let (mut routes, mut attempts) = (self.route.clone(), 0);
        loop {
            let route = routes.borrow_and_update().clone();
            if let Condition::Stopped(detail) = &route.condition {
                return Err(QueryError::Stopped { detail: detail.clone() });
            }
            match self.query_once(&route, query.clone(), consistency, deadline).await {
                Err(QueryError::NotReady { .. }) if Instant::now() < deadline => {
                    wait_for_change(&mut routes, deadline, attempts).await;
                    attempts += 1;
                }
                Err(QueryError::NotReady { .. }) if consistency == Consistency::Linearizable => {
                    let waited_ms = waited_ms(started);
                    return Err(match unreachable_leader(&route) {
                        Some((leader, detail)) => QueryError::LeaderUnreachable { leader, detail, waited_ms },
                        None => QueryError::NoLeader { waited_ms },
                    });
                }
                other => return other,
            }
        }
    }

    async fn query_once<Q: Send + 'static, A: Send + 'static>(
        &self,
        route: &Route,
        query: Q,
        consistency: Consistency,
        deadline: Instant,
    ) -> Result<Answered<A>, QueryError> {
        let Ok(permit) = self.queries.clone().try_acquire_owned() else {
            return Err(QueryError::Busy { in_flight: self.live.queries_max });
        };
        let (sender, answer) = oneshot::channel();
        let port = QueryPort::Local(Box::new(TypedQuery { query, sender, permit }));
        route.send_query(consistency, port);
        match tokio::time::timeout_at(deadline, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(QueryError::not_ready("an actor ended during the query")),
            Err(_) => Err(QueryError::not_ready(
                "the deadline passed before this node had applied enough of its log",
            )),
        }
    }
}

/// The newest route, unless the group takes no proposals.
fn open_route(routes: &mut RouteReceiver) -> Result<Route, ProposeError> {
    let route = routes.borrow_and_update().clone();
    match &route.condition {
        Condition::Open => Ok(route),
        Condition::Faulted(index) => Err(ProposeError::Faulted { index: *index }),
        Condition::Stopped(detail) => Err(ProposeError::Stopped { detail: detail.clone() }),
    }
}

/// The leader on another node to which there is no link, and why there is none.
fn unreachable_leader(route: &Route) -> Option<(String, String)> {
    let LeaderRoute::There(leader) = &route.leader else { return None };
    leader.why_not_connected().map(|detail| (leader.node().to_owned(), detail))
}

/// Waits after a refusal, or returns the final error when the deadline has passed.
fn wait_to_retry(
    routes: &mut RouteReceiver,
    refused: ProposeError,
    (started, attempts): (Instant, u32),
    deadline: Instant,
) -> Wait<'_, (), ProposeError> {
    debug_assert_eq!(refused.outcome(), Outcome::Refused);
    Box::pin(async move {
        if Instant::now() >= deadline {
            if let ProposeError::NoSuchGroup { .. } = refused {
                return Err(refused);
            }
            let (leader, waited_ms) = (unreachable_leader(&routes.borrow()), waited_ms(started));
            return Err(match leader {
                Some((leader, detail)) => ProposeError::LeaderUnreachable { leader, detail, waited_ms },
                None => ProposeError::NoLeader { waited_ms },
            });
        }
        wait_for_change(routes, deadline, attempts).await;
        Ok(())
    })
}

/// Waits until the route changes, or a pause has passed: what caused a refusal may also end without a change of route.
async fn wait_for_change(routes: &mut RouteReceiver, deadline: Instant, attempts: u32) {
    let changed = tokio::time::timeout_at(attempt::next_attempt(deadline, attempts), routes.changed()).await;
    if matches!(changed, Ok(Err(_))) {
        // The node has ended and the route never changes again. Without the pause the caller would spin.
        attempt::pause(deadline, attempts).await;
    }
}
