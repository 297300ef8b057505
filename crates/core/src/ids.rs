//! Ids and counters as newtypes, so that a term is never added to an index.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// Zero: none yet.
            pub const ZERO: Self = Self(0);

            /// The next one. Panics at `u64::MAX`, which no counter reaches.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0.checked_add(1).expect("a 64-bit counter does not run out"))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// A Raft term (Raft paper, section 5.1): at most one leader is elected in each.
    Term
}
number! {
    /// The position of an entry in the log, from 1. Zero is the place before the first entry.
    Index
}
number! {
    /// Counts the starts of a node's process; durable in its anchor. Every Raft message carries the boot number of its sender,
    /// so that what a node acknowledged before a restart is never taken for what it has after it (`safety.md` 5).
    Boot
}
number! {
    /// Counts how often the role of a group was loaded from disk in this process. The store refuses writes of an older epoch
    /// (`safety.md` 9).
    Epoch
}
number! {
    /// Numbers the [`Persist`](crate::Persist) effects of one epoch, from 1, without gaps.
    Sequence
}
number! {
    /// A round of leadership confirmation (`ReadIndex`, Raft thesis section 6.4), unique within a term.
    Round
}
number! {
    /// Tells one run of a leader's replicator for a peer from the next, so that an acknowledgement to an earlier run (for
    /// example before the peer was removed and added again) does not count for a later one.
    ReplicationSession
}

impl Index {
    /// The index before, or zero at zero.
    #[must_use]
    pub fn prev(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// The index `count` further on.
    #[must_use]
    pub fn plus(self, count: u64) -> Self {
        Self(self.0.checked_add(count).expect("a 64-bit index does not run out"))
    }
}

/// The number of a Raft group: the first 64 bits of blake3 of its name (`docs/formats.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GroupId(pub u64);

impl GroupId {
    /// The number of a name. If two names have one number, the second group is refused when it is opened.
    pub fn of_name(name: &str) -> Self {
        let hash = blake3::hash(name.as_bytes());
        let first: [u8; 8] = hash.as_bytes()[..8].try_into().expect("a blake3 hash has 32 bytes");
        Self(u64::from_be_bytes(first))
    }
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A node's incarnation: drawn at the first start of its data directory. A wiped disk under an old name has another one, and
/// its peers refuse it (`safety.md` 14). Zero: not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(pub u64);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A node's name: a short string chosen by the operator (`node0`, `db-eu-1`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeId(Arc<str>);

/// A string that is not a node id or group name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is not a name: use 1 to {max} of the characters a-z A-Z 0-9 . _ -", max = NodeId::LENGTH_MAX)]
pub struct NameError {
    /// The string, shortened to 80 characters.
    pub name: String,
}

impl NodeId {
    /// The longest name, in bytes.
    pub const LENGTH_MAX: usize = 64;

    /// Checks a name and makes it an id.
    ///
    /// ```
    /// use quorate_core::NodeId;
    /// assert!(NodeId::new("node0").is_ok());
    /// assert!(NodeId::new("no spaces").is_err());
    /// ```
    pub fn new(name: &str) -> Result<Self, NameError> {
        check_name(name)?;
        Ok(Self(name.into()))
    }

    /// The name as a string.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Checks a node id or group name. One rule for both, so that they fit in a file name, a metric label and a URL.
pub fn check_name(name: &str) -> Result<(), NameError> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if name.is_empty() || name.len() > NodeId::LENGTH_MAX || !name.bytes().all(legal) {
        return Err(NameError { name: name.chars().take(80).collect() });
    }
    Ok(())
}

impl TryFrom<String> for NodeId {
    type Error = NameError;

    fn try_from(name: String) -> Result<Self, NameError> {
        Self::new(&name)
    }
}

impl From<NodeId> for String {
    fn from(id: NodeId) -> Self {
        id.0.to_string()
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A moment on this process's monotonic clock, in microseconds since an origin that the caller chose. Core never reads a
/// clock: time is an argument of every step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Time(pub u64);

impl Time {
    /// How long since `earlier`; zero if that lies in the future.
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl std::ops::Add<Duration> for Time {
    type Output = Time;

    fn add(self, span: Duration) -> Time {
        Time(self.0.saturating_add(u64::try_from(span.as_micros()).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_plain() {
        let longest = "x".repeat(NodeId::LENGTH_MAX);
        for name in ["a", "node0", "db-eu_1.A", &longest] {
            assert!(check_name(name).is_ok(), "{name}");
            assert_eq!(NodeId::new(name).expect("a legal name").to_string(), name);
        }
        for name in ["", "a b", "a/b", "a:1", "\u{e4}", "a\n", &format!("{longest}x")] {
            let error = check_name(name).expect_err(name).to_string();
            assert!(error.contains("1 to 64 of the characters"), "{error}");
        }
        let told = check_name(&"y z".repeat(500)).expect_err("too long").name;
        assert_eq!(told.len(), 80, "a name that is none is told in part");
    }

    #[test]
    fn numbers_of_groups_are_told_in_one_length() {
        assert_eq!(GroupId(0x2a).to_string(), "000000000000002a");
        assert_eq!(Incarnation(0x2a).to_string(), "000000000000002a");
    }
}
