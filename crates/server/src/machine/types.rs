//! Commands, replies, queries and answers of a [`DataMachine`](super::DataMachine). All travel in MessagePack maps with named fields: a
//! new kind of command is a new variant, and a new field has a default.

use quorate::machine::{KEY_BYTES_MAX, KvAnswer, KvCommand, KvExpected, KvQuery, KvRefusal, KvReply};
use serde::{Deserialize, Serialize};

/// The group that the server runs.
pub const GROUP: &str = "main";

/// What changes the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum DataCommand {
    /// A key.
    Kv(KvCommand),
    /// A counter.
    Counter(CounterCommand),
}

/// What changes a counter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CounterCommand {
    /// Adds, or takes away if negative. A counter that was never added to is 0.
    Add {
        /// The counter: 1 to [`KEY_BYTES_MAX`] bytes.
        name: String,
        /// How much.
        amount: i64,
    },
    /// Sets it, whatever it is.
    Set {
        /// The counter: 1 to [`KEY_BYTES_MAX`] bytes.
        name: String,
        /// What it is to be.
        value: i64,
    },
    /// Deletes it: it is as one that was never added to.
    Delete {
        /// The counter: 1 to [`KEY_BYTES_MAX`] bytes.
        name: String,
    },
}

/// What a command did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[must_use]
pub enum DataReply {
    /// To [`DataCommand::Kv`].
    Kv(KvReply),
    /// To [`DataCommand::Counter`].
    Counter(CounterReply),
}

/// What a counter's command did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[must_use]
pub enum CounterReply {
    /// The counter has this value now.
    Now {
        /// The value.
        value: i64,
    },
    /// The counter is gone.
    Deleted {
        /// Whether there was one.
        existed: bool,
    },
    /// Not added: the value would leave the range of an `i64`.
    Overflow {
        /// The value, unchanged.
        value: i64,
    },
    /// The command breaks a limit, and nothing changed.
    Refused(KvRefusal),
}

/// What the store can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum DataQuery {
    /// About keys. Answered with [`DataAnswer::Kv`].
    Kv(KvQuery),
    /// One counter. Answered with [`DataAnswer::Counter`].
    Counter {
        /// Its name.
        name: String,
    },
    /// A page of the counters whose names begin with a prefix, in order of their bytes. Answered with
    /// [`DataAnswer::Counters`].
    Counters {
        /// All if empty.
        prefix: String,
        /// Only those after this one: `next` of the page before.
        after: Option<String>,
        /// How many, at most; 1 to [`LIST_ITEMS_MAX`](quorate::machine::LIST_ITEMS_MAX).
        limit: u32,
    },
    /// One hash of all that was applied. Answered with [`DataAnswer::Digest`].
    Digest,
}

/// What it answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum DataAnswer {
    /// To [`DataQuery::Kv`].
    Kv(KvAnswer),
    /// To [`DataQuery::Counter`]; `None` if it was never added to.
    Counter(Option<CounterItem>),
    /// To [`DataQuery::Counters`].
    Counters {
        /// In order of their names.
        items: Vec<CounterItem>,
        /// Where there is more: ask again with `after` set to it.
        next: Option<String>,
    },
    /// To [`DataQuery::Digest`], as hex.
    Digest(String),
}

/// A counter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CounterItem {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: i64,
    /// The index of the entry that changed it last.
    pub index: u64,
}

impl DataCommand {
    /// Adds to a counter.
    pub fn add(name: impl Into<String>, amount: i64) -> Self {
        Self::Counter(CounterCommand::Add { name: name.into(), amount })
    }

    /// Checks the limits as the machine does, so that a command that it would refuse need not be proposed.
    pub fn check(&self) -> Result<(), KvRefusal> {
        match self {
            Self::Kv(command) => command.check(),
            Self::Counter(
                CounterCommand::Add { name, .. }
                | CounterCommand::Set { name, .. }
                | CounterCommand::Delete { name },
            ) => check_name(name),
        }
    }

    /// Whether the value that is expected is a part of it.
    pub(crate) fn is_compared_with_a_value(&self) -> bool {
        matches!(self, Self::Kv(KvCommand::CompareAndSet { expected: KvExpected::Value(_), .. }))
    }
}

impl DataQuery {
    /// Refuses a name under which nothing can be.
    pub fn check(&self) -> Result<(), KvRefusal> {
        match self {
            Self::Kv(KvQuery::Get { key }) => check_name(key),
            Self::Counter { name } => check_name(name),
            Self::Kv(KvQuery::List { .. } | KvQuery::Count | KvQuery::Digest)
            | Self::Counters { .. }
            | Self::Digest => Ok(()),
        }
    }
}

pub(super) fn check_name(name: &str) -> Result<(), KvRefusal> {
    match name.len() {
        0 => Err(KvRefusal::KeyEmpty),
        bytes if bytes > KEY_BYTES_MAX => Err(KvRefusal::KeyTooLong { bytes: bytes as u64 }),
        _ => Ok(()),
    }
}

impl From<KvCommand> for DataCommand {
    fn from(command: KvCommand) -> Self {
        Self::Kv(command)
    }
}

impl From<KvQuery> for DataQuery {
    fn from(query: KvQuery) -> Self {
        Self::Kv(query)
    }
}
