//! How a client's proposal or query is tried on one node after the other, until an answer or the deadline.
//!
//! The futures are boxed, so that they are compiled with this crate and not with each machine.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use quorate_core::GroupId;
use tokio::time::Instant;

use crate::attempt::{
    self, CallFailure, EncodedReply, call_group, deadline_after, proposal_result, query_result,
};
use crate::client::connection::Client;
use crate::client::session_pool::ClientSessionPool;
use crate::error::{ChangeError, Outcome, ProposeError, QueryError};
use crate::machine::SessionKey;
use crate::members::MembersAnswer;
use crate::ports::Answered;
use crate::protocol::{self, Consistency, GroupProtocol, Request, Response};

/// Encodes the command at hand under a session key.
pub(super) type EncodeCommand = Box<dyn Fn(SessionKey) -> Result<Bytes, ProposeError> + Send>;

type Calling<'a, T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'a>>;

/// The calls of one group.
pub(crate) struct GroupCalls {
    client: Client,
    pub(super) name: Arc<str>,
    exposed: String,
    sessions: ClientSessionPool,
}

impl GroupCalls {
    pub(crate) fn new(client: Client, name: &str) -> Self {
        let exposed = protocol::exposed_name(GroupId::of_name(name));
        Self { client, name: name.into(), exposed, sessions: ClientSessionPool::default() }
    }

    pub(super) fn command_bytes_max(&self) -> usize {
        self.client.inner.options.command_bytes_max
    }

    pub(super) fn default_deadline(&self) -> Instant {
        deadline_after(self.client.inner.options.timeout)
    }

    /// Proposes under a session from the pool.
    pub(super) fn propose_in_session(
        &self,
        encode: EncodeCommand,
        deadline: Instant,
    ) -> Calling<'_, EncodedReply, ProposeError> {
        Box::pin(async move {
            loop {
                let mut session = self.sessions.take(|| self.client.inner.new_session());
                let key = session.next();
                let Attempts { result, in_doubt } = match encode(key) {
                    Ok(payload) => self.attempts(payload, true, deadline).await,
                    Err(error) => Attempts { result: Err(error), in_doubt: false },
                };
                match &result {
                    // The cluster has forgotten clients since the last index known to this client, so it cannot tell
                    // whether this client is one of them. If no attempt may have been seen, the command was not applied,
                    // and it is sent again with the later index that is known now.
                    Err(ProposeError::SessionExpired { index, .. }) => {
                        self.sessions.applied(*index);
                        let is_later = key.since.is_none_or(|since| since.0 < *index);
                        if !in_doubt && is_later && Instant::now() < deadline {
                            continue;
                        }
                    }
                    Ok(applied) => {
                        self.sessions.applied(applied.index);
                        self.sessions.give(session);
                    }
                    Err(_) => self.sessions.give(session),
                }
                return result;
            }
        })
    }

    /// Proposes without a session from the pool: under the caller's own key, or none.
    pub(super) fn propose_bare(
        &self,
        payload: Bytes,
        deadline: Instant,
    ) -> Calling<'_, EncodedReply, ProposeError> {
        Box::pin(async move { self.attempts(payload, false, deadline).await.result })
    }

    pub(super) fn query(
        &self,
        query: Bytes,
        consistency: Consistency,
        deadline: Instant,
    ) -> Calling<'_, Answered<Bytes>, QueryError> {
        Box::pin(async move {
            let (started, mut rounds, mut hopeful) = (Instant::now(), 0, 0);
            let in_flight = self.client.inner.options.in_flight_max;
            let permit = tokio::time::timeout_at(deadline, self.client.inner.permits.acquire()).await;
            let Ok(Ok(_permit)) = permit else { return Err(QueryError::Busy { in_flight }) };
            loop {
                let request = Request::Query { query: query.clone(), consistency };
                let response = self.ask_node(&request, &mut rounds, deadline).await;
                let error = match query_result(response, &self.name) {
                    Ok(answer) => return Ok(answer),
                    Err(error) => error,
                };
                let may_pass = match error {
                    QueryError::NotReady { .. }
                    | QueryError::NoSuchGroup { .. }
                    | QueryError::NoLeader { .. }
                    | QueryError::Stopped { .. } => {
                        hopeful = rounds;
                        true
                    }
                    // Another node's machine may run, unless each said in a full round that its own has faulted. A round may have
                    // been begun by another call, so it is the second one that asks them all.
                    QueryError::Faulted { .. } => rounds < hopeful + 2,
                    _ => false,
                };
                if !may_pass || Instant::now() >= deadline {
                    return Err(error.after(started));
                }
            }
        })
    }

    /// Tries one node after the other. Once an attempt may have been seen, the result is not called refused or failed.
    async fn attempts(&self, payload: Bytes, has_session: bool, deadline: Instant) -> Attempts {
        let (started, options, mut rounds) = (Instant::now(), &self.client.inner.options, 0);
        let permit = tokio::time::timeout_at(deadline, self.client.inner.permits.acquire()).await;
        let Ok(Ok(_permit)) = permit else {
            return Attempts { result: Err(ProposeError::busy(options.in_flight_max)), in_doubt: false };
        };
        let mut doubt: Option<String> = None;
        let error = loop {
            let request = Request::Propose { payload: payload.clone() };
            let response = self.ask_node(&request, &mut rounds, deadline).await;
            let error = match proposal_result(response, &self.name) {
                Ok(replied) => return Attempts { result: Ok(replied), in_doubt: doubt.is_some() },
                Err(error) => error,
            };
            if let ProposeError::Unknown { detail } = &error {
                doubt = Some(detail.clone());
            }
            if Instant::now() >= deadline || !may_retry(&error, has_session) {
                break error.after(started);
            }
        };
        match doubt {
            Some(detail) if error.outcome() != Outcome::Unknown => {
                let detail = format!("{detail}; and then: {error}");
                Attempts { result: Err(ProposeError::unknown(detail)), in_doubt: true }
            }
            doubt => Attempts { result: Err(error), in_doubt: doubt.is_some() },
        }
    }

    /// One attempt, at the node that answered last. On failure, rotate to the next node, or to the leader if the one that
    /// answered knows it; back off after a full round.
    pub(super) async fn ask_node(
        &self,
        request: &Request,
        rounds: &mut u32,
        deadline: Instant,
    ) -> Result<Response, CallFailure> {
        let inner = &self.client.inner;
        let node = inner.nodes.current();
        let remote = inner
            .bridge
            .remote::<GroupProtocol>(&node, &self.exposed)
            .map_err(|error| CallFailure::NotSent(error.to_string()))?;
        let result = call_group((&remote, &self.name), request, deadline).await;
        let useful = is_useful(&result);
        if useful {
            inner.answered(&node);
        } else {
            inner.drop_other_clusters();
        }
        let round_is_over = !useful && inner.nodes.rotate_from(&node);
        if result.is_ok() && inner.nodes.learns_now(useful) {
            inner.learn_from(&node, &self.exposed, deadline).await;
        }
        if round_is_over {
            attempt::pause(deadline, *rounds).await;
            *rounds += 1;
        }
        result
    }
}

/// How the attempts at one proposal ended, and whether one before the last may have been seen.
struct Attempts {
    result: Result<EncodedReply, ProposeError>,
    in_doubt: bool,
}

/// Whether the node that gave this is to be asked next time.
fn is_useful(result: &Result<Response, CallFailure>) -> bool {
    match result {
        Ok(Response::Applied { .. } | Response::Answered { .. }) => true,
        Ok(Response::NotApplied(error)) => !is_of_node(error),
        Ok(Response::NotAnswered(error)) => matches!(error, QueryError::Busy { .. }),
        Ok(Response::Membership(answer)) => !matches!(
            answer,
            MembersAnswer::NotChanged(ChangeError::NotLeader { .. } | ChangeError::Stopped { .. })
        ),
        Ok(Response::Members { .. } | Response::SnapshotPart { .. } | Response::NoSnapshot) | Err(_) => false,
    }
}

/// Refused for a reason of that node's, which another node may not have.
fn is_of_node(error: &ProposeError) -> bool {
    matches!(
        error,
        ProposeError::NotReady { .. }
            | ProposeError::NoLeader { .. }
            | ProposeError::Stopped { .. }
            | ProposeError::NoSuchGroup { .. }
    )
}

/// A command that was refused is sent again; one that was superseded or is unknown, under a session only.
fn may_retry(error: &ProposeError, has_session: bool) -> bool {
    let doubtful = matches!(error, ProposeError::Superseded { .. } | ProposeError::Unknown { .. });
    is_of_node(error) || (has_session && doubtful)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use quorate_bridge::{Bridge, BridgeOptions, Exposed, Identity, Inbound};

    use crate::client::{Client, ClientOptions};
    use crate::error::NotReadyReason;
    use crate::machine::{Add, Counter};

    use super::*;

    /// More than 50 times a second, with each of them, whatever its number of nodes.
    #[tokio::test]
    async fn a_client_without_a_leader_asks_ever_less() {
        let asked = Arc::new(AtomicU32::new(0));
        let mut options = BridgeOptions::new("node0", Identity::peer([7; 32], "node0", 1, 1));
        options.listen = Some("127.0.0.1:0".to_owned());
        let node = Bridge::start(options, None).await.expect("a free port");
        let count = asked.clone();
        let leaderless = Exposed::sink::<GroupProtocol>(move |batch| {
            for Inbound { message, reply, .. } in batch {
                if let (Request::Propose { .. }, Some(reply)) = (message, reply) {
                    count.fetch_add(1, Ordering::Relaxed);
                    let refused = ProposeError::not_ready(NotReadyReason::NotLeader);
                    drop(reply.send(&Response::NotApplied(refused)));
                }
            }
            Ok(())
        });
        node.expose(&protocol::exposed_name(GroupId::of_name("counter")), leaderless).expect("a free name");
        let address = node.local_addr().expect("it listens").to_string();
        let options = ClientOptions { timeout: Duration::from_secs(2), ..ClientOptions::default() };
        let client = Client::connect([address], options).await.expect("an address");
        let refused = client.group::<Counter>("counter").propose(Add(1)).await.expect_err("no leader");
        assert!(matches!(refused, ProposeError::NoLeader { .. }), "{refused}");
        // The pauses of eight rounds are longer than two seconds.
        let asked = asked.load(Ordering::Relaxed);
        assert!((1..=8).contains(&asked), "asked {asked} times in two seconds");
        client.close().await;
        node.stop().await;
    }
}
