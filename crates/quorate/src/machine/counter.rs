//! The smallest useful machine: one total. For tutorials, tests and comparison of replicas.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::context::ApplyContext;
use super::digest::AppliedDigest;
use super::snapshot::{RestoreError, Snapshot, SnapshotReader};
use super::state_machine::StateMachine;

/// One replicated total, from zero.
///
/// ```text
/// let count = node.group("counter", Counter::default()).await?;
/// let total = count.propose(Add(5)).await?;      // Added: prints and compares as the total
/// let total = count.query(Total, Consistency::Linearizable).await?;      // i64
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counter {
    total: i64,
    digest: AppliedDigest,
}

/// The command: adds to the total, or takes away if negative. Refused, and nothing changed, where the total would leave
/// the range of an `i64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Add(pub i64);

/// The reply to [`Add`]. It prints as the total, and equals a number only if the amount was added and made that total.
///
/// ```
/// use quorate::machine::Added;
/// let total = Added::Now(12);
/// assert_eq!(total, 12);
/// assert_eq!(format!("{total}"), "12");
/// assert_eq!(total.checked()?, 12);
/// assert!(Added::Overflow { total: 12 } != 12);
/// # Ok::<(), quorate::machine::Overflow>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[must_use]
pub enum Added {
    /// Added; this is the total now.
    Now(i64),
    /// Not added: the total would not fit.
    Overflow {
        /// The total, unchanged.
        total: i64,
    },
}

/// An [`Add`] was refused because the total would leave the range of an `i64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the total stays at {total}: adding would overflow it")]
pub struct Overflow {
    /// The total, unchanged.
    pub total: i64,
}

impl Added {
    /// The total after the command, whether or not it added.
    pub fn total(self) -> i64 {
        match self {
            Self::Now(total) | Self::Overflow { total } => total,
        }
    }

    /// The total, or that it was not added.
    pub fn checked(self) -> Result<i64, Overflow> {
        match self {
            Self::Now(total) => Ok(total),
            Self::Overflow { total } => Err(Overflow { total }),
        }
    }
}

impl PartialEq<i64> for Added {
    fn eq(&self, total: &i64) -> bool {
        matches!(self, Self::Now(now) if now == total)
    }
}

impl fmt::Display for Added {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.total().fmt(f)
    }
}

/// Asks for the total: `count.query(Total, ..)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Total;

/// What a counter can be asked. The answer is an `i64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CounterQuery {
    /// The total.
    Total,
    /// The first eight bytes of the [`AppliedDigest`], big-endian: the same on replicas that applied the same commands.
    Digest,
}

impl From<Total> for CounterQuery {
    fn from(Total: Total) -> Self {
        Self::Total
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct CounterImage {
    total: i64,
    digest: AppliedDigest,
}

impl StateMachine for Counter {
    type Command = Add;
    type Reply = Added;
    type Query = CounterQuery;
    type Answer = i64;

    fn apply(&mut self, cx: &mut ApplyContext<'_>, Add(amount): Add) -> Added {
        self.digest.absorb(cx);
        match self.total.checked_add(amount) {
            Some(total) => {
                self.total = total;
                Added::Now(total)
            }
            None => Added::Overflow { total: self.total },
        }
    }

    fn query(&self, query: CounterQuery) -> i64 {
        match query {
            CounterQuery::Total => self.total,
            CounterQuery::Digest => {
                let first = self.digest.hash().0[..8].try_into().expect("a hash has 32 bytes");
                i64::from_be_bytes(first)
            }
        }
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::from_value(CounterImage { total: self.total, digest: self.digest })
    }

    fn restore(reader: SnapshotReader<'_>) -> Result<Self, RestoreError> {
        let CounterImage { total, digest } = reader.only_value()?;
        Ok(Self { total, digest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::testing::{Log, replied};
    use crate::machine::{Execution, Executor};

    #[test]
    fn an_overflow_is_a_reply_and_changes_nothing() {
        let mut log = Log::default();
        let mut executor = Executor::new(Counter::default()).expect("captures");
        let mut add = |amount| replied(executor.apply(&log.command(&Add(amount), None)));
        assert_eq!(add(i64::MAX), i64::MAX);
        let refused = add(1);
        assert_eq!(refused, Added::Overflow { total: i64::MAX });
        assert_eq!(refused.checked(), Err(Overflow { total: i64::MAX }));
        assert!(refused != i64::MAX, "a refusal equals no total");
        assert_eq!(add(-1), i64::MAX - 1);
        assert_eq!(add(i64::MIN), -2);
        assert_eq!(executor.query(Total.into()), Ok(-2));
    }

    #[test]
    fn digests_tell_who_applied_what() {
        let run = |amounts: &[i64]| {
            let mut log = Log::default();
            let mut executor = Executor::new(Counter::default()).expect("captures");
            for amount in amounts {
                let done = executor.apply(&log.command(&Add(*amount), None)).expect("applies");
                assert!(matches!(done.outcome, Execution::Replied(_)));
            }
            executor.query(CounterQuery::Digest).expect("answers")
        };
        assert_eq!(run(&[1, 2]), run(&[1, 2]));
        assert_ne!(run(&[1, 2]), run(&[2, 1]));
        assert_ne!(run(&[1, 2]), run(&[3]));
        assert_ne!(run(&[0]), run(&[]));
    }
}
