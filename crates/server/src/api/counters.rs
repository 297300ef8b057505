//! `/v1/counters`: named totals, in checked 64-bit arithmetic.

use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use quorate::{Answered, Applied};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::JsonBody;
use super::call::{ReadCall, WriteCall, unexpected_answer, unexpected_reply};
use super::code::Code;
use super::cursor;
use super::headers::{applied_header, entry_headers};
use super::params::{ListParams, PathName, ReadParams, WriteParams};
use super::problem::{Problem, Problems};
use crate::machine::{
    CounterCommand, CounterItem, CounterReply, DataAnswer, DataCommand, DataQuery, DataReply,
};

/// What is added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddBody {
    /// How much; taken away if negative.
    pub amount: i64,
}

/// What is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetBody {
    /// What the counter is to be.
    pub value: i64,
}

/// To the delete of a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CounterDeleted {
    /// Always true.
    pub ok: bool,
    /// Whether there was one.
    pub deleted: bool,
    /// The index of the entry.
    pub index: u64,
    /// The term of the entry.
    pub term: u64,
}

/// Where a counter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CounterValue {
    /// Always true.
    pub ok: bool,
    /// Its value; 0 for one that was never added to.
    pub value: i64,
    /// The index of the entry that changed it last; 0 if none did.
    pub index: u64,
}

/// A page of counters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CounterPage {
    /// Always true.
    pub ok: bool,
    /// In order of their names' bytes.
    pub items: Vec<CounterEntry>,
    /// Where there is more: ask again with this `cursor`.
    #[schema(required)]
    pub cursor: Option<String>,
}

/// A counter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CounterEntry {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: i64,
    /// The index of the entry that changed it last.
    pub index: u64,
}

/// The counter in a path that ends in `:add`.
#[derive(Debug)]
pub(crate) struct AddedTo(String);

impl<S: Send + Sync> FromRequestParts<S> for AddedTo {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let PathName(path) = PathName::from_request_parts(parts, state).await?;
        let Some(name) = path.strip_suffix(":add") else {
            let path = parts.uri.path();
            let detail =
                format!("nothing answers at {path}; a counter is added to at /v1/counters/<name>:add");
            return Err(Problem::new(Code::NoSuchPath, detail));
        };
        Ok(Self(name.to_owned()))
    }
}

/// Adds to a counter. Refused with `overflow`, and nothing changed, where it would leave the range of 64 bits.
#[utoipa::path(
    post, path = "/v1/counters/{name}:add", tag = "counters",
    params(
        ("name" = String, Path, description = "The counter; it may hold slashes"),
        WriteParams
    ),
    request_body = AddBody,
    responses((status = 200, description = "The counter after the addition", body = CounterValue), Problems)
)]
pub(crate) async fn add(
    AddedTo(name): AddedTo,
    call: WriteCall,
    body: JsonBody,
) -> Result<Response, Problem> {
    let AddBody { amount } = body.parse()?;
    let applied = call.propose(DataCommand::add(name, amount), call.until()).await?;
    if let DataReply::Counter(CounterReply::Overflow { value }) = applied.reply {
        let detail = format!("the counter stays at {value}: adding {amount} would overflow it");
        return Err(Problem::new(Code::Overflow, detail));
    }
    counter_now(&applied)
}

/// Sets a counter, whatever it is.
#[utoipa::path(
    put, path = "/v1/counters/{name}", tag = "counters",
    params(
        ("name" = String, Path, description = "The counter; it may hold slashes"),
        WriteParams
    ),
    request_body = SetBody,
    responses((status = 200, description = "The counter is set", body = CounterValue), Problems)
)]
pub(crate) async fn set_counter(
    PathName(name): PathName,
    call: WriteCall,
    body: JsonBody,
) -> Result<Response, Problem> {
    let SetBody { value } = body.parse()?;
    counter_now(&call.propose(DataCommand::Counter(CounterCommand::Set { name, value }), call.until()).await?)
}

/// What a counter is after a write.
fn counter_now(applied: &Applied<DataReply>) -> Result<Response, Problem> {
    let Applied { reply, index, term } = applied;
    let DataReply::Counter(CounterReply::Now { value }) = reply else { return Err(unexpected_reply(reply)) };
    let now = CounterValue { ok: true, value: *value, index: *index };
    Ok((entry_headers(*index, *term), Json(now)).into_response())
}

/// Deletes a counter: it is 0 then, and not listed. One that is not there may be deleted too.
#[utoipa::path(
    delete, path = "/v1/counters/{name}", tag = "counters",
    params(
        ("name" = String, Path, description = "The counter; it may hold slashes"),
        WriteParams
    ),
    responses((status = 200, description = "There is no counter of this name", body = CounterDeleted), Problems)
)]
pub(crate) async fn delete_counter(PathName(name): PathName, call: WriteCall) -> Result<Response, Problem> {
    let applied = call.propose(DataCommand::Counter(CounterCommand::Delete { name }), call.until()).await?;
    let (index, term) = (applied.index, applied.term);
    match &applied.reply {
        DataReply::Counter(CounterReply::Deleted { existed }) => {
            let done = CounterDeleted { ok: true, deleted: *existed, index, term };
            Ok((entry_headers(index, term), Json(done)).into_response())
        }
        reply => Err(unexpected_reply(reply)),
    }
}

/// Reads a counter. One that was never added to is 0.
#[utoipa::path(
    get, path = "/v1/counters/{name}", tag = "counters",
    params(("name" = String, Path, description = "The counter; it may hold slashes"), ReadParams),
    responses((status = 200, description = "The counter", body = CounterValue), Problems)
)]
pub(crate) async fn get_counter(PathName(name): PathName, call: ReadCall) -> Result<Response, Problem> {
    let Answered { answer, applied } = call.query(DataQuery::Counter { name }).await?;
    let (value, index) = match answer {
        DataAnswer::Counter(Some(CounterItem { value, index, .. })) => (value, index),
        DataAnswer::Counter(None) => (0, 0),
        _ => return Err(unexpected_answer()),
    };
    Ok((applied_header(applied), Json(CounterValue { ok: true, value, index })).into_response())
}

/// A page of counters.
#[utoipa::path(
    get, path = "/v1/counters", tag = "counters", params(ListParams),
    responses((status = 200, description = "A page of counters", body = CounterPage), Problems)
)]
pub(crate) async fn list_counters(call: ReadCall<ListParams>) -> Result<Response, Problem> {
    let (prefix, after, limit) = call.params().page()?;
    let (Answered { answer, applied }, place) =
        call.page(DataQuery::Counters { prefix, after, limit }).await?;
    match answer {
        DataAnswer::Counters { items, next } => {
            let entry = |CounterItem { name, value, index }| CounterEntry { name, value, index };
            let written = place.write(items.into_iter().map(entry)).await?;
            let last = written.last.as_ref().map(|last| last.name.as_str());
            let cursor = if written.is_cut { last } else { next.as_deref() }.map(cursor::written);
            let page = written.answer(&CounterPage { ok: true, items: Vec::new(), cursor })?;
            Ok((applied_header(applied), page).into_response())
        }
        _ => Err(unexpected_answer()),
    }
}
