//! The seven stages of the data path, from a caller's command to its reply (`docs/data-path.md`).
//!
//! One enum names them for traces, metric labels, the dashboard and the chapters of the page, so that all of them use
//! the same word. The header of every module on the path says which stage it is.

use std::fmt;

/// A stage of the data path, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// From the caller to the leader's mailbox: encoded, hashed, a permit taken (`GroupHandle::propose`).
    Proposed,
    /// From the leader's mailbox to its log in memory, with an index and a term (`Leader::append_proposals`).
    Appended,
    /// From a role's `Effect::Persist` to its own disk, one batch and one sync for all groups (`Store::write`).
    Persisted,
    /// From the leader's log to a peer's disk and back as an acknowledgement (`Replicator::step`, `Follower::append_entries`).
    Replicated,
    /// From acknowledgements to the commit index (`Leader::advance_commit`).
    Committed,
    /// From the commit index to the state machine, in index order (`ApplyCursor::hand_over_committed`, `Executor::take_entry`).
    Applied,
    /// From the state machine's reply to the caller; the permit returns (`Waiters::take`).
    Replied,
}

impl Stage {
    /// Every stage, in order.
    pub const ALL: [Self; 7] = [
        Self::Proposed,
        Self::Appended,
        Self::Persisted,
        Self::Replicated,
        Self::Committed,
        Self::Applied,
        Self::Replied,
    ];

    /// Its name in lower case: a metric label, a trace name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Proposed => "proposed",
            Self::Appended => "appended",
            Self::Persisted => "persisted",
            Self::Replicated => "replicated",
            Self::Committed => "committed",
            Self::Applied => "applied",
            Self::Replied => "replied",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_listed_in_order_and_named_by_their_variant() {
        assert!(Stage::ALL.windows(2).all(|pair| pair[0] < pair[1]));
        for stage in Stage::ALL {
            assert_eq!(stage.to_string(), format!("{stage:?}").to_lowercase());
        }
    }
}
