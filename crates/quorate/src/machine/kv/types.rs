//! The commands, replies, queries and answers of [`Kv`](super::Kv).

use bytes::Bytes;
use quorate_core::{Hash, Index};
use serde::{Deserialize, Serialize};

/// The longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 1_024;
/// The longest value, in bytes.
pub const VALUE_BYTES_MAX: usize = 1 << 20;

/// A value and the index of the entry that set it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versioned {
    /// The bytes.
    pub value: Bytes,
    /// Its version: greater for every later change of any key.
    pub index: Index,
}

/// What changes the map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum KvCommand {
    /// Sets a key.
    Set {
        /// 1 to [`KEY_BYTES_MAX`] bytes.
        key: String,
        /// At most [`VALUE_BYTES_MAX`] bytes.
        value: Bytes,
    },
    /// Deletes a key, which need not be there.
    Delete {
        /// The key.
        key: String,
    },
    /// Sets or deletes a key if it is as expected.
    CompareAndSet {
        /// The key.
        key: String,
        /// What has to be there.
        expected: KvExpected,
        /// What to set, or `None` to delete.
        value: Option<Bytes>,
    },
}

/// What a compare-and-set wants to find.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum KvExpected {
    /// No value.
    Absent,
    /// This value.
    Value(Bytes),
    /// The value that the entry at this index set.
    Index(Index),
    /// Any value. Builds before this one cannot read it (`docs/decisions/0036-mixed-builds.md`).
    Present,
}

/// What a command did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[must_use]
pub enum KvReply {
    /// Set.
    Set {
        /// What was there.
        previous: Option<Versioned>,
    },
    /// It is not there any more.
    Deleted {
        /// What was there; `None` if nothing was, and nothing changed.
        previous: Option<Versioned>,
    },
    /// It was as expected, and was changed.
    Swapped {
        /// What was there.
        previous: Option<Versioned>,
    },
    /// It was not as expected, and nothing changed.
    Kept {
        /// What is there.
        current: Option<Versioned>,
    },
    /// The command breaks a limit, and nothing changed.
    Refused(KvRefusal),
}

/// Why a command was refused, on every replica alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum KvRefusal {
    /// An empty key.
    #[error("key is empty")]
    KeyEmpty,
    /// A key that is too long.
    #[error("key of {bytes} bytes is too long, the limit is {KEY_BYTES_MAX}")]
    KeyTooLong {
        /// Its length.
        bytes: u64,
    },
    /// A value that is too large.
    #[error("value of {bytes} bytes is too large, the limit is {VALUE_BYTES_MAX}")]
    ValueTooLarge {
        /// Its size.
        bytes: u64,
    },
}

/// What the map can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum KvQuery {
    /// One value. Answered with [`KvAnswer::Value`].
    Get {
        /// The key.
        key: String,
    },
    /// A page of the keys that begin with a prefix, in order of their bytes. Answered with [`KvAnswer::List`].
    List {
        /// All keys if empty.
        prefix: String,
        /// Only keys after this one: `next` of the page before.
        after: Option<String>,
        /// At most this many items; clamped to 1..=[`LIST_ITEMS_MAX`](super::LIST_ITEMS_MAX).
        limit: u32,
    },
    /// How many keys there are. Answered with [`KvAnswer::Count`].
    Count,
    /// The [`AppliedDigest`](crate::machine::AppliedDigest). Answered with [`KvAnswer::Digest`].
    Digest,
}

/// What it answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum KvAnswer {
    /// To [`KvQuery::Get`].
    Value(Option<Versioned>),
    /// To [`KvQuery::List`].
    List {
        /// In order of their keys.
        items: Vec<KvItem>,
        /// Where there is more: ask again with `after` set to it.
        next: Option<String>,
    },
    /// To [`KvQuery::Count`].
    Count(u64),
    /// To [`KvQuery::Digest`].
    Digest(Hash),
}

/// One line of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KvItem {
    /// The key.
    pub key: String,
    /// Its value.
    pub value: Bytes,
    /// The index of the entry that set it.
    pub index: Index,
}

impl KvCommand {
    /// Sets a key.
    pub fn set(key: impl Into<String>, value: impl Into<Bytes>) -> Self {
        Self::Set { key: key.into(), value: value.into() }
    }

    /// Deletes a key.
    pub fn delete(key: impl Into<String>) -> Self {
        Self::Delete { key: key.into() }
    }

    /// Sets a key if it is as expected.
    pub fn compare_and_set(key: impl Into<String>, expected: KvExpected, value: impl Into<Bytes>) -> Self {
        Self::CompareAndSet { key: key.into(), expected, value: Some(value.into()) }
    }

    /// Checks the limits, as the machine does: ask before proposing what would be refused.
    pub fn check(&self) -> Result<(), KvRefusal> {
        let (key, value) = match self {
            Self::Set { key, value } => (key, Some(value)),
            Self::Delete { key } => (key, None),
            Self::CompareAndSet { key, value, .. } => (key, value.as_ref()),
        };
        if key.is_empty() {
            return Err(KvRefusal::KeyEmpty);
        }
        if key.len() > KEY_BYTES_MAX {
            return Err(KvRefusal::KeyTooLong { bytes: key.len() as u64 });
        }
        match value {
            Some(value) if value.len() > VALUE_BYTES_MAX => {
                Err(KvRefusal::ValueTooLarge { bytes: value.len() as u64 })
            }
            Some(_) | None => Ok(()),
        }
    }
}

impl KvExpected {
    pub(super) fn holds(&self, current: Option<&Versioned>) -> bool {
        match self {
            Self::Absent => current.is_none(),
            Self::Value(value) => current.is_some_and(|current| current.value == *value),
            Self::Index(index) => current.is_some_and(|current| current.index == *index),
            Self::Present => current.is_some(),
        }
    }
}

impl KvQuery {
    /// Asks for one value.
    pub fn get(key: impl Into<String>) -> Self {
        Self::Get { key: key.into() }
    }

    /// Asks for the first page of the keys that begin with `prefix`.
    pub fn list(prefix: impl Into<String>, limit: u32) -> Self {
        Self::List { prefix: prefix.into(), after: None, limit }
    }
}
