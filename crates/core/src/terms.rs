//! The term of each index of the log. One step per term, not per entry, so that those of the whole log fit in memory.

use crate::entry::LogId;
use crate::ids::{Index, Term};

/// The terms of a log, from its beginning on.
///
/// Invariant: steps ascend strictly in index and term; the first is at the beginning of the log (the last compacted entry, or
/// zero); none is above `last`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Terms {
    /// (first index of the term, term).
    steps: Vec<(Index, Term)>,
    last: Index,
}

impl Terms {
    /// The terms of a log that begins after `start` and is empty.
    pub fn new(start: LogId) -> Self {
        Self { steps: vec![(start.index, start.term)], last: start.index }
    }

    /// The entry before the first one.
    pub fn start(&self) -> LogId {
        let (index, term) = self.steps[0];
        LogId { term, index }
    }

    /// The last entry.
    pub fn last(&self) -> LogId {
        LogId { term: self.steps.last().expect("there is always a first step").1, index: self.last }
    }

    /// The term at `index`; `None` outside the log.
    pub fn at(&self, index: Index) -> Option<Term> {
        if index < self.start().index || index > self.last {
            return None;
        }
        let after = self.steps.partition_point(|(first, _)| *first <= index);
        Some(self.steps[after - 1].1)
    }

    /// Adds the next entry.
    pub fn push(&mut self, id: LogId) {
        let last = self.last();
        assert!(id.index == last.index.next() && id.term >= last.term, "entry {id} does not follow {last}");
        if id.term > last.term {
            self.steps.push((id.index, id.term));
        }
        self.last = id.index;
    }

    /// Removes `from` and all after it.
    pub fn truncate(&mut self, from: Index) {
        assert!(from > self.start().index, "what was compacted is not truncated");
        if from > self.last {
            return;
        }
        let keep = self.steps.partition_point(|(first, _)| *first < from);
        self.steps.truncate(keep);
        self.last = from.prev();
    }

    /// Removes everything up to `through`, which becomes the entry before the first one.
    pub fn compact(&mut self, through: Index) {
        let term = self.at(through).expect("only what the log has is compacted");
        let keep = self.steps.partition_point(|(first, _)| *first <= through);
        self.steps.splice(..keep, [(through, term)]);
    }

    /// The greatest entry at or before `limit.index` whose term is not above `limit.term`. Both sides take this step of fast
    /// backtracking in turn, so that a conflict over many terms takes O(terms) round trips.
    pub fn last_not_above(&self, limit: LogId) -> LogId {
        let mut index = limit.index.min(self.last);
        for (first, term) in self.steps.iter().rev() {
            if *first > index {
                continue;
            }
            if *term <= limit.term {
                return LogId { term: *term, index };
            }
            index = first.prev();
        }
        self.start()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(terms: &[u64]) -> Terms {
        let mut log = Terms::new(LogId::default());
        for (at, term) in terms.iter().enumerate() {
            log.push(LogId { term: Term(*term), index: Index(at as u64 + 1) });
        }
        log
    }

    #[test]
    fn a_term_takes_one_step_however_many_entries_it_has() {
        assert_eq!(of(&[1, 1, 1, 2, 2, 5]).steps.len(), 4, "the beginning and three terms");
    }

    proptest! {
        #[test]
        fn terms_are_those_of_a_plain_list(
            mut list in prop::collection::vec(1u64..6, 0..20), cut in 1u64..22, limit_index in 0u64..22, limit_term in 0u64..7,
        ) {
            list.sort_unstable();
            let mut log = of(&list);
            log.truncate(Index(cut));
            list.truncate(cut as usize - 1);
            for at in 0..24u64 {
                let naive = if at == 0 { Some(0) } else { list.get(at as usize - 1).copied() };
                prop_assert_eq!(log.at(Index(at)), naive.map(Term));
            }
            let naive = (1..=limit_index.min(list.len() as u64)).rev().find(|i| list[*i as usize - 1] <= limit_term);
            prop_assert_eq!(
                log.last_not_above(LogId { term: Term(limit_term), index: Index(limit_index) }).index,
                Index(naive.unwrap_or(0))
            );
        }

        #[test]
        fn compaction_keeps_what_is_above(mut list in prop::collection::vec(1u64..6, 1..20), through in 1u64..20) {
            list.sort_unstable();
            let through = through.min(list.len() as u64);
            let mut log = of(&list);
            log.compact(Index(through));
            for at in 1..=list.len() as u64 {
                let naive = (at >= through).then(|| Term(list[at as usize - 1]));
                prop_assert_eq!(log.at(Index(at)), naive);
            }
        }
    }
}
