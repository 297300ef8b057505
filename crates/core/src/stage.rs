//! The seven stages of the data path, from a caller's command to its reply (`docs/data-path.md`).
//!
//! The words for them, with the functions at which each begins. A test compares the chapters of the page with this list.

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
}
