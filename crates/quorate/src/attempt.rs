//! What a handle and a client do alike with a command or query that goes over the bridge: encode it, call the group, and
//! turn what comes back into a result. Nothing is called *refused* once a byte of it may have been sent.

use std::time::Duration;

use bytes::Bytes;
use quorate_bridge::{CallError, CastError, RemoteRef, Sent};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::error::{NotReadyReason, ProposeError, QueryError};
use crate::machine::{CodecError, CommandKey, Envelope, decode};
use crate::ports::{Answered, Applied};
use crate::protocol::{GroupProtocol, Request, Response};

/// How long a refusal that may pass is waited out before the second attempt. Each further pause is twice as long.
const RETRY_PAUSE: Duration = Duration::from_millis(20);
/// Most doublings of the pause. Most waits end earlier, by a change of the route: with a fixed pause, callers without a leader
/// woke their node 200,000 times a second.
const DOUBLINGS_MAX: u32 = 5;

/// The longest that a call may wait: longer timeouts are cut to it, so that the deadline can be represented.
const TIMEOUT_MAX: Duration = Duration::from_secs(86_400 * 365);

/// When a call with this timeout ends, whatever a caller gave.
pub(crate) fn deadline_after(timeout: Duration) -> Instant {
    Instant::now() + timeout.min(TIMEOUT_MAX)
}

/// Encodes a command once; the same bytes go to every peer and to disk. One that this build cannot read back is refused here: a
/// replica that met it in the log would stop there.
pub(crate) fn encode_command<C: Serialize + DeserializeOwned>(
    command: &C,
    key: Option<CommandKey>,
    bytes_max: usize,
) -> Result<Bytes, ProposeError> {
    if let Some(Err(detail)) = key.map(|key| key.check()) {
        return Err(ProposeError::Unencodable { detail });
    }
    let payload = Envelope::encode(command, key, bytes_max).map_err(|error| match error {
        CodecError::TooLarge { bytes, .. } => ProposeError::TooLarge { bytes, bytes_max },
        error => ProposeError::Unencodable { detail: error.to_string() },
    })?;
    let not_read_back =
        |detail: String| ProposeError::Unencodable { detail: format!("it cannot be read back: {detail}") };
    let envelope = Envelope::decode(&payload).map_err(|error| not_read_back(error.to_string()))?;
    envelope.command::<C>().map_err(|error| not_read_back(error.to_string()))?;
    Ok(payload)
}

/// A reply as it came over the bridge.
pub(crate) struct EncodedReply {
    pub(crate) reply: Bytes,
    pub(crate) index: u64,
    pub(crate) term: u64,
}

impl EncodedReply {
    pub(crate) fn decode<R: DeserializeOwned>(self) -> Result<Applied<R>, ProposeError> {
        let Self { reply, index, term } = self;
        let reply = decode(&reply).map_err(|error| {
            ProposeError::unknown(format!("applied at index {index}, but the reply cannot be read: {error}"))
        })?;
        Ok(Applied { reply, index, term })
    }
}

/// Why a call brought no response.
pub(crate) enum CallFailure {
    /// The node was reached and has not opened the group.
    NoSuchGroup { node: String },
    /// Nothing was sent; another node may be asked.
    NotSent(String),
    /// It can be sent to no node.
    CannotBeSent(String),
    /// It may have been received.
    Unknown(String),
}

/// Calls the group of this name on another node.
pub(crate) async fn call_group(
    (remote, group): (&RemoteRef<GroupProtocol>, &str),
    request: &Request,
    deadline: Instant,
) -> Result<Response, CallFailure> {
    let timeout = deadline.saturating_duration_since(Instant::now());
    remote.call(request, timeout).await.map_err(|error| match (&error, error.outcome()) {
        (CallError::NoSuchActor { node, .. }, Sent::NotSent) => {
            CallFailure::NoSuchGroup { node: node.clone() }
        }
        (CallError::NotQueued(CastError::Malformed { .. }), _) => {
            CallFailure::CannotBeSent(error.to_string())
        }
        (_, Sent::NotSent) => CallFailure::NotSent(by_name(&error, group)),
        (_, Sent::Unknown) => CallFailure::Unknown(by_name(&error, group)),
    })
}

/// The bridge knows a group by its number, in hex digits that its user has never seen.
fn by_name(error: &CallError, group: &str) -> String {
    match error {
        CallError::Died { node, detail, .. } => {
            format!("group {group} on node {node} gave no answer: {detail}")
        }
        CallError::TimedOut { node, after_ms, .. } => {
            format!("no answer from group {group} on node {node} within {after_ms} ms")
        }
        CallError::Unsupported { node, detail, .. } => {
            format!("group {group} on node {node} does not understand this: {detail}")
        }
        other => other.to_string(),
    }
}

/// What a proposal's response means. `group` is the group's name, for the message.
pub(crate) fn proposal_result(
    response: Result<Response, CallFailure>,
    group: &str,
) -> Result<EncodedReply, ProposeError> {
    match response {
        Ok(Response::Applied { reply, index, term }) => Ok(EncodedReply { reply, index, term }),
        Ok(Response::NotApplied(error)) => Err(error),
        Ok(
            Response::Answered { .. }
            | Response::NotAnswered(_)
            | Response::Members { .. }
            | Response::Membership(_)
            | Response::SnapshotPart { .. }
            | Response::NoSnapshot,
        ) => Err(ProposeError::unknown("the node answered a proposal with the answer to a query")),
        Err(CallFailure::NoSuchGroup { node }) => {
            Err(ProposeError::NoSuchGroup { group: group.to_owned(), node })
        }
        Err(CallFailure::NotSent(detail)) => {
            Err(ProposeError::NotReady { reason: NotReadyReason::Unreachable, detail })
        }
        Err(CallFailure::CannotBeSent(detail)) => Err(ProposeError::Unencodable { detail }),
        Err(CallFailure::Unknown(detail)) => Err(ProposeError::unknown(detail)),
    }
}

/// What a query's response means: the answer's bytes, and how far it was applied. `group` is the group's name.
pub(crate) fn query_result(
    response: Result<Response, CallFailure>,
    group: &str,
) -> Result<Answered<Bytes>, QueryError> {
    match response {
        Ok(Response::Answered { answer, applied }) => Ok(Answered { answer, applied }),
        Ok(Response::NotAnswered(error)) => Err(error),
        Ok(
            Response::Applied { .. }
            | Response::NotApplied(_)
            | Response::Members { .. }
            | Response::Membership(_)
            | Response::SnapshotPart { .. }
            | Response::NoSnapshot,
        ) => Err(QueryError::not_ready("the node answered a query with the reply to a proposal")),
        Err(CallFailure::CannotBeSent(detail)) => Err(QueryError::Unreadable { detail }),
        Err(CallFailure::NoSuchGroup { node }) => {
            Err(QueryError::NoSuchGroup { group: group.to_owned(), node })
        }
        Err(CallFailure::NotSent(detail) | CallFailure::Unknown(detail)) => {
            Err(QueryError::not_ready(detail))
        }
    }
}

impl ProposeError {
    /// As the caller is told it at the deadline. Where the node that is taken for the leader does not lead, no leader is known.
    pub(crate) fn after(self, started: Instant) -> Self {
        match self {
            Self::NotReady { reason: NotReadyReason::NoLeader | NotReadyReason::NotLeader, .. } => {
                Self::NoLeader { waited_ms: waited_ms(started) }
            }
            other => other,
        }
    }
}

impl QueryError {
    /// As the caller is told it at the deadline.
    pub(crate) fn after(self, started: Instant) -> Self {
        match self {
            Self::NoLeader { .. } => Self::NoLeader { waited_ms: waited_ms(started) },
            other => other,
        }
    }
}

/// Milliseconds since `started`.
pub(crate) fn waited_ms(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// When the next attempt is due at the latest, after so many before it.
pub(crate) fn next_attempt(deadline: Instant, attempts: u32) -> Instant {
    deadline.min(Instant::now() + RETRY_PAUSE * 2_u32.pow(attempts.min(DOUBLINGS_MAX)))
}

/// Waits until the next attempt, after so many before it.
pub(crate) async fn pause(deadline: Instant, attempts: u32) {
    drop(tokio::time::timeout_at(next_attempt(deadline, attempts), std::future::pending::<()>()).await);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_waits_for_long_asks_ever_less() {
        let (deadline, mut attempts) = (Instant::now() + Duration::from_secs(5), 0);
        while Instant::now() < deadline {
            pause(deadline, attempts).await;
            attempts += 1;
        }
        assert!((5..15).contains(&attempts), "{attempts} attempts in five seconds");
    }
}
