//! How a call reaches the state machine. A handler names the kind of call as an argument, so that redirect, deadline,
//! consistency and idempotency key are read the same way before each of them.

use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Uri};
use quorate::machine::{CommandKey, KvReply};
use quorate::{Answered, Applied, Consistency, ProposeError};
use tokio::time::Instant;

use super::code::Code;
use super::headers::{deadline, idempotency_key};
use super::pages::PagePlace;
use super::params::{CallParams, ListParams, Params, ReadParams, WriteParams, consistency, path_and_query};
use super::problem::{Problem, Rejection};
use super::ready::explained;
use super::rooms::Reserved;
use super::state::AppState;
use super::written::SHORT_BYTES;
use crate::machine::{CounterReply, DataAnswer, DataCommand, DataQuery, DataReply};

/// A call with its parameters and its deadline, at a node that may answer it.
#[derive(Debug)]
pub(crate) struct Call<P> {
    pub(crate) state: AppState,
    pub(crate) params: P,
    /// From now on.
    pub(crate) timeout: Duration,
}

impl<P: CallParams> FromRequestParts<AppState> for Call<P> {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Rejection> {
        let unchecked = UncheckedCall::from_request_parts(parts, state).await?;
        Ok(unchecked.check(&parts.headers)?)
    }
}

/// A call that is not redirected; its deadline, consistency and idempotency key are not parsed yet. `POST /command` reads its
/// body before it refuses them: a client that is still sending a large body would be reset before it reads the refusal.
#[derive(Debug)]
pub(crate) struct UncheckedCall<P = ReadParams> {
    state: AppState,
    params: P,
}

impl<P: CallParams> UncheckedCall<P> {
    fn check(self, headers: &HeaderMap) -> Result<Call<P>, Problem> {
        let Self { state, params } = self;
        let options = state.options();
        let timeout = deadline(params.how().1, headers, options.call_timeout, options.call_timeout_max)?;
        Ok(Call { state, params, timeout })
    }

    pub(crate) fn into_read(self, headers: &HeaderMap) -> Result<ReadCall<P>, Problem> {
        let call = self.check(headers)?;
        let consistency = consistency(call.params.how().2)?;
        Ok(ReadCall { call, consistency })
    }

    pub(crate) fn into_write(self, headers: &HeaderMap) -> Result<WriteCall, Problem> {
        if self.params.how().2.is_some() {
            let detail =
                "consistency is for reads; a write is always applied by the leader from a majority of disks";
            return Err(Problem::new(Code::BadParameter, detail));
        }
        let Call { state, timeout, .. } = self.check(headers)?;
        Ok(WriteCall { state, timeout, key: idempotency_key(headers)? })
    }
}

impl<P: CallParams> FromRequestParts<AppState> for UncheckedCall<P> {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Rejection> {
        let Params(params) = Params::<P>::from_request_parts(parts, state).await?;
        if params.how().0 == Some(true) {
            redirect_to_leader(state, &parts.uri).await?;
        }
        Ok(Self { state: state.clone(), params })
    }
}

/// With `?redirect=true` on a follower: 307 to the leader.
async fn redirect_to_leader(state: &AppState, uri: &Uri) -> Result<(), Rejection> {
    let leader = match state.leader_api().await {
        Ok(leader) => leader,
        Err(problem) => return Err(explained(state, problem).await.into()),
    };
    let Some((_, address)) = leader else { return Ok(()) };
    let location = HeaderValue::try_from(format!("http://{address}{}", path_and_query(uri)));
    let location = location.map_err(|_| {
        Problem::new(Code::LeaderUnreachable, format!("the leader's API address {address:?} is not one"))
    })?;
    Err(Rejection::Redirect(location))
}

/// A call that reads.
#[derive(Debug)]
pub(crate) struct ReadCall<P = ReadParams> {
    call: Call<P>,
    consistency: Consistency,
}

impl<P: CallParams> ReadCall<P> {
    pub(crate) fn params(&self) -> &P {
        &self.call.params
    }

    /// Until when a query that begins now may wait.
    pub(crate) fn until(&self) -> Instant {
        Instant::now() + self.call.timeout
    }

    /// Room for a long answer; none is needed for a short one.
    pub(crate) async fn room(&self, bytes: usize, until: Instant) -> Result<Option<Reserved>, Problem> {
        room(&self.call.state, bytes, until).await
    }

    /// Has this node take a snapshot, of all that was acknowledged before now if the call is linearizable: its machine is asked first.
    /// Its id, and where the snapshot ends.
    pub(crate) async fn snapshot(&self) -> Result<(String, u64), Problem> {
        let until = self.until();
        self.query(DataQuery::Digest).await?;
        let state = &self.call.state;
        let left = until.saturating_duration_since(Instant::now());
        let index = state.group().snapshot(left).await?;
        Ok((state.node().id().to_string(), index))
    }

    /// Asks the state machine.
    pub(crate) async fn query(&self, query: DataQuery) -> Result<Answered<DataAnswer>, Problem> {
        ask(&self.call.state, query, self.consistency, self.call.timeout).await
    }
}

impl ReadCall<ListParams> {
    /// Queries a page, once there is room for it.
    pub(crate) async fn page(
        &self,
        query: DataQuery,
    ) -> Result<(Answered<DataAnswer>, PagePlace<'_>), Problem> {
        let state = &self.call.state;
        let place = state.page_place(self.consistency, self.call.timeout).await?;
        let left = place.until.saturating_duration_since(Instant::now());
        Ok((ask(state, query, self.consistency, left).await?, place))
    }
}

async fn room(state: &AppState, bytes: usize, until: Instant) -> Result<Option<Reserved>, Problem> {
    if bytes <= SHORT_BYTES {
        return Ok(None);
    }
    state.rooms().reserve(bytes, until).await.map(Some)
}

/// Outside the generic [`ReadCall`], so that it is compiled once.
async fn ask(
    state: &AppState,
    query: DataQuery,
    consistency: Consistency,
    timeout: Duration,
) -> Result<Answered<DataAnswer>, Problem> {
    // No value can be there under such a name: a client that asks for it has made a mistake.
    query.check()?;
    match state.group().query_by(query, consistency, timeout).await {
        Ok(answer) => Ok(answer),
        Err(error) => {
            let problem = explained(state, Problem::from(error).led_by(state.leader())).await;
            Err(advised(state, problem))
        }
    }
}

/// Without a leader a read may still be answered as stale, but not by a node that has heard from none since its start.
fn advised(state: &AppState, problem: Problem) -> Problem {
    if problem.code != Code::NoLeader {
        return problem;
    }
    let advice = if state.group().answers_stale() {
        "a read with consistency=stale is answered here"
    } else {
        "no read is answered here, not even with consistency=stale, before a leader is found"
    };
    Problem { detail: format!("{}; {advice}", problem.detail), ..problem }
}

impl<P: CallParams> FromRequestParts<AppState> for ReadCall<P> {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Rejection> {
        let unchecked = UncheckedCall::from_request_parts(parts, state).await?;
        Ok(unchecked.into_read(&parts.headers)?)
    }
}

/// A call that writes.
#[derive(Debug)]
pub(crate) struct WriteCall {
    state: AppState,
    timeout: Duration,
    key: Option<CommandKey>,
}

impl WriteCall {
    /// Until when a write that begins now may wait.
    pub(crate) fn until(&self) -> Instant {
        Instant::now() + self.timeout
    }

    /// Room for a long answer; none is needed for a short one.
    pub(crate) async fn room(&self, bytes: usize, until: Instant) -> Result<Option<Reserved>, Problem> {
        room(&self.state, bytes, until).await
    }

    /// Proposes a command and waits until it is applied.
    pub(crate) async fn propose(
        &self,
        command: DataCommand,
        until: Instant,
    ) -> Result<Applied<DataReply>, Problem> {
        let (group, left) = (self.state.group(), until.saturating_duration_since(Instant::now()));
        command.check()?;
        let is_compared = command.is_compared_with_a_value();
        let applied = match self.key {
            Some(key) => group.propose_once(key, command, left).await,
            None => group.propose_by(command, left).await,
        };
        match applied {
            Ok(applied) => Ok(applied),
            Err(error) => {
                let problem = match error {
                    ProposeError::TooLarge { bytes, bytes_max } if is_compared => too_large(bytes, bytes_max),
                    error => Problem::from(error),
                };
                Err(explained(&self.state, problem.led_by(self.state.leader())).await)
            }
        }
    }
}

/// Of a compare-and-set, which cannot be split.
fn too_large(bytes: usize, bytes_max: usize) -> Problem {
    let detail = format!(
        "command of {bytes} bytes is too large, the limit is {bytes_max}: the expected and the new value count together; a PUT with \
         If-Match and the version that a read gives (Quorate-Index) sends the new one alone"
    );
    Problem::new(Code::TooLarge, detail)
}

impl FromRequestParts<AppState> for WriteCall {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Rejection> {
        let unchecked = UncheckedCall::<WriteParams>::from_request_parts(parts, state).await?;
        Ok(unchecked.into_write(&parts.headers)?)
    }
}

/// Maps a reply that does not belong to the command to a problem: the machine refused it, or a build before this one kept the
/// reply to another kind of command under the key.
pub(crate) fn unexpected_reply(reply: &DataReply) -> Problem {
    match reply {
        DataReply::Kv(KvReply::Refused(refusal)) | DataReply::Counter(CounterReply::Refused(refusal)) => {
            Problem::from(*refusal)
        }
        DataReply::Kv(_) | DataReply::Counter(_) => {
            let detail = "this Idempotency-Key was used before, for another kind of command; its reply was found, and \
                          this command was not applied";
            Problem::new(Code::IdempotencyMismatch, detail)
        }
    }
}

/// An answer that does not belong to the query.
pub(crate) fn unexpected_answer() -> Problem {
    Problem::new(Code::Internal, "the state machine gave an answer to another query")
}
