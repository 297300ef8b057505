//! The log as people read it: the entries on this node's disk. For status pages and for tests; the machine never sees it
//! this way.

use std::pin::Pin;
use std::time::Duration;

use quorate_core::{Entry, EntryKind, Index};
use tokio::time::timeout;

use crate::error::QueryError;
use crate::handle::group::GroupHandle;
use crate::machine::{CommandKey, Envelope, StateMachine};
use crate::messages::group::GroupMessage;
use crate::route::{Condition, Route};

/// How long the log store is waited for.
const READ_MAX: Duration = Duration::from_secs(5);

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry<C> {
    /// Its index.
    pub index: u64,
    /// The term of the leader that appended it.
    pub term: u64,
    /// No-op, command or membership.
    pub kind: EntryKind,
    /// The leader's wall clock at append, in milliseconds since 1970.
    pub time_ms: u64,
    /// Its payload, in bytes.
    pub bytes: usize,
    /// The chain hash up to and including it, as hex.
    pub chain: String,
    /// The key the command was proposed under, if any.
    pub key: Option<CommandKey>,
    /// The command, if it is one and this build can read it.
    pub command: Option<C>,
}

impl<M: StateMachine> GroupHandle<M> {
    /// Entries from index `from` (1 is the first) that are on this node's disk, at most `limit`, and about 4 MiB of
    /// them (at least one). They may be uncommitted: compare with the commit index in [`status`](Self::status). Refused
    /// where `from` is past the end, or was compacted.
    pub async fn log(&self, from: u64, limit: u64) -> Result<Vec<LogEntry<M::Command>>, QueryError> {
        let route = self.routes().borrow().clone();
        let entries = read_entries(route, from, limit).await?;
        Ok(entries.iter().map(describe).collect())
    }
}

/// In a box, so that it is compiled with this crate.
fn read_entries(
    route: Route,
    from: u64,
    limit: u64,
) -> Pin<Box<dyn Future<Output = Result<Vec<Entry>, QueryError>> + Send>> {
    let restarting = |actor: &str| QueryError::not_ready(format!("{actor} is being restarted"));
    Box::pin(async move {
        if let Condition::Stopped(detail) = route.condition {
            return Err(QueryError::Stopped { detail });
        }
        let group = route.group.ok_or_else(|| restarting("the group"))?;
        let through = Index(from.saturating_add(limit.max(1) - 1));
        let (sender, answer) = tokio::sync::oneshot::channel();
        let read = GroupMessage::ReadLog { from: Index(from.max(1)), through, reply: sender.into() };
        group.cast(read).map_err(|_| restarting("the group"))?;
        match timeout(READ_MAX, answer).await {
            Ok(Ok(Ok(entries))) => Ok(entries),
            Ok(Ok(Err(error))) => Err(QueryError::not_ready(error.to_string())),
            Ok(Err(_)) => Err(restarting("the log store")),
            Err(_) => Err(QueryError::not_ready("the log store did not answer in time")),
        }
    })
}

fn describe<C: serde::de::DeserializeOwned>(entry: &Entry) -> LogEntry<C> {
    let envelope = match entry.kind {
        EntryKind::Command => Envelope::decode(&entry.payload).ok(),
        EntryKind::Noop | EntryKind::Membership => None,
    };
    LogEntry {
        index: entry.index.0,
        term: entry.term.0,
        kind: entry.kind,
        time_ms: entry.time_ms,
        bytes: entry.payload.len(),
        chain: entry.chain.to_string(),
        key: envelope.as_ref().and_then(|envelope| envelope.key),
        command: envelope.and_then(|envelope| envelope.command().ok()),
    }
}
