//! What is remembered of the keys under which commands were applied: client sessions, and opaque keys beside them.
//!
//! An opaque key is kept as a session with this one command, in a table of its own: a flood of keys that are never used
//! again must not push out the clients that count.
//!
//! Bounds: those of `sessions` for clients; [`KEYS_MAX`] opaque keys, then the one whose last use lies at the lowest index is
//! forgotten; as many bytes of replies again. An opaque key says nothing of when it was first used, so a retry that comes
//! after it was forgotten is taken for new.

use bytes::Bytes;
use quorate_core::Index;

use super::key::{ClientId, CommandHash, CommandKey, SessionKey};
use super::sessions::{ClientSessions, Limits, Lookup, SessionsImage};
use super::snapshot::RestoreError;

/// Opaque keys remembered, at most. It belongs to the format, as the bounds of sessions do.
pub const KEYS_MAX: usize = 65_536;

/// Both kinds of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyTable {
    pub(super) sessions: ClientSessions,
    opaque: ClientSessions,
}

fn opaque_limits() -> Limits {
    Limits { clients: KEYS_MAX, ..Limits::default() }
}

impl Default for KeyTable {
    fn default() -> Self {
        Self { sessions: ClientSessions::default(), opaque: ClientSessions::with_limits(opaque_limits()) }
    }
}

impl KeyTable {
    /// Looks up the key of the entry at `at`.
    pub(super) fn look_up(&mut self, key: CommandKey, command: CommandHash, at: Index) -> Option<Lookup> {
        let (table, key) = self.table_of(key);
        table.look_up(key, command, at)
    }

    /// Records what the entry at `at` did under `key`.
    pub(super) fn record(&mut self, key: CommandKey, command: CommandHash, at: Index, reply: Option<Bytes>) {
        let (table, key) = self.table_of(key);
        table.record(key, command, at, reply);
    }

    fn table_of(&mut self, key: CommandKey) -> (&mut ClientSessions, SessionKey) {
        match key {
            CommandKey::Session(key) => (&mut self.sessions, key),
            CommandKey::Opaque(key) => (&mut self.opaque, SessionKey::new(ClientId(key.0), 0)),
        }
    }

    /// Copies the sessions and the opaque keys; the replies are shared.
    pub(super) fn images(&self) -> (SessionsImage, SessionsImage) {
        (self.sessions.image(), self.opaque.image())
    }

    /// Makes the table again, of a snapshot taken at `applied`.
    pub(super) fn of_images(
        sessions: SessionsImage,
        opaque: SessionsImage,
        applied: Index,
    ) -> Result<Self, RestoreError> {
        Ok(Self {
            sessions: ClientSessions::of_image(sessions, Limits::default(), applied)?,
            opaque: ClientSessions::of_image(opaque, opaque_limits(), applied)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::IdempotencyKey;

    fn opaque(key: u128) -> CommandKey {
        IdempotencyKey(key).into()
    }

    fn session(client: u128, sequence: u64) -> CommandKey {
        SessionKey::new(ClientId(client), sequence).into()
    }

    const COMMAND: CommandHash = CommandHash(7);

    fn applied(table: &mut KeyTable, key: CommandKey, at: u64) {
        assert_eq!(table.look_up(key, COMMAND, Index(at)), None, "at {at}");
        table.record(key, COMMAND, Index(at), None);
    }

    #[test]
    fn a_key_is_one_command_and_no_client() {
        let mut table = KeyTable::default();
        applied(&mut table, opaque(1), 1);
        applied(&mut table, session(1, 0), 2);
        let repeated = |index| Some(Lookup::Repeated { index: Index(index), reply: None });
        assert_eq!(table.look_up(opaque(1), COMMAND, Index(3)), repeated(1));
        assert_eq!(table.look_up(session(1, 0), COMMAND, Index(4)), repeated(2));
        let other = table.look_up(opaque(1), CommandHash(8), Index(5));
        assert_eq!(other, Some(Lookup::Mismatch { index: Index(1) }));
    }

    #[test]
    fn keys_do_not_push_out_clients_and_are_bounded_themselves() {
        let mut table = KeyTable::default();
        applied(&mut table, session(0, 1), 1);
        let full = KEYS_MAX as u64;
        for key in 2..=full + 2 {
            applied(&mut table, opaque(key.into()), key);
        }
        let at = Index(full + 3);
        assert!(matches!(table.look_up(session(0, 1), COMMAND, at), Some(Lookup::Repeated { .. })));
        assert_eq!(table.look_up(opaque(2), COMMAND, at.next()), None, "the oldest is forgotten");
        assert!(matches!(table.look_up(opaque(3), COMMAND, at.next()), Some(Lookup::Repeated { .. })));
        let (sessions, keys) = table.images();
        let back = KeyTable::of_images(sessions, keys, Index(full + 4)).expect("an image is valid");
        assert_eq!(back, table);
    }
}
