//! Under which key a command is proposed, so that a retry is recognised: a client session (Raft thesis, section 6.3), or a
//! text that names this one command. `sessions` remembers both.

use std::fmt;

use quorate_core::Index;
use serde::{Deserialize, Serialize};

/// Keeps the ids of opaque keys apart from those of clients: a client and a key of the same text are two.
const KEY_CONTEXT: &str = "quorate 2026-11-30 idempotency key";

/// Names one client session. Draw it at random, or derive it from a name that no other client uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClientId(pub u128);

impl ClientId {
    /// The id that belongs to a name: the first 128 bits of its blake3.
    pub fn of_name(name: &str) -> Self {
        Self(first_128_bits(blake3::hash(name.as_bytes())))
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// What makes a retry of a command recognisable: propose it again under the same key, and it takes effect once
/// (Raft thesis, section 6.3).
///
/// A client has one command under way at a time, and gives the next one a later sequence: once a later sequence of its client is
/// applied, a command with an earlier one is not applied any more. Whether it was before is not kept, so its proposer is told
/// that this is unknown ([`StaleSequence`](crate::ProposeError::StaleSequence)). A client that wants several under way takes
/// several ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SessionKey {
    /// The client session.
    pub client: ClientId,
    /// Counts the commands of the session, from 0 to [`SEQUENCE_MAX`](Self::SEQUENCE_MAX).
    pub sequence: u64,
    /// An index that was applied before this client first used its id, the same for all its commands. With it, a client
    /// that was forgotten is told so and cannot have a command applied twice; without it, a retry that comes after
    /// [`CLIENTS_MAX`](super::CLIENTS_MAX) other clients were active is taken for new.
    pub since: Option<Index>,
}

impl SessionKey {
    /// A key without `since`.
    pub fn new(client: ClientId, sequence: u64) -> Self {
        Self { client, sequence, since: None }
    }

    /// With an index that was applied before this client first used its id.
    #[must_use]
    pub fn since(self, since: Index) -> Self {
        Self { since: Some(since), ..self }
    }

    /// The greatest sequence that is accepted: half of all numbers, so that a number drawn at random or a negative one by
    /// mistake does not end its client's name. A clock in nanoseconds fits. Logs may hold greater ones, and they count there as
    /// they did.
    pub const SEQUENCE_MAX: u64 = u64::MAX >> 1;
}

/// The id of an opaque key, which names one command: proposed again under the same key, it takes effect once. Keys have no
/// order, so any number of them may be under way at a time.
///
/// A key is remembered until [`KEYS_MAX`](super::KEYS_MAX) others were used; a retry that comes later is taken for new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IdempotencyKey(pub u128);

impl IdempotencyKey {
    /// The id of a key that a caller chose, such as a UUID: the first 128 bits of its blake3 in a context of its own.
    pub fn of_text(text: &str) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(KEY_CONTEXT);
        hasher.update(text.as_bytes());
        Self(first_128_bits(hasher.finalize()))
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Either kind of key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CommandKey {
    /// A client and the sequence of its command.
    Session(SessionKey),
    /// A key for this command alone.
    Opaque(IdempotencyKey),
}

impl From<SessionKey> for CommandKey {
    fn from(key: SessionKey) -> Self {
        Self::Session(key)
    }
}

impl From<IdempotencyKey> for CommandKey {
    fn from(key: IdempotencyKey) -> Self {
        Self::Opaque(key)
    }
}

impl CommandKey {
    /// Says what is wrong with a key that no one may propose under.
    pub(crate) fn check(&self) -> Result<(), String> {
        let greatest = SessionKey::SEQUENCE_MAX;
        match self {
            Self::Session(key) if key.sequence > greatest => {
                Err(format!("sequence {} of a client, the greatest is {greatest}", key.sequence))
            }
            Self::Session(_) | Self::Opaque(_) => Ok(()),
        }
    }
}

/// Tells a command from another one under the same key: the first 128 bits of the blake3 of its bytes, without the envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CommandHash(pub u128);

impl CommandHash {
    /// Of a command's bytes, as they are in the log.
    pub fn of(command: &[u8]) -> Self {
        Self(first_128_bits(blake3::hash(command)))
    }
}

fn first_128_bits(hash: blake3::Hash) -> u128 {
    let first: [u8; 16] = hash.as_bytes()[..16].try_into().expect("a blake3 hash has 32 bytes");
    u128::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_and_a_key_of_the_same_text_are_two() {
        assert_ne!(ClientId::of_name("till-4").0, IdempotencyKey::of_text("till-4").0);
        assert_ne!(IdempotencyKey::of_text("a"), IdempotencyKey::of_text("A"));
    }

    /// Existing logs and snapshots hold these ids.
    #[test]
    fn the_id_of_a_text_stays_the_same() {
        assert_eq!(IdempotencyKey::of_text("till-4").to_string(), "bea39d3acab0b165212212e97bb819e6");
    }
}
