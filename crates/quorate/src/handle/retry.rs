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

use crate::attempt::{self, EncodedReply, call_group, deadline_after, proposal_result, waited_ms};
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
    /// As many places again: a stale query waits for no one, and must not wait for those that do.
    pub(crate) stale_queries: Arc<Semaphore>,
    /// Dropped with the last handle: the node of [`Node::single_memory`](crate::Node::single_memory) ends with it.
    pub(crate) keep_alive: OnceLock<Box<dyn Any + Send + Sync>>,
}

/// A command on its way to the leader. It is hashed where it enters a log: that would be for nothing where it is forwarded.
pub(crate) struct CommandBytes {
    payload: Bytes,
    hashed: Option<Proposal>,
}

impl CommandBytes {
    pub(crate) fn new(payload: Bytes) -> Self {
        Self { payload, hashed: None }
    }

    /// Hashes it, the first time.
    fn proposal(&mut self) -> Proposal {
        self.hashed.get_or_insert_with(|| Proposal::new(self.payload.clone())).clone()
    }
}

type Wait<'a, T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'a>>;

impl HandleInner {
    pub(crate) fn default_deadline(&self) -> Instant {
        deadline_after(Duration::from_millis(self.live.call_timeout_ms))
    }

    /// Sends a command to the leader and waits for the reply; tries again while it is refused for a reason that may pass.
    pub(crate) async fn propose_with_retry<R: DeserializeOwned + Send + 'static>(
        &self,
        command: &mut CommandBytes,
        deadline: Instant,
    ) -> Result<Applied<R>, ProposeError> {
        let started = Instant::now();
        let (mut routes, mut attempts) = (self.route.clone(), 0);
        loop {
            let route = open_route(&mut routes)?;
            let attempt = match &route.leader {
                LeaderRoute::Here(_) => self.propose_here(&route, command.proposal(), deadline).await,
                LeaderRoute::There(leader) => {
                    let replied = self.propose_there(leader, command.payload.clone(), deadline).await;
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
        route.send_proposals(vec![Submission { proposal, port }]);
        match tokio::time::timeout_at(deadline, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(ProposeError::unknown(format!(
                "an actor of group {} on node {} ended while the command was under way",
                self.name, self.node
            ))),
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
            let response = call_group((leader, &self.name), &Request::Propose { payload }, deadline).await;
            proposal_result(response, &self.name)
        })
    }

    fn proposal_permit(&self) -> Result<OwnedSemaphorePermit, ProposeError> {
        let permit = self.proposals.clone().try_acquire_owned();
        permit.map_err(|_| ProposeError::busy(self.live.proposals_max))
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
                Err(refused @ (QueryError::NotReady { .. } | QueryError::NoLeader { .. })) => {
                    wait_for_change(&mut routes, deadline, attempts).await;
                    attempts += 1;
                    if Instant::now() >= deadline {
                        return Err(query_refused(refused, &routes.borrow(), started));
                    }
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
        let places = match consistency {
            Consistency::Linearizable => &self.queries,
            Consistency::Stale => &self.stale_queries,
        };
        let Ok(permit) = places.clone().try_acquire_owned() else {
            return Err(QueryError::Busy { in_flight: self.live.queries_max });
        };
        let (sender, answer) = oneshot::channel();
        let port = QueryPort::Local(Box::new(TypedQuery { query, sender, permit }));
        route.send_queries(consistency, vec![port]);
        match tokio::time::timeout_at(deadline, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(QueryError::not_ready("an actor ended during the query")),
            Err(_) if consistency == Consistency::Linearizable && lacks_leader(&self.route.borrow()) => {
                Err(QueryError::NoLeader { waited_ms: 0 })
            }
            Err(_) => Err(QueryError::not_ready(
                "the deadline passed before this node knew that it had applied enough of its log",
            )),
        }
    }
}

/// The newest route, unless the group takes no proposals.
fn open_route(routes: &mut RouteReceiver) -> Result<Route, ProposeError> {
    let route = routes.borrow_and_update().clone();
    match &route.condition {
        Condition::Open => Ok(route),
        Condition::Faulted(index) => {
            Err(ProposeError::Faulted { index: *index, detail: route.why_faulted(*index) })
        }
        Condition::Stopped(detail) => Err(ProposeError::Stopped { detail: detail.clone() }),
    }
}

/// The leader on another node to which there is no link, and why there is none.
fn unreachable_leader(route: &Route) -> Option<(String, String)> {
    let LeaderRoute::There(leader) = &route.leader else { return None };
    leader.why_not_connected().map(|detail| (leader.node().to_owned(), detail))
}

fn lacks_leader(route: &Route) -> bool {
    matches!(route.leader, LeaderRoute::Unknown) || unreachable_leader(route).is_some()
}

/// What a caller is told at the deadline: why it was refused last.
fn query_refused(refused: QueryError, route: &Route, started: Instant) -> QueryError {
    match (refused, unreachable_leader(route)) {
        (QueryError::NoLeader { .. }, Some((leader, detail))) => {
            QueryError::LeaderUnreachable { leader, detail, waited_ms: waited_ms(started) }
        }
        (refused, _) => refused.after(started),
    }
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
        wait_for_change(routes, deadline, attempts).await;
        if Instant::now() < deadline {
            return Ok(());
        }
        let leader = unreachable_leader(&routes.borrow());
        Err(match (refused, leader) {
            (ProposeError::NotReady { .. }, Some((leader, detail))) => {
                ProposeError::LeaderUnreachable { leader, detail, waited_ms: waited_ms(started) }
            }
            (refused, _) => refused.after(started),
        })
    })
}

/// Waits until the route changes, or a pause has passed: what caused a refusal may also end without a change of route.
pub(crate) async fn wait_for_change(routes: &mut RouteReceiver, deadline: Instant, attempts: u32) {
    let changed = tokio::time::timeout_at(attempt::next_attempt(deadline, attempts), routes.changed()).await;
    if matches!(changed, Ok(Err(_))) {
        // The node has ended and the route never changes again. Without the pause the caller would spin.
        attempt::pause(deadline, attempts).await;
    }
}

#[cfg(test)]
mod tests {
    use quorate_bridge::{Bridge, BridgeOptions, Identity};
    use ractor::{Actor, ActorProcessingErr, ActorRef};

    use crate::messages::role::LeaderMessage;
    use crate::route_watch::RouteSender;

    use super::*;

    struct Silent;

    impl Actor for Silent {
        type Msg = LeaderMessage;
        type State = ();
        type Arguments = ();

        async fn pre_start(&self, _: ActorRef<LeaderMessage>, (): ()) -> Result<(), ActorProcessingErr> {
            Ok(())
        }
    }

    fn handle(routes: &RouteSender) -> HandleInner {
        HandleInner {
            name: "counter".to_owned(),
            node: NodeId::new("node0").expect("a legal name"),
            route: routes.subscribe(),
            live: LiveConfig::default(),
            command_bytes_max: 1 << 20,
            proposals: Arc::new(Semaphore::new(1)),
            queries: Arc::new(Semaphore::new(1)),
            stale_queries: Arc::new(Semaphore::new(1)),
            keep_alive: OnceLock::new(),
        }
    }

    /// They shared their places: callers that waited for a machine which replays kept out those that would have waited for no one.
    #[tokio::test(start_paused = true)]
    async fn queries_that_wait_take_no_place_of_a_stale_one() {
        let routes = RouteSender::new();
        let handle = handle(&routes);
        let _waits = handle.queries.clone().try_acquire_owned().expect("there is one place");
        let ask = |consistency| {
            let deadline = Instant::now() + Duration::from_secs(1);
            handle.query_with_retry::<(), ()>((), consistency, deadline)
        };
        let refused = ask(Consistency::Linearizable).await.err();
        assert_eq!(refused, Some(QueryError::Busy { in_flight: 4_096 }));
        let refused = ask(Consistency::Stale).await.err();
        assert!(!matches!(refused, Some(QueryError::Busy { .. })), "{refused:?}");
    }

    /// Told that no leader is known, an operator looks for a majority that is there.
    #[tokio::test(start_paused = true)]
    async fn a_caller_is_told_why_it_was_refused_last() {
        let routes = RouteSender::new();
        let handle = handle(&routes);
        let deadline = || Instant::now() + Duration::from_secs(1);
        let empty = || CommandBytes::new(Bytes::new());
        let refused = handle.propose_with_retry::<()>(&mut empty(), deadline()).await;
        assert_eq!(refused.err(), Some(ProposeError::NoLeader { waited_ms: 1_000 }));

        let (leader, ended) = Actor::spawn(None, Silent, ()).await.expect("it has no name");
        let halted = Some(Arc::from("upgrade this node"));
        routes.send_replace(Route { leader: LeaderRoute::Here(leader.clone()), halted, ..Route::empty() });
        let refused = handle.propose_with_retry::<()>(&mut empty(), deadline()).await;
        assert_eq!(refused.err(), Some(ProposeError::not_ready(NotReadyReason::MachineRestarting)));
        let refused = handle.query_with_retry::<(), ()>((), Consistency::Linearizable, deadline()).await;
        assert_eq!(refused.err(), Some(QueryError::not_ready("upgrade this node")));
        leader.stop(None);
        ended.await.expect("it ends");
    }

    /// Each was hashed where it entered, and again where the leader is.
    #[tokio::test(start_paused = true)]
    async fn a_command_is_hashed_where_its_leader_is_and_not_where_it_is_forwarded() {
        let routes = RouteSender::new();
        let handle = handle(&routes);
        let deadline = || Instant::now() + Duration::from_secs(1);
        let mut command = CommandBytes::new(Bytes::from_static(b"x"));
        let bridge = Bridge::start(BridgeOptions::new("retry", Identity::client()), None).await;
        let bridge = bridge.expect("it starts");
        let there = LeaderRoute::There(bridge.remote("node1", "group").expect("legal names"));
        routes.send_replace(Route { leader: there, ..Route::empty() });
        let refused = handle.propose_with_retry::<()>(&mut command, deadline()).await.err();
        assert!(matches!(refused, Some(ProposeError::LeaderUnreachable { .. })), "{refused:?}");
        assert!(command.hashed.is_none(), "it was forwarded, again and again");

        let (leader, ended) = Actor::spawn(None, Silent, ()).await.expect("it has no name");
        routes.send_replace(Route { leader: LeaderRoute::Here(leader.clone()), ..Route::empty() });
        let _refused = handle.propose_with_retry::<()>(&mut command, deadline()).await;
        assert_eq!(command.hashed, Some(Proposal::new(Bytes::from_static(b"x"))), "it led here");
        leader.stop(None);
        ended.await.expect("it ends");
        bridge.stop().await;
    }
}
