//! The part of the log that a role holds in memory: the newest entries, and the term of every entry.
//!
//! Invariant: the entries are contiguous from `base.index + 1`. While a role runs, no entry above `min(commit, durable)`
//! is dropped from memory, so a conflict, which is always above the commit index, finds its chain hash here. What the
//! applier still needs below that is read from disk. Only after a restart, when commit is not known yet, can a conflict reach
//! below `base`; then [`BelowBase`] sends the role to the store for one hash.

use std::collections::VecDeque;

use crate::entry::{Entry, LogId, Position};
use crate::ids::{Index, Term};
use crate::terms::Terms;

/// The log as a role sees it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tail {
    base: Position,
    /// The time stamp at `base`, if nothing is in memory that is later.
    base_time_ms: u64,
    entries: VecDeque<Entry>,
    terms: Terms,
    bytes: usize,
}

/// The index is below the entries in memory; the store has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BelowBase;

impl Tail {
    /// An empty log that begins after `start`.
    pub fn new(start: Position) -> Self {
        Self::after_snapshot(start, 0)
    }

    /// The same where the entry at `start` had this time stamp.
    pub fn after_snapshot(start: Position, time_ms: u64) -> Self {
        Self {
            base: start,
            base_time_ms: time_ms,
            entries: VecDeque::new(),
            terms: Terms::new(start.log_id()),
            bytes: 0,
        }
    }

    /// A log loaded from disk: the terms of all of it, and its newest `entries`, those after `base`.
    pub fn loaded(base: Position, entries: Vec<Entry>, terms: Terms) -> Self {
        let last = entries.last().map_or(base.log_id(), Entry::log_id);
        assert_eq!(last, terms.last(), "the newest entries end where the terms end");
        let bytes = entries.iter().map(Entry::encoded_bytes).sum();
        Self { base, base_time_ms: 0, entries: entries.into(), terms, bytes }
    }

    /// The position of the last entry.
    pub fn last(&self) -> Position {
        self.entries.back().map_or(self.base, Entry::position)
    }

    /// The time stamp of the last entry, or of the snapshot that takes its place; zero where neither is known.
    pub fn last_time_ms(&self) -> u64 {
        self.entries.back().map_or(self.base_time_ms, |entry| entry.time_ms)
    }

    /// The entry before the first one that the log still has, on disk or in memory.
    pub fn start(&self) -> LogId {
        self.terms.start()
    }

    /// The position before the first entry in memory.
    pub fn base(&self) -> Position {
        self.base
    }

    /// The terms of the whole log.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// The term at `index`; `None` outside the log.
    pub fn term_at(&self, index: Index) -> Option<Term> {
        self.terms.at(index)
    }

    /// Term and index at `index`; `None` outside the log.
    pub fn log_id_at(&self, index: Index) -> Option<LogId> {
        self.term_at(index).map(|term| LogId { term, index })
    }

    /// The entry at `index` if it is in memory.
    pub fn get(&self, index: Index) -> Option<&Entry> {
        let offset = index.0.checked_sub(self.base.index.0 + 1)?;
        self.entries.get(usize::try_from(offset).ok()?)
    }

    /// The position at `index`, with its chain hash.
    pub fn position_at(&self, index: Index) -> Result<Position, BelowBase> {
        if index == self.base.index {
            return Ok(self.base);
        }
        self.get(index).map(Entry::position).ok_or(BelowBase)
    }

    /// Entries from `from` up to `through`, at most `entries_max` and about `bytes_max` (at least one).
    pub fn slice(
        &self,
        from: Index,
        through: Index,
        entries_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<Entry>, BelowBase> {
        if from <= self.base.index {
            return Err(BelowBase);
        }
        let skip = usize::try_from(from.0 - self.base.index.0 - 1).expect("memory holds fewer");
        let mut bytes = 0;
        let taken = self.entries.iter().skip(skip).take(entries_max).take_while(|entry| {
            let first = bytes == 0;
            bytes += entry.encoded_bytes();
            entry.index <= through && (first || bytes <= bytes_max)
        });
        Ok(taken.cloned().collect())
    }

    /// Appends the next entry; its chain was verified or computed by the caller.
    pub fn push(&mut self, entry: Entry) {
        self.terms.push(entry.log_id());
        self.bytes += entry.encoded_bytes();
        self.entries.push_back(entry);
    }

    /// Appends the next entries; as for [`push`](Self::push).
    pub fn append(&mut self, entries: &[Entry]) {
        entries.iter().cloned().for_each(|entry| self.push(entry));
    }

    /// Removes `from` and all after it. `before` is the position before `from`, which may be below the entries in memory.
    pub fn truncate(&mut self, from: Index, before: Position) {
        assert_eq!(before.index, from.prev(), "the position before the truncation");
        self.terms.truncate(from);
        if from <= self.base.index {
            self.base = before;
            self.entries.clear();
            self.bytes = 0;
            return;
        }
        while self.entries.back().is_some_and(|entry| entry.index >= from) {
            let gone = self.entries.pop_back().expect("just seen");
            self.bytes -= gone.encoded_bytes();
        }
    }

    /// Drops entries up to `through` from memory while they take more than `bytes_max`. The newest stays: the time stamp of the
    /// next one is compared with it (`safety.md` 8).
    pub fn trim(&mut self, through: Index, bytes_max: usize) {
        while self.bytes > bytes_max
            && self.entries.len() > 1
            && self.entries.front().is_some_and(|entry| entry.index <= through)
        {
            let gone = self.entries.pop_front().expect("just seen");
            self.bytes -= gone.encoded_bytes();
            self.base = gone.position();
        }
    }

    /// Forgets the log up to `through`, which is not above `base`. What is in memory stays.
    pub fn compact(&mut self, through: Index) {
        assert!(through <= self.base.index, "only what is not in memory is forgotten");
        self.terms.compact(through);
    }

    /// Bytes of entries in memory.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of the entries after `index` that are in memory.
    pub fn bytes_after(&self, index: Index) -> usize {
        self.entries.iter().rev().take_while(|entry| entry.index > index).map(Entry::encoded_bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::entry::{EntryKind, Hash};

    /// Entries 1, 2, .. with payloads of these lengths.
    fn tail(payloads: &[usize]) -> Tail {
        let mut tail = Tail::new(Position::ORIGIN);
        for length in payloads {
            let payload = Bytes::from(vec![1; *length]);
            let leaf = Hash::of(&payload);
            tail.push(Entry::follow(tail.last(), Term(1), 9, EntryKind::Command, payload, leaf));
        }
        tail
    }

    fn size(tail: &Tail, index: u64) -> usize {
        tail.get(Index(index)).expect("in memory").encoded_bytes()
    }

    fn indexes(entries: &[Entry]) -> Vec<u64> {
        entries.iter().map(|entry| entry.index.0).collect()
    }

    #[test]
    fn a_slice_has_one_entry_at_least_and_no_more_bytes_than_asked_for() {
        let tail = tail(&[10, 20, 30, 40]);
        let three = size(&tail, 1) + size(&tail, 2) + size(&tail, 3);
        let slice = |from, through, entries_max, bytes_max| {
            tail.slice(Index(from), Index(through), entries_max, bytes_max).map(|entries| indexes(&entries))
        };
        assert_eq!(slice(1, 4, 9, three), Ok(vec![1, 2, 3]));
        assert_eq!(slice(1, 4, 9, three - 1), Ok(vec![1, 2]));
        assert_eq!(slice(1, 4, 9, 1), Ok(vec![1]));
        assert_eq!(slice(2, 4, 2, usize::MAX), Ok(vec![2, 3]));
        assert_eq!(slice(3, 3, 9, usize::MAX), Ok(vec![3]));
        assert_eq!(slice(0, 4, 9, usize::MAX), Err(BelowBase));
    }

    #[test]
    fn bytes_are_those_of_the_entries_in_memory() {
        let mut tail = tail(&[10, 20, 30, 40]);
        let all: usize = (1..=4).map(|index| size(&tail, index)).sum();
        let (first, second) = (size(&tail, 1), size(&tail, 2));
        assert_eq!((tail.bytes(), tail.bytes_after(Index(1))), (all, all - first));
        let before = tail.position_at(Index(2)).expect("in memory");
        tail.truncate(Index(3), before);
        assert_eq!((tail.bytes(), tail.bytes_after(Index::ZERO)), (first + second, first + second));
        tail.truncate(Index(1), Position::ORIGIN);
        assert_eq!((tail.bytes(), tail.last()), (0, Position::ORIGIN));
    }

    #[test]
    fn trimming_forgets_the_oldest_while_there_is_too_much_and_never_the_newest() {
        let whole = tail(&[10, 20, 30, 40]);
        let sizes: Vec<usize> = (1..=4).map(|index| size(&whole, index)).collect();
        let all: usize = sizes.iter().sum();
        for (through, bytes_max, forgotten) in [
            (4, all, 0),
            (4, all - 1, 1),
            (4, all - sizes[0], 1),
            (4, all - sizes[0] - 1, 2),
            (1, 0, 1),
            (0, 0, 0),
            (4, 0, 3),
        ] {
            let mut tail = whole.clone();
            tail.trim(Index(through), bytes_max);
            let base = Index(forgotten as u64);
            assert_eq!(tail.base().index, base, "through {through}, {bytes_max} of {all} bytes");
            assert_eq!(tail.bytes(), all - sizes[..forgotten].iter().sum::<usize>());
            assert_eq!(tail.base(), whole.position_at(base).expect("it was in memory"));
            assert_eq!((tail.last(), tail.term_at(Index(1))), (whole.last(), Some(Term(1))), "terms stay");
        }
    }
}
