//! `/v1/log` and `/api/logs`: the log as it stands on this node's disk.

use axum::extract::State;
use axum::response::Response;
use quorate::machine::{KvCommand, KvExpected};
use quorate::{Consistency, EntryKind, LogEntry};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::code::Code;
use super::params::{Params, limited};
use super::problem::{Problem, Problems};
use super::state::AppState;
use super::text::{Encoding, text_of};
use crate::machine::{CounterCommand, DataCommand};

/// Entries on a page where the request names no `limit`.
const LOG_ITEMS: u64 = 100;
/// The most entries on a page.
const LOG_ITEMS_MAX: u64 = 1_000;

/// Which entries.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LogParams {
    /// The first index; if absent, the newest entries. If the log begins later, those from there on.
    pub(crate) from: Option<u64>,
    /// How many, at most: 1 to 1000; 100 if absent. A page also ends at about 4 MiB.
    #[param(minimum = 1, maximum = 1000)]
    pub(crate) limit: Option<u64>,
}

/// A stretch of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogPage {
    /// Always true.
    pub ok: bool,
    /// Whose log.
    pub node: String,
    /// In order.
    pub entries: Vec<LogLine>,
    /// The first index that this node still has: snapshots stand for those before it.
    pub first_index: u64,
    /// The last index on this node's disk.
    pub last_index: u64,
    /// The commit index: entries beyond it may yet be replaced.
    pub commit_index: u64,
    /// Where there is more: ask again with `from` set to it.
    #[schema(required)]
    pub next: Option<u64>,
}

/// An entry of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogLine {
    /// Its place.
    pub index: u64,
    /// The term of the leader that appended it.
    pub term: u64,
    /// `command`, `membership`, or `noop`, with which a leader begins its term.
    pub kind: String,
    /// The leader's wall clock at append, in milliseconds since 1970.
    pub time_ms: u64,
    /// The size of its payload.
    pub bytes: u64,
    /// The chain hash up to and including it, its first 16 hex digits: the same on all nodes.
    pub chain: String,
    /// The command; null if it is none, or this build cannot read it.
    #[schema(required)]
    pub command: Option<LoggedCommand>,
}

/// A command in the log, in the words of `POST /command`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct LoggedCommand {
    /// `set`, `delete` or `cas` of a key; `add`, `set_counter` or `delete_counter`.
    pub operation: String,
    /// The key, or the counter's name.
    pub key: String,
    /// What is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// There if `value` is no text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<Encoding>,
    /// Under `cas`: what must be there, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// Under `add`: how much; under `set_counter`: what it is then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<i64>,
}

/// The log's entries on this node.
#[utoipa::path(
    get, path = "/v1/log", tag = "cluster", params(LogParams),
    responses((status = 200, description = "A stretch of the log", body = LogPage), Problems)
)]
pub(crate) async fn log(
    State(state): State<AppState>,
    Params(params): Params<LogParams>,
) -> Result<Response, Problem> {
    let Some(role) = state.group().status().await.role else {
        return Err(Problem::new(Code::NotReady, "the replica is being restarted"));
    };
    let (last_index, commit_index) = (role.durable.min(role.last), role.commit);
    let limit = limited(params.limit.unwrap_or(LOG_ITEMS), LOG_ITEMS_MAX)?;
    let from = params.from.unwrap_or_else(|| (last_index + 1).saturating_sub(limit)).max(role.first.max(1));
    let place = state.page_place(Consistency::Stale, state.options().call_timeout).await?;
    let entries = if from > last_index { Vec::new() } else { state.group().log(from, limit).await? };
    let written = place.write(entries.into_iter().map(line)).await?;
    let next = written.last.as_ref().map(|entry| entry.index + 1).filter(|next| *next <= last_index);
    let page = LogPage {
        ok: true,
        node: state.node().id().to_string(),
        entries: Vec::new(),
        first_index: role.first,
        last_index,
        commit_index,
        next,
    };
    written.answer(&page)
}

fn line(entry: LogEntry<DataCommand>) -> LogLine {
    let kind = match entry.kind {
        EntryKind::Command => "command",
        EntryKind::Membership => "membership",
        EntryKind::Noop => "noop",
    };
    LogLine {
        index: entry.index,
        term: entry.term,
        kind: kind.to_owned(),
        time_ms: entry.time_ms,
        bytes: entry.bytes as u64,
        chain: entry.chain,
        command: entry.command.map(logged),
    }
}

impl From<DataCommand> for LoggedCommand {
    fn from(command: DataCommand) -> Self {
        logged(command)
    }
}

fn logged(command: DataCommand) -> LoggedCommand {
    let of = |operation: &str, key: String| LoggedCommand {
        operation: operation.to_owned(),
        key,
        ..LoggedCommand::default()
    };
    match command {
        DataCommand::Kv(KvCommand::Set { key, value }) => with_value(of("set", key), Some(&value)),
        DataCommand::Kv(KvCommand::Delete { key }) => of("delete", key),
        DataCommand::Kv(KvCommand::CompareAndSet { key, expected, value }) => {
            let expected = match expected {
                KvExpected::Absent => "no value".to_owned(),
                KvExpected::Value(value) => format!("value {}", text_of(&value).0),
                KvExpected::Index(index) => format!("version {index}"),
                KvExpected::Present => "any value".to_owned(),
            };
            LoggedCommand { expected: Some(expected), ..with_value(of("cas", key), value.as_ref()) }
        }
        DataCommand::Counter(CounterCommand::Add { name, amount }) => {
            LoggedCommand { amount: Some(amount), ..of("add", name) }
        }
        DataCommand::Counter(CounterCommand::Set { name, value }) => {
            LoggedCommand { amount: Some(value), ..of("set_counter", name) }
        }
        DataCommand::Counter(CounterCommand::Delete { name }) => of("delete_counter", name),
    }
}

fn with_value(command: LoggedCommand, value: Option<&bytes::Bytes>) -> LoggedCommand {
    let (value, encoding) = super::text::optional_text_of(value);
    LoggedCommand { value, encoding, ..command }
}
