//! The log as people read it: what stands on this node's disk, entry by entry. For status pages and for tests; the
//! machine never sees it this way.

use std::time::Duration;

use quorate_core::{Entry, EntryKind, Index};
use tokio::time::timeout;

use crate::error::QueryError;
use crate::group::{Condition, GroupHandle, GroupMessage};
use crate::machine::{Envelope, SessionKey, StateMachine};

/// About how many bytes of entries one look at the log reads.
pub(crate) const LOOK_BYTES_MAX: usize = 4 << 20;
/// How long the log store is waited for.
const LOOK_PATIENCE: Duration = Duration::from_secs(5);

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry<C> {
    /// Its place.
    pub index: u64,
    /// The term of the leader that appended it.
    pub term: u64,
    /// What it is.
    pub kind: EntryKind,
    /// The leader's wall clock at append, in milliseconds since 1970.
    pub time_ms: u64,
    /// Its payload, in bytes.
    pub bytes: usize,
    /// The chain hash up to and including it, as hex.
    pub chain: String,
    /// The session the command was proposed under, if any.
    pub session: Option<SessionKey>,
    /// The command, if it is one and this build can read it.
    pub command: Option<C>,
}

impl<M: StateMachine> GroupHandle<M> {
    /// Entries from index `from` (1 is the first) that are on this node's disk, at most `limit`, and about 4 MiB of
    /// them (at least one). They may be uncommitted: compare with the commit index in [`status`](Self::status). Refused
    /// where `from` is past the end, or was compacted.
    pub async fn log(&self, from: u64, limit: u64) -> Result<Vec<LogEntry<M::Command>>, QueryError> {
        let not_ready = |detail: &str| QueryError::NotReady { detail: detail.to_owned() };
        let (group, condition) = {
            let routes = self.routes();
            let route = routes.borrow();
            (route.group.clone(), route.condition.clone())
        };
        if let Condition::Stopped(detail) = condition {
            return Err(QueryError::Stopped { detail });
        }
        let group = group.ok_or_else(|| not_ready("the group is being restarted"))?;
        let through = Index(from.saturating_add(limit.max(1) - 1));
        let (sender, answer) = tokio::sync::oneshot::channel();
        let look = GroupMessage::Look { from: Index(from.max(1)), through, reply: sender.into() };
        group.cast(look).map_err(|_| not_ready("the group is being restarted"))?;
        match timeout(LOOK_PATIENCE, answer).await {
            Ok(Ok(Ok(entries))) => Ok(entries.iter().map(read).collect()),
            Ok(Ok(Err(error))) => Err(not_ready(&error.to_string())),
            Ok(Err(_)) => Err(not_ready("the log store is being restarted")),
            Err(_) => Err(not_ready("the log store did not answer in time")),
        }
    }
}

fn read<C: serde::de::DeserializeOwned>(entry: &Entry) -> LogEntry<C> {
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
        session: envelope.as_ref().and_then(|envelope| envelope.session),
        command: envelope.and_then(|envelope| envelope.command().ok()),
    }
}
