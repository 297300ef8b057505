//! The client sessions that are free. Each carries one command at a time, and each command a greater sequence than the
//! one before it, with an index that was applied before it was sent. Without that index, a cluster that has forgotten
//! the client would take its retry for a new command and apply it twice (`machine/sessions.rs`).

use std::sync::Mutex;

use quorate_core::Index;

use crate::lock::lock;
use crate::machine::{ClientId, SessionKey};

/// One session between two commands.
#[derive(Debug, Clone, Copy)]
pub(super) struct PooledSession {
    client: ClientId,
    sequence: u64,
    /// Applied before the next command is sent.
    since: Index,
}

impl PooledSession {
    /// The key of its next command.
    pub(super) fn next(&mut self) -> SessionKey {
        self.sequence += 1;
        SessionKey::new(self.client, self.sequence).since(self.since)
    }
}

/// Holds as many sessions as were ever under way at once. The lock is never held across an await.
#[derive(Debug, Default)]
pub(super) struct ClientSessionPool(Mutex<Pool>);

#[derive(Debug, Default)]
struct Pool {
    free: Vec<PooledSession>,
    /// The newest index known to be applied; a command that is sent later is applied after it. Zero is always true.
    applied: Index,
}

impl ClientSessionPool {
    /// A free session, or a new one.
    pub(super) fn take(&self, new: impl FnOnce() -> ClientId) -> PooledSession {
        let mut pool = lock(&self.0);
        let since = pool.applied;
        let free = pool.free.pop().map(|session| PooledSession { since, ..session });
        free.unwrap_or_else(|| PooledSession { client: new(), sequence: 0, since })
    }

    /// Gives a session back, once its command will not be sent again.
    pub(super) fn give(&self, session: PooledSession) {
        lock(&self.0).free.push(session);
    }

    /// A reply showed that this index is applied.
    pub(super) fn applied(&self, index: u64) {
        let mut pool = lock(&self.0);
        pool.applied = pool.applied.max(Index(index));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_12_no_two_commands_share_a_key() {
        let sessions = ClientSessionPool::default();
        let (mut one, mut other) = (sessions.take(|| ClientId(1)), sessions.take(|| ClientId(2)));
        let (a, b) = (one.next(), other.next());
        assert_ne!(a.client, b.client, "two commands under way have two sessions");
        sessions.give(one);
        let mut again = sessions.take(|| ClientId(3));
        let c = again.next();
        assert_eq!((c.client, c.sequence), (a.client, a.sequence + 1));
    }

    #[test]
    fn rule_12_bug_76_every_command_says_since_when() {
        let sessions = ClientSessionPool::default();
        let mut first = sessions.take(|| ClientId(1));
        assert_eq!(first.next().since, Some(Index::ZERO), "before anything is known, too");
        sessions.applied(7);
        sessions.applied(5);
        assert_eq!(sessions.take(|| ClientId(2)).next().since, Some(Index(7)));
        sessions.give(first);
        let again = sessions.take(|| ClientId(3)).next();
        assert_eq!((again.client, again.sequence, again.since), (ClientId(1), 2, Some(Index(7))));
    }
}
