//! When entries became committed, so that a leader can say for how long a machine has left one unapplied.
//!
//! Bound: `SAMPLES_MAX` places of the commit index.

use std::collections::VecDeque;
use std::time::Duration;

use crate::ids::{Index, Time};

/// When the commit index was where. Of what is older than these, the time of the oldest is kept.
const SAMPLES_MAX: usize = 64;

/// When entries became committed, to the precision of a heartbeat interval.
///
/// Invariant: indexes and times ascend; never empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct CommitTimes(VecDeque<(Index, Time)>);

impl CommitTimes {
    /// What is committed by now has been so since `now`, as far as this leader knows.
    pub(super) fn new(now: Time, commit: Index) -> Self {
        Self(VecDeque::from([(commit, now)]))
    }

    pub(super) fn committed(&mut self, now: Time, commit: Index, interval: Duration) {
        let (last, since) = self.0.back_mut().expect("never empty");
        if commit <= *last {
            return;
        }
        if now.since(*since) < interval {
            *last = commit;
            return;
        }
        self.0.push_back((commit, now));
        if self.0.len() > SAMPLES_MAX {
            let (_, oldest) = self.0.pop_front().expect("there are many");
            self.0[0].1 = oldest;
        }
    }

    /// Since when the entry after `applied` has been committed; `None` if it is not.
    pub(super) fn since(&self, applied: Index) -> Option<Time> {
        let later = self.0.partition_point(|(index, _)| *index <= applied);
        self.0.get(later).map(|(_, since)| *since)
    }

    /// For how long.
    pub(super) fn age(&self, now: Time, applied: Index) -> Duration {
        self.since(applied).map_or(Duration::ZERO, |since| now.since(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_as_old_as_its_commit_and_old_places_are_merged() {
        let interval = Duration::from_millis(100);
        let at = |ms: u64| Time(ms * 1_000);
        let mut times = CommitTimes::new(at(0), Index(5));
        times.committed(at(50), Index(9), interval);
        times.committed(at(1_000), Index(10), interval);
        assert_eq!(times.age(at(1_500), Index(10)), Duration::ZERO, "nothing is committed after it");
        assert_eq!(times.age(at(1_500), Index(9)), Duration::from_millis(500));
        assert_eq!(times.age(at(1_500), Index(3)), Duration::from_millis(1_500));
        for more in 0..1_000 {
            times.committed(at(2_000 + 100 * more), Index(11 + more), interval);
        }
        assert_eq!(times.0.len(), SAMPLES_MAX);
        assert_eq!(times.since(Index(0)), Some(at(0)), "what is merged counts from the oldest");
        assert_eq!(times.since(Index(1_009)), Some(at(2_000 + 100 * 999)));
    }
}
