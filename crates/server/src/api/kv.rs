//! `/v1/kv`: keys, with their values as raw bytes.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use quorate::machine::{KvAnswer, KvCommand, KvQuery, KvReply, Versioned};
use quorate::{Answered, Index};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::ValueBody;
use super::call::{ReadCall, WriteCall, unexpected_answer, unexpected_reply};
use super::code::Code;
use super::command::SetDone;
use super::conditions::{ReadConditions, ReadVerdict, WriteCondition};
use super::cursor;
use super::headers::{INDEX_HEADER, applied_header, entry_headers};
use super::params::{ListParams, PathName, ReadParams, WriteParams};
use super::problem::{Problem, Problems};
use super::text::{Encoding, text_of};
use crate::machine::{DataAnswer, DataQuery, DataReply};

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
    params(
        ("key" = String, Path, description = "The key; it may hold slashes"),
        ReadParams,
        ("If-Match" = Option<String>, Header, description = "Versions, one of which the key must have; or `*`: any"),
        ("If-None-Match" = Option<String>, Header, description = "Versions that the client has; or `*`: any")
    ),
    responses(
        (status = 200, description = "The value", body = Vec<u8>, content_type = "application/octet-stream",),
        (status = 304, description = "The client has this version: `If-None-Match`"),
        (status = 404, body = super::problem::ProblemBody, content_type = "application/problem+json",
            description = "The key has no value: `not_found`"),
        (status = 412, body = super::problem::ProblemBody, content_type = "application/problem+json",
            description = "The key has none of the versions in `If-Match`; `index` is its version"),
        Problems
    )
)]
pub(crate) async fn get_key(
    PathName(key): PathName,
    call: ReadCall,
    conditions: ReadConditions,
) -> Result<Response, Problem> {
    let Answered { answer, applied } = call.query(KvQuery::get(key.clone()).into()).await?;
    let DataAnswer::Kv(KvAnswer::Value(found)) = answer else { return Err(unexpected_answer()) };
    let version = found.as_ref().map(|found| found.index);
    let mut response = match (conditions.check(version), found) {
        (ReadVerdict::Failed, _) => wrong_version(version).into_response(),
        (ReadVerdict::NotModified, _) => StatusCode::NOT_MODIFIED.into_response(),
        (ReadVerdict::Answered, Some(Versioned { value, .. })) => {
            let content = HeaderValue::from_static("application/octet-stream");
            ([(header::CONTENT_TYPE, content)], value).into_response()
        }
        (ReadVerdict::Answered, None) => {
            Problem::new(Code::NotFound, format!("key {key:?} has no value")).into_response()
        }
    };
    let headers = response.headers_mut();
    headers.extend(applied_header(applied));
    if let Some(index) = version {
        headers.insert(INDEX_HEADER, index.0.into());
        let tag = format!("\"{index}\"");
        headers.insert(header::ETAG, HeaderValue::try_from(tag).expect("digits in quotes"));
    }
    Ok(response)
}

/// Sets a key to the bytes of the body. `If-Match: "<version>"`, `If-Match: *` or `If-None-Match: *` make it conditional.
#[utoipa::path(
    put, path = "/v1/kv/{key}", tag = "keys",
    params(
        ("key" = String, Path, description = "The key; it may hold slashes"),
        WriteParams,
        ("If-Match" = Option<String>, Header, description = "The version the key must have; or `*`: any"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: the key must have no value")
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = 200, description = "The key is set", body = SetDone),
        (status = 412, body = super::problem::ProblemBody, content_type = "application/problem+json",
            description = "The condition does not hold; `index` is the key's version"),
        Problems
    )
)]
pub(crate) async fn put_key(
    PathName(key): PathName,
    call: WriteCall,
    condition: WriteCondition,
    ValueBody(value, _held): ValueBody,
) -> Result<Response, Problem> {
    let command = match condition.expected() {
        None => KvCommand::Set { key, value },
        Some(expected) => KvCommand::CompareAndSet { key, expected, value: Some(value) },
    };
    let applied = call.propose(command.into(), call.until()).await?;
    let (index, term) = (applied.index, applied.term);
    match &applied.reply {
        DataReply::Kv(KvReply::Set { .. } | KvReply::Swapped { .. }) => {
            Ok((entry_headers(index, term), Json(SetDone { ok: true, index, term })).into_response())
        }
        reply => Err(not_held(reply)),
    }
}

/// Deletes a key. `If-Match: "<version>"` or `If-Match: *` makes it conditional.
#[utoipa::path(
    delete, path = "/v1/kv/{key}", tag = "keys",
    params(
        ("key" = String, Path, description = "The key; it may hold slashes"),
        WriteParams,
        ("If-Match" = Option<String>, Header, description = "The version the key must have; or `*`: any")
    ),
    responses(
        (status = 200, description = "The key has no value", body = KvDeleted),
        (status = 412, body = super::problem::ProblemBody, content_type = "application/problem+json",
            description = "The condition does not hold; `index` is the key's version"),
        Problems
    )
)]
pub(crate) async fn delete_key(
    PathName(key): PathName,
    call: WriteCall,
    condition: WriteCondition,
) -> Result<Response, Problem> {
    let command = match condition.expected() {
        None => KvCommand::Delete { key },
        Some(expected) => KvCommand::CompareAndSet { key, expected, value: None },
    };
    let applied = call.propose(command.into(), call.until()).await?;
    let (index, term) = (applied.index, applied.term);
    match &applied.reply {
        DataReply::Kv(KvReply::Deleted { previous } | KvReply::Swapped { previous }) => {
            let deleted = previous.is_some();
            Ok((entry_headers(index, term), Json(KvDeleted { ok: true, deleted, index, term }))
                .into_response())
        }
        reply => Err(not_held(reply)),
    }
}

/// A page of keys.
#[utoipa::path(
    get, path = "/v1/kv", tag = "keys", params(ListParams),
    responses((status = 200, description = "A page of keys", body = KvPage), Problems)
)]
pub(crate) async fn list_keys(call: ReadCall<ListParams>) -> Result<Response, Problem> {
    let (prefix, after, limit) = call.params().page()?;
    let (Answered { answer, applied }, place) =
        call.page(DataQuery::Kv(KvQuery::List { prefix, after, limit })).await?;
    match answer {
        DataAnswer::Kv(KvAnswer::List { items, next }) => {
            let entry = |item: quorate::machine::KvItem| {
                let (value, encoding) = text_of(&item.value);
                KvEntry { key: item.key, value, encoding, index: item.index.0 }
            };
            let written = place.write(items.into_iter().map(entry)).await?;
            let last = written.last.as_ref().map(|last| last.key.as_str());
            let cursor = if written.is_cut { last } else { next.as_deref() }.map(cursor::written);
            let page = written.answer(&KvPage { ok: true, items: Vec::new(), cursor })?;
            Ok((applied_header(applied), page).into_response())
        }
        _ => Err(unexpected_answer()),
    }
}

/// The condition did not hold: a problem with the version that the key has.
fn not_held(reply: &DataReply) -> Problem {
    match reply {
        DataReply::Kv(KvReply::Kept { current }) => {
            wrong_version(current.as_ref().map(|current| current.index))
        }
        reply => unexpected_reply(reply),
    }
}

/// `precondition_failed`, with the version that the key has.
fn wrong_version(version: Option<Index>) -> Problem {
    let index = version.map(|version| version.0);
    let detail = match index {
        Some(index) => format!("the key has version {index}"),
        None => "the key has no value".to_owned(),
    };
    Problem { index, ..Problem::new(Code::PreconditionFailed, detail) }
}
