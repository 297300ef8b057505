//! A group as a client sees it: typed proposals and queries that find their leader.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_bridge::{CallError, Sent};
use quorate_core::GroupId;
use tokio::time::Instant;

use super::Client;
use super::sessions::Sessions;
use crate::error::{Outcome, ProposeError, QueryError};
use crate::group::{Applied, Consistency};
use crate::machine::{self, CodecError, Envelope, SessionKey, StateMachine};
use crate::wire::{self, GroupProtocol, Request, Response};

/// Between two rounds in which nobody could answer.
const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// A group of a cluster, seen from outside. Cloning is cheap; clones share their sessions.
pub struct RemoteGroup<M> {
    client: Client,
    name: Arc<str>,
    exposed: Arc<str>,
    sessions: Arc<Sessions>,
    machine: PhantomData<fn() -> M>,
}

impl<M> Clone for RemoteGroup<M> {
    fn clone(&self) -> Self {
        let Self { client, name, exposed, sessions, machine } = self;
        let (client, name, exposed) = (client.clone(), name.clone(), exposed.clone());
        Self { client, name, exposed, sessions: sessions.clone(), machine: *machine }
    }
}

impl<M> fmt::Debug for RemoteGroup<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteGroup({})", self.name)
    }
}

/// How one attempt ended without an answer.
enum Missed {
    /// Nothing of it was seen by anyone; another node may be asked.
    NotSent(String),
    /// It may have been seen.
    Unknown(String),
}

impl<M: StateMachine> RemoteGroup<M> {
    pub(super) fn new(client: Client, name: &str) -> Self {
        let exposed = wire::exposed_name(GroupId::of_name(name));
        let (name, exposed) = (name.into(), exposed.into());
        Self { client, name, exposed, sessions: Arc::default(), machine: PhantomData }
    }

    /// Replicates a command and returns the machine's reply. Retries under a session until the client's timeout, so
    /// that it takes effect at most once. `Unknown` means that it may have happened, or may yet happen; so does
    /// `SessionExpired`, where a retry meets a cluster that has forgotten clients since the last reply to this group.
    pub async fn propose(&self, command: impl Into<M::Command>) -> Result<Applied<M::Reply>, ProposeError> {
        let (command, deadline) = (command.into(), self.deadline());
        loop {
            let mut session = self.sessions.take(|| self.client.inner.new_session());
            let key = session.next();
            let (result, in_doubt) = self.propose_under(&command, Some(key), deadline).await;
            match &result {
                // The cluster has forgotten clients since the last index that is known here, so it cannot say whether this
                // is one. It was not seen before: it is not applied, and a later index is known now.
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
    }

    /// As [`propose`](Self::propose) without a session: not tried again once it may have been seen.
    pub async fn propose_once(
        &self,
        command: impl Into<M::Command>,
    ) -> Result<Applied<M::Reply>, ProposeError> {
        self.propose_under(&command.into(), None, self.deadline()).await.0
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.client.inner.options.timeout
    }

    /// How it ended, and whether an attempt before the last may have been seen.
    async fn propose_under(
        &self,
        command: &M::Command,
        key: Option<SessionKey>,
        deadline: Instant,
    ) -> (Result<Applied<M::Reply>, ProposeError>, bool) {
        // What became of an attempt that may yet happen: from then on nothing may be called refused or failed.
        let mut doubt: Option<String> = None;
        let result = self.attempts(command, key, deadline, &mut doubt).await;
        let in_doubt = doubt.is_some();
        match (result, doubt) {
            (Err(end), Some(detail)) if end.outcome() != Outcome::Unknown => {
                (Err(ProposeError::unknown(detail)), in_doubt)
            }
            (result, _) => (result, in_doubt),
        }
    }

    async fn attempts(
        &self,
        command: &M::Command,
        key: Option<SessionKey>,
        deadline: Instant,
        doubt: &mut Option<String>,
    ) -> Result<Applied<M::Reply>, ProposeError> {
        let payload = self.encode(command, key)?;
        let started = Instant::now();
        let options = &self.client.inner.options;
        let Ok(Ok(_permit)) = tokio::time::timeout_at(deadline, self.client.inner.permits.acquire()).await
        else {
            return Err(ProposeError::Busy { in_flight: options.in_flight_max });
        };
        loop {
            let end = match self.ask(&Request::Propose { payload: payload.clone() }, deadline).await {
                Ok(Response::Applied { reply, index, term }) => return applied::<M>(&reply, index, term),
                Ok(Response::NotApplied(error)) => error,
                Ok(Response::Answered { .. } | Response::NotAnswered(_)) => {
                    ProposeError::unknown("the node answered something else")
                }
                Err(Missed::NotSent(detail)) => ProposeError::not_ready(detail),
                Err(Missed::Unknown(detail)) => ProposeError::unknown(detail),
            };
            if let ProposeError::Unknown { detail } = &end {
                *doubt = Some(detail.clone());
            }
            let over = Instant::now() >= deadline;
            if over || !may_try_again(&end, key.is_some()) {
                return Err(named(end, started));
            }
        }
    }

    /// Asks the group. A query changes nothing, so it is asked of one node after the other until the client's timeout.
    pub async fn query(
        &self,
        query: impl Into<M::Query>,
        consistency: Consistency,
    ) -> Result<M::Answer, QueryError> {
        let query = machine::encode(&query.into(), usize::MAX)
            .map_err(|error| QueryError::NotReady { detail: format!("query cannot be encoded: {error}") })?;
        let (started, options) = (Instant::now(), &self.client.inner.options);
        let deadline = started + options.timeout;
        let Ok(Ok(_permit)) = tokio::time::timeout_at(deadline, self.client.inner.permits.acquire()).await
        else {
            return Err(QueryError::Busy { in_flight: options.in_flight_max });
        };
        loop {
            let end = match self.ask(&Request::Query { query: query.clone(), consistency }, deadline).await {
                Ok(Response::Answered { answer }) => {
                    return machine::decode(&answer).map_err(|error| QueryError::NotReady {
                        detail: format!("the answer cannot be read: {error}"),
                    });
                }
                Ok(Response::NotAnswered(error)) => error,
                Ok(Response::Applied { .. } | Response::NotApplied(_)) => {
                    QueryError::NotReady { detail: "the node answered something else".to_owned() }
                }
                Err(Missed::NotSent(detail) | Missed::Unknown(detail)) => QueryError::NotReady { detail },
            };
            let again = matches!(
                end,
                QueryError::NotReady { .. } | QueryError::NoLeader { .. } | QueryError::Stopped { .. }
            );
            if !again || Instant::now() >= deadline {
                return Err(end);
            }
        }
    }

    /// One attempt at the node that answered last. One that is no help makes another one the next to be asked; after a
    /// round without help there is a pause.
    async fn ask(&self, request: &Request, deadline: Instant) -> Result<Response, Missed> {
        let inner = &self.client.inner;
        let at = inner.current();
        let remote = inner
            .bridge
            .remote::<GroupProtocol>(&inner.nodes[at], &self.exposed)
            .map_err(|error| Missed::NotSent(error.to_string()))?;
        let remaining = deadline.saturating_duration_since(Instant::now());
        let end = match wire::call(&remote, request, remaining).await {
            Ok(response) => Ok(response),
            Err(error @ CallError::NoSuchActor { .. }) => {
                Err(Missed::NotSent(format!("{error}: is group {} open there?", self.name)))
            }
            Err(error) => Err(match error.outcome() {
                Sent::NotSent => Missed::NotSent(error.to_string()),
                Sent::Unknown => Missed::Unknown(error.to_string()),
            }),
        };
        if !is_help(&end) {
            inner.turn_from(at);
            if at + 1 == inner.nodes.len() {
                pause(deadline).await;
            }
        }
        end
    }

    fn encode(&self, command: &M::Command, key: Option<SessionKey>) -> Result<Bytes, ProposeError> {
        let bytes_max = self.client.inner.options.command_bytes_max;
        Envelope::encode(command, key, bytes_max).map_err(|error| match error {
            CodecError::TooLarge { bytes, .. } => ProposeError::TooLarge { bytes, bytes_max },
            error => ProposeError::Unencodable { detail: error.to_string() },
        })
    }
}

fn applied<M: StateMachine>(reply: &Bytes, index: u64, term: u64) -> Result<Applied<M::Reply>, ProposeError> {
    let reply = machine::decode(reply).map_err(|error| {
        ProposeError::unknown(format!("applied at index {index}, but the reply cannot be read: {error}"))
    })?;
    Ok(Applied { reply, index, term })
}

/// Whether the node that gave this is worth asking next time.
fn is_help(end: &Result<Response, Missed>) -> bool {
    match end {
        Ok(Response::Applied { .. } | Response::Answered { .. }) => true,
        Ok(Response::NotApplied(error)) => !matches!(
            error,
            ProposeError::NotReady { .. }
                | ProposeError::NoLeader { .. }
                | ProposeError::Stopped { .. }
                | ProposeError::NoSuchGroup { .. }
        ),
        Ok(Response::NotAnswered(error)) => matches!(error, QueryError::Busy { .. }),
        Err(_) => false,
    }
}

/// What was refused or superseded did not happen and may be sent again; what is unknown, under a session only.
fn may_try_again(error: &ProposeError, has_session: bool) -> bool {
    match error {
        ProposeError::NotReady { .. }
        | ProposeError::NoLeader { .. }
        | ProposeError::Stopped { .. }
        | ProposeError::NoSuchGroup { .. } => true,
        ProposeError::Superseded { .. } | ProposeError::Unknown { .. } => has_session,
        ProposeError::Busy { .. }
        | ProposeError::TooLarge { .. }
        | ProposeError::Unencodable { .. }
        | ProposeError::NoSpace
        | ProposeError::Faulted { .. }
        | ProposeError::Unreadable { .. }
        | ProposeError::StaleSequence { .. }
        | ProposeError::ReplyNotKept { .. }
        | ProposeError::SessionExpired { .. } => false,
    }
}

/// A node that does not lead is, seen from outside, a group without a leader.
fn named(error: ProposeError, started: Instant) -> ProposeError {
    match error {
        ProposeError::NotReady { detail } if detail.contains("does not lead") => {
            let waited_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
            ProposeError::NoLeader { waited_ms }
        }
        other => other,
    }
}

async fn pause(deadline: Instant) {
    let until = deadline.min(Instant::now() + RETRY_PAUSE);
    drop(tokio::time::timeout_at(until, std::future::pending::<()>()).await);
}
