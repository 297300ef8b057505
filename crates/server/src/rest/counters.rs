//! `/v1/counters`: named totals, in checked 64-bit arithmetic.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::code::Code;
use super::command::at;
use super::extract::{ListParams, Params, ReadParams, Rest, WriteParams, body, json};
use super::kv::PAGE_ITEMS;
use super::problem::{Instead, Problem, Problems};
use super::state::{AppState, not_asked, not_of_this};
use crate::machine::{CounterItem, CounterReply, StoreAnswer, StoreCommand, StoreQuery, StoreReply};

/// What is added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddBody {
    /// How much; taken away if negative.
    pub amount: i64,
}

/// Where a counter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CounterValue {
    /// Always true.
    pub ok: bool,
    /// Its value; 0 for one that nobody added to.
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

/// Adds to a counter. Refused with `overflow`, and nothing changed, where it would leave the range of 64 bits.
#[utoipa::path(
    post, path = "/v1/counters/{name}:add", tag = "counters",
    params(
        ("name" = String, Path, description = "The counter; it may hold slashes"),
        WriteParams,
        ("Idempotency-Key" = Option<String>, Header, description = "`<client>/<sequence>`")
    ),
    request_body = AddBody,
    responses((status = 200, body = CounterValue), Problems)
)]
pub(crate) async fn add(
    State(state): State<AppState>,
    Rest(path): Rest,
    Params(params): Params<WriteParams>,
    uri: Uri,
    headers: HeaderMap,
    sent: Body,
) -> Result<Response, Instead> {
    let Some(name) = path.strip_suffix(":add") else {
        let detail =
            format!("nothing answers at {}; a counter is added to at /v1/counters/<name>:add", uri.path());
        return Err(Problem::new(Code::NoSuchPath, detail).into());
    };
    state.elsewhere(params.redirect, &uri).await?;
    let (how, options) = (state.write_how(params.timeout_ms, &headers)?, state.options());
    let AddBody { amount } = json(&body(sent, options.json_bytes_max, options.read_timeout).await?)?;
    let applied = state.write(StoreCommand::add(name, amount), how).await?;
    let (index, term) = (applied.index, applied.term);
    match &applied.reply {
        StoreReply::Counter(CounterReply::Now { value }) => {
            let now = CounterValue { ok: true, value: *value, index };
            Ok((at(index, term), Json(now)).into_response())
        }
        StoreReply::Counter(CounterReply::Overflow { value }) => {
            let detail = format!("the counter stays at {value}: adding {amount} would overflow it");
            Err(Problem::new(Code::Overflow, detail).into())
        }
        reply => Err(not_of_this(reply).into()),
    }
}

/// Reads a counter. One that nobody added to stands at 0.
#[utoipa::path(
    get, path = "/v1/counters/{name}", tag = "counters",
    params(("name" = String, Path, description = "The counter; it may hold slashes"), ReadParams),
    responses((status = 200, body = CounterValue), Problems)
)]
pub(crate) async fn get_counter(
    State(state): State<AppState>,
    Rest(name): Rest,
    Params(params): Params<ReadParams>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Json<CounterValue>, Instead> {
    state.elsewhere(params.redirect, &uri).await?;
    let how = state.read_how(params.consistency.as_deref(), params.timeout_ms, &headers)?;
    match state.ask(StoreQuery::Counter { name }, how).await? {
        StoreAnswer::Counter(Some(CounterItem { value, index, .. })) => {
            Ok(Json(CounterValue { ok: true, value, index }))
        }
        StoreAnswer::Counter(None) => Ok(Json(CounterValue { ok: true, value: 0, index: 0 })),
        _ => Err(not_asked().into()),
    }
}

/// A page of counters.
#[utoipa::path(
    get, path = "/v1/counters", tag = "counters", params(ListParams),
    responses((status = 200, body = CounterPage), Problems)
)]
pub(crate) async fn list_counters(
    State(state): State<AppState>,
    Params(params): Params<ListParams>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Json<CounterPage>, Instead> {
    state.elsewhere(params.redirect, &uri).await?;
    let how = state.read_how(params.consistency.as_deref(), params.timeout_ms, &headers)?;
    let limit = params.limit.unwrap_or(PAGE_ITEMS);
    let query =
        StoreQuery::Counters { prefix: params.prefix.unwrap_or_default(), after: params.cursor, limit };
    match state.ask(query, how).await? {
        StoreAnswer::Counters { items, next: cursor } => {
            let entry = |CounterItem { name, value, index }| CounterEntry { name, value, index };
            Ok(Json(CounterPage { ok: true, items: items.into_iter().map(entry).collect(), cursor }))
        }
        _ => Err(not_asked().into()),
    }
}
