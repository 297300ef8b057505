//! How far a node's state machine must have come before it answers a stale query: not behind anything this node has known to
//! be committed, before its last stop or since.
//!
//! Owned above Group, one per group and process, because it outlives every restart of the role and of the applier. The roles
//! set it once, as soon as the commit index covers the log as it was found at the start; from then on the applier raises it.
//! A query that comes before is refused: the machine has not replayed, and "no value" would be said of keys that have one.
//!
//! Which of the entries found at the start were committed is not on disk, so it is not known before a leader says so.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use quorate_core::{Index, ReplicaState, Standing};

/// Of `floor`: not known yet.
const UNKNOWN: u64 = u64::MAX;

/// See the module's header.
#[derive(Debug)]
pub(crate) struct ReplayMark {
    /// The last index of the log as it was found at the start.
    found: OnceLock<Index>,
    floor: AtomicU64,
}

impl Default for ReplayMark {
    fn default() -> Self {
        Self { found: OnceLock::new(), floor: AtomicU64::new(UNKNOWN) }
    }
}

impl ReplayMark {
    /// The log was read from disk, and this is its last index. Only the first time counts: what is read after a restart of
    /// the role holds what came since.
    pub(crate) fn found(&self, last: Index) {
        self.found.get_or_init(|| last);
    }

    /// The role has taken a step.
    pub(crate) fn stepped(&self, state: &ReplicaState) {
        if self.floor.load(Ordering::Acquire) != UNKNOWN {
            return;
        }
        match state.standing() {
            Standing::Voter | Standing::Learner | Standing::Outside => {
                self.committed(state.commit(), state.tail().last().index);
            }
            // What a recovering node had acknowledged may be missing in its log, and a founding one may have been wiped.
            Standing::Founding | Standing::Recovering | Standing::Awaiting => {}
        }
    }

    /// A leader may have replaced the end of the log that was found, by a shorter one: then the whole log has to be committed.
    fn committed(&self, commit: Index, last: Index) {
        if self.found.get().is_some_and(|found| commit >= last.min(*found)) {
            let set = Ordering::AcqRel;
            let _ = self.floor.compare_exchange(UNKNOWN, commit.0, set, Ordering::Acquire);
        }
    }

    /// The machine has applied this index. The next machine, after a restart of the applier, has to come as far.
    pub(crate) fn applied(&self, index: Index) {
        if self.floor.load(Ordering::Acquire) != UNKNOWN {
            self.floor.fetch_max(index.0, Ordering::AcqRel);
        }
    }

    /// What must be applied before a stale query is answered; `None` while it is not known.
    pub(crate) fn floor(&self) -> Option<Index> {
        let floor = self.floor.load(Ordering::Acquire);
        (floor != UNKNOWN).then_some(Index(floor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(last: u64) -> ReplayMark {
        let mark = ReplayMark::default();
        mark.found(Index(last));
        mark
    }

    #[test]
    fn nothing_is_answered_before_the_commit_index_covers_what_was_found() {
        let mark = found(7);
        mark.committed(Index(0), Index(7));
        mark.committed(Index(6), Index(9));
        mark.applied(Index(6));
        assert_eq!(mark.floor(), None);
        mark.committed(Index(8), Index(9));
        assert_eq!(mark.floor(), Some(Index(8)));
        assert_eq!(ReplayMark::default().floor(), None, "nor before the log is read");
    }

    #[test]
    fn what_was_found_may_be_replaced_by_a_shorter_end() {
        let mark = found(7);
        mark.committed(Index(4), Index(5));
        assert_eq!(mark.floor(), None);
        mark.committed(Index(5), Index(5));
        assert_eq!(mark.floor(), Some(Index(5)));
    }

    #[test]
    fn it_rises_with_the_machine_and_never_falls() {
        let mark = found(0);
        mark.committed(Index(0), Index(0));
        assert_eq!(mark.floor(), Some(Index(0)), "an empty log: there is nothing to wait for");
        mark.applied(Index(9));
        mark.applied(Index(3));
        mark.committed(Index(20), Index(20));
        mark.found(Index(30));
        assert_eq!(mark.floor(), Some(Index(9)));
    }
}
