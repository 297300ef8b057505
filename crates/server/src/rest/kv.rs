//! `/v1/kv`: keys, with their values as raw bytes.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};
use quorate::machine::{KvAnswer, KvCommand, KvExpected, KvQuery, KvReply, VALUE_BYTES_MAX, Versioned};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::code::Code;
use super::command::{INDEX_HEADER, SetDone, at};
use super::extract::{Condition, ListParams, Params, ReadParams, Rest, WriteParams, body, condition};
use super::problem::{Instead, Problem, Problems};
use super::state::{AppState, not_asked, not_of_this};
use super::text::{Encoding, text_of};
use crate::machine::{StoreAnswer, StoreQuery, StoreReply};

/// Items on a page, where nobody says.
pub(crate) const PAGE_ITEMS: u32 = 100;

/// A page of keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KvPage {
    /// Always true.
    pub ok: bool,
    /// In order of their keys' bytes.
    pub items: Vec<KvEntry>,
    /// Where there is more: ask again with this `cursor`.
    #[schema(required)]
    pub cursor: Option<String>,
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KvEntry {
    /// The key.
    pub key: String,
    /// Its value.
    pub value: String,
    /// There if the value is no text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<Encoding>,
    /// Its version: the index of the entry that set it.
    pub index: u64,
}

/// To a delete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KvDeleted {
    /// Always true.
    pub ok: bool,
    /// Whether there was a value.
    pub deleted: bool,
    /// The index of the entry.
    pub index: u64,
    /// The term of the entry.
    pub term: u64,
}

/// Reads a key: its value as raw bytes, its version in `Quorate-Index` and `ETag`.
#[utoipa::path(
    get, path = "/v1/kv/{key}", tag = "keys",
    params(("key" = String, Path, description = "The key; it may hold slashes"), ReadParams),
    responses(
        (status = 200, body = Vec<u8>, content_type = "application/octet-stream",
            headers(("Quorate-Index" = u64, description = "The version: the index of the entry that set it"))),
        (status = 404, body = super::problem::ProblemBody, content_type = "application/problem+json",
            description = "The key has no value: `not_found`"),
        Problems
    )
)]
pub(crate) async fn get_key(
    State(state): State<AppState>,
    Rest(key): Rest,
    Params(params): Params<ReadParams>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Instead> {
    state.elsewhere(params.redirect, &uri).await?;
    let how = state.read_how(params.consistency.as_deref(), params.timeout_ms, &headers)?;
    match state.ask(KvQuery::get(key.clone()), how).await? {
        StoreAnswer::Kv(KvAnswer::Value(Some(Versioned { value, index }))) => {
            let mut response = value.into_response();
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
            headers.insert(INDEX_HEADER, index.0.into());
            let tag = format!("\"{index}\"");
            headers.insert(header::ETAG, HeaderValue::try_from(tag).expect("digits in quotes"));
            Ok(response)
        }
        StoreAnswer::Kv(KvAnswer::Value(None)) => {
            Err(Problem::new(Code::NotFound, format!("key {key:?} has no value")).into())
        }
        _ => Err(not_asked().into()),
    }
}

/// Sets a key to the bytes of the body. `If-Match: "<version>"` or `If-None-Match: *` make it conditional.
#[utoipa::path(
    put, path = "/v1/kv/{key}", tag = "keys",
    params(
        ("key" = String, Path, description = "The key; it may hold slashes"),
        WriteParams,
        ("If-Match" = Option<String>, Header, description = "The version the key must have"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: the key must have no value"),
        ("Idempotency-Key" = Option<String>, Header, description = "`<client>/<sequence>`")
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = 200, body = SetDone),
        (status = 412, body = super::problem::ProblemBody, content_type = "application/problem+json",
            description = "The condition does not hold; `index` is the key's version"),
        Problems
    )
)]
pub(crate) async fn put_key(
    State(state): State<AppState>,
    Rest(key): Rest,
    Params(params): Params<WriteParams>,
    uri: Uri,
    headers: HeaderMap,
    sent: Body,
) -> Result<Response, Instead> {
    state.elsewhere(params.redirect, &uri).await?;
    let (how, condition) = (state.write_how(params.timeout_ms, &headers)?, condition(&headers)?);
    let value = body(sent, VALUE_BYTES_MAX, state.options().read_timeout).await?;
    let command = match expected(condition) {
        None => KvCommand::Set { key, value },
        Some(expected) => KvCommand::CompareAndSet { key, expected, value: Some(value) },
    };
    let applied = state.write(command, how).await?;
    let (index, term) = (applied.index, applied.term);
    match &applied.reply {
        StoreReply::Kv(KvReply::Set { .. } | KvReply::Swapped { .. }) => {
            Ok((at(index, term), Json(SetDone { ok: true, index, term })).into_response())
        }
        reply => Err(not_held(reply).into()),
    }
}

/// Deletes a key. `If-Match: "<version>"` makes it conditional.
#[utoipa::path(
    delete, path = "/v1/kv/{key}", tag = "keys",
    params(
        ("key" = String, Path, description = "The key; it may hold slashes"),
        WriteParams,
        ("If-Match" = Option<String>, Header, description = "The version the key must have"),
        ("Idempotency-Key" = Option<String>, Header, description = "`<client>/<sequence>`")
    ),
    responses(
        (status = 200, body = KvDeleted),
        (status = 412, body = super::problem::ProblemBody, content_type = "application/problem+json",
            description = "The condition does not hold; `index` is the key's version"),
        Problems
    )
)]
pub(crate) async fn delete_key(
    State(state): State<AppState>,
    Rest(key): Rest,
    Params(params): Params<WriteParams>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Instead> {
    state.elsewhere(params.redirect, &uri).await?;
    let (how, condition) = (state.write_how(params.timeout_ms, &headers)?, condition(&headers)?);
    let command = match expected(condition) {
        None => KvCommand::Delete { key },
        Some(expected) => KvCommand::CompareAndSet { key, expected, value: None },
    };
    let applied = state.write(command, how).await?;
    let (index, term) = (applied.index, applied.term);
    match &applied.reply {
        StoreReply::Kv(KvReply::Deleted { previous } | KvReply::Swapped { previous }) => {
            let deleted = previous.is_some();
            Ok((at(index, term), Json(KvDeleted { ok: true, deleted, index, term })).into_response())
        }
        reply => Err(not_held(reply).into()),
    }
}

/// A page of keys.
#[utoipa::path(
    get, path = "/v1/kv", tag = "keys", params(ListParams),
    responses((status = 200, body = KvPage), Problems)
)]
pub(crate) async fn list_keys(
    State(state): State<AppState>,
    Params(params): Params<ListParams>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Json<KvPage>, Instead> {
    state.elsewhere(params.redirect, &uri).await?;
    let how = state.read_how(params.consistency.as_deref(), params.timeout_ms, &headers)?;
    let limit = params.limit.unwrap_or(PAGE_ITEMS);
    let query = KvQuery::List { prefix: params.prefix.unwrap_or_default(), after: params.cursor, limit };
    match state.ask(StoreQuery::Kv(query), how).await? {
        StoreAnswer::Kv(KvAnswer::List { items, next: cursor }) => {
            let entry = |item: quorate::machine::KvItem| {
                let (value, encoding) = text_of(&item.value);
                KvEntry { key: item.key, value, encoding, index: item.index.0 }
            };
            Ok(Json(KvPage { ok: true, items: items.into_iter().map(entry).collect(), cursor }))
        }
        _ => Err(not_asked().into()),
    }
}

fn expected(condition: Condition) -> Option<KvExpected> {
    match condition {
        Condition::None => None,
        Condition::Absent => Some(KvExpected::Absent),
        Condition::Version(index) => Some(KvExpected::Index(index)),
    }
}

fn not_held(reply: &StoreReply) -> Problem {
    let StoreReply::Kv(KvReply::Kept { current }) = reply else { return not_of_this(reply) };
    let index = current.as_ref().map(|current| current.index.0);
    let detail = match index {
        Some(index) => format!("the key has version {index}"),
        None => "the key has no value".to_owned(),
    };
    Problem { index, ..Problem::new(Code::PreconditionFailed, detail) }
}
