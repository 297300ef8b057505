//! The table that makes a retry harmless: for each client its last sequence, the command's hash, the reply, and the index
//! (Raft thesis, section 6.3). It is state like the machine's: changed by entries alone, in log order, and part of every
//! snapshot, so every replica decides alike.
//!
//! The hash tells a retry from another command under the same key, which is not applied and not answered with a reply that
//! belongs to the first.
//!
//! Bounds, and what happens there: [`CLIENTS_MAX`] clients, then the one whose last use lies at the lowest index is
//! forgotten; [`KEPT_REPLIES_BYTES_MAX`] of replies, then the reply used least recently is dropped but its sequence is
//! kept. The bounds belong to the format: replicas that differ in them would diverge.
//!
//! What being forgotten means. A command of a forgotten client cannot be told from that of a new one. If its key has
//! [`since`](SessionKey::since), it is refused as *expired* whenever the client may have been forgotten; without it, it is
//! taken for new. So "exactly once" holds permanently only with `since`, and clients of this project send it.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate_core::Index;
use serde::{Deserialize, Serialize};

use super::key::{ClientId, CommandHash, SessionKey};
use super::snapshot::RestoreError;

/// Clients remembered, at most.
pub const CLIENTS_MAX: usize = 4_096;
/// The longest reply that is kept, in bytes. A retry of a command with a longer one is told that it was applied, not
/// what it was answered.
pub const REPLY_BYTES_MAX: usize = 2 << 20;
/// All kept replies together, in bytes, at most.
pub const KEPT_REPLIES_BYTES_MAX: usize = 32 << 20;

/// What is known about a session key under which a command was applied, or may have been. `K` is a reply that was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup<K = Bytes> {
    /// Applied before, at `index`.
    Repeated {
        /// The index of the entry that was applied.
        index: Index,
        /// The reply; `None` if it was too long to keep, or can no longer be read.
        reply: Option<K>,
    },
    /// Another command was applied under this key, at `index`; this one was not, and never will be.
    Mismatch {
        /// The index of the entry that was applied.
        index: Index,
    },
    /// The client went on to `last`. This one was applied before that, or never will be.
    Stale {
        /// The client's newest sequence.
        last: u64,
        /// The index at which that was applied.
        index: Index,
    },
    /// The client may have been known and forgotten, so this one may have been applied before.
    Expired {
        /// Clients last active at or below this index may have been forgotten.
        forgotten_through: Index,
    },
}

impl<K> Lookup<K> {
    /// The same with another form of the reply; none if that is not possible.
    pub(crate) fn with_reply<L>(self, reply_of: impl FnOnce(K) -> Option<L>) -> Lookup<L> {
        match self {
            Self::Repeated { index, reply } => Lookup::Repeated { index, reply: reply.and_then(reply_of) },
            Self::Mismatch { index } => Lookup::Mismatch { index },
            Self::Stale { last, index } => Lookup::Stale { last, index },
            Self::Expired { forgotten_through } => Lookup::Expired { forgotten_through },
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ClientSession {
    sequence: u64,
    /// Of the command that was applied; `None` if a build that did not keep it wrote the snapshot this comes from.
    command: Option<CommandHash>,
    applied_at: Index,
    used_at: Index,
}

/// Which command each client had applied last. See the module's header.
///
/// Invariants: every session is in `by_use` under its `used_at`, and nothing else is; an entry uses one session, so no two
/// share an index; `replies` is keyed like `by_use`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientSessions {
    clients: BTreeMap<ClientId, ClientSession>,
    by_use: BTreeMap<Index, ClientId>,
    replies: BTreeMap<Index, Bytes>,
    replies_bytes: usize,
    forgotten_through: Index,
    limits: Limits,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) clients: usize,
    pub(super) reply_bytes: usize,
    pub(super) replies_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { clients: CLIENTS_MAX, reply_bytes: REPLY_BYTES_MAX, replies_bytes: KEPT_REPLIES_BYTES_MAX }
    }
}

impl Default for ClientSessions {
    fn default() -> Self {
        Self::with_limits(Limits::default())
    }
}

impl ClientSessions {
    pub(super) fn with_limits(limits: Limits) -> Self {
        Self {
            clients: BTreeMap::new(),
            by_use: BTreeMap::new(),
            replies: BTreeMap::new(),
            replies_bytes: 0,
            forgotten_through: Index::ZERO,
            limits,
        }
    }

    /// How many clients are remembered.
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// Looks up the key of the entry at `at`; `None` if it is new: apply the command, then [`record`](Self::record) it. A client
    /// that is known counts as used there, whatever the answer.
    pub fn look_up(&mut self, key: SessionKey, command: CommandHash, at: Index) -> Option<Lookup> {
        let Some(session) = self.clients.get(&key.client).copied() else {
            // A client forgotten had its last use, hence its first, at or below `forgotten_through`; one whose first use
            // lies above was never forgotten.
            let forgotten_through = self.forgotten_through;
            let is_expired = key.since.is_some_and(|since| since < forgotten_through);
            return is_expired.then_some(Lookup::Expired { forgotten_through });
        };
        if key.sequence > session.sequence {
            return None;
        }
        let reply = self.take_use(session.used_at);
        if let Some(reply) = &reply {
            self.keep_reply(at, reply.clone());
        }
        self.put_use(key.client, ClientSession { used_at: at, ..session });
        let index = session.applied_at;
        Some(if key.sequence != session.sequence {
            Lookup::Stale { last: session.sequence, index }
        } else if session.command.is_some_and(|applied| applied != command) {
            Lookup::Mismatch { index }
        } else {
            Lookup::Repeated { index, reply }
        })
    }

    /// Records what the entry at `at` did under `key`; `None` where the reply could not be encoded.
    pub fn record(&mut self, key: SessionKey, command: CommandHash, at: Index, reply: Option<Bytes>) {
        if let Some(before) = self.clients.get(&key.client).copied() {
            self.take_use(before.used_at);
        }
        let (sequence, command) = (key.sequence, Some(command));
        self.put_use(key.client, ClientSession { sequence, command, applied_at: at, used_at: at });
        if let Some(reply) = reply.filter(|reply| reply.len() <= self.limits.reply_bytes) {
            self.keep_reply(at, reply);
        }
        self.forget();
    }

    fn put_use(&mut self, client: ClientId, session: ClientSession) {
        let other = self.by_use.insert(session.used_at, client);
        assert!(other.is_none_or(|other| other == client), "an entry uses one session");
        self.clients.insert(client, session);
    }

    fn take_use(&mut self, used_at: Index) -> Option<Bytes> {
        self.by_use.remove(&used_at);
        let reply = self.replies.remove(&used_at)?;
        self.replies_bytes -= reply.len();
        Some(reply)
    }

    fn keep_reply(&mut self, used_at: Index, reply: Bytes) {
        self.replies_bytes += reply.len();
        self.replies.insert(used_at, reply);
    }

    fn forget(&mut self) {
        while self.clients.len() > self.limits.clients {
            let (used_at, client) = self.by_use.pop_first().expect("every session is in by_use");
            self.take_use(used_at);
            self.clients.remove(&client);
            self.forgotten_through = self.forgotten_through.max(used_at);
        }
        while self.replies_bytes > self.limits.replies_bytes {
            let (_, reply) = self.replies.pop_first().expect("their bytes are counted");
            self.replies_bytes -= reply.len();
        }
    }
}

/// The table in a snapshot: by last use, so that the same table gives the same bytes.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct SessionsImage {
    forgotten_through: Index,
    sessions: Vec<SessionImage>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SessionImage {
    client: ClientId,
    sequence: u64,
    /// Absent in version 1.
    #[serde(default)]
    command: Option<CommandHash>,
    applied_at: Index,
    used_at: Index,
    reply: Option<Bytes>,
}

impl ClientSessions {
    /// Copies the table; the replies are shared.
    pub(super) fn image(&self) -> SessionsImage {
        let image = |(used_at, client): (&Index, &ClientId)| {
            let session = self.clients[client];
            SessionImage {
                client: *client,
                sequence: session.sequence,
                command: session.command,
                applied_at: session.applied_at,
                used_at: *used_at,
                reply: self.replies.get(used_at).cloned(),
            }
        };
        let sessions = self.by_use.iter().map(image).collect();
        SessionsImage { forgotten_through: self.forgotten_through, sessions }
    }

    /// Makes the table again, of a snapshot taken at `applied`.
    pub(super) fn of_image(
        image: SessionsImage,
        limits: Limits,
        applied: Index,
    ) -> Result<Self, RestoreError> {
        let mut table = Self { forgotten_through: image.forgotten_through, ..Self::with_limits(limits) };
        let mut last = image.forgotten_through;
        for SessionImage { client, sequence, command, applied_at, used_at, reply } in image.sessions {
            if used_at <= last
                || applied_at > used_at
                || used_at > applied
                || table.clients.contains_key(&client)
            {
                let detail = format!("session {client}, used at {used_at}, does not fit the table");
                return Err(RestoreError::Invalid { detail });
            }
            last = used_at;
            table.put_use(client, ClientSession { sequence, command, applied_at, used_at });
            if let Some(reply) = reply {
                table.keep_reply(used_at, reply);
            }
        }
        if table.len() > table.limits.clients || table.replies_bytes > table.limits.replies_bytes {
            let detail = format!("{} sessions with {} bytes of replies", table.len(), table.replies_bytes);
            return Err(RestoreError::Invalid { detail });
        }
        Ok(table)
    }
}

#[cfg(test)]
mod tests;
