//! A node's disk: what is durable, what was ordered and is not yet, and what a crash leaves of it.

use std::collections::VecDeque;

use quorate_core::{
    Entry, EntryKind, HardState, Index, LogId, Membership, MembershipLog, Persist, Position, Sequence, Tail,
    Term, Terms,
};

use super::rng::Rng;

/// Term and vote (which have a sync of their own), the truncation, and each entry.
fn parts(persist: &Persist) -> usize {
    1 + usize::from(persist.truncate_from.is_some()) + persist.entries.len()
}

/// The disk of one node. Writes become durable in the order in which they were ordered.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    pub(crate) hard_state: HardState,
    pub(crate) log: Vec<Entry>,
    pub(crate) pending: VecDeque<Persist>,
    applied: Sequence,
    /// What damage took from the log: until the node leaves Recovering, the others count it as held.
    pub(crate) lost: Vec<Entry>,
    /// Where a start finds the log to begin: up to here it was compacted.
    pub(crate) compacted: u64,
}

impl Disk {
    /// Orders a write; one that was applied before (said again to a restarted store) is not applied twice.
    pub(crate) fn submit(&mut self, persist: Persist) {
        let expected = self.pending.back().map_or(self.applied, |newest| newest.sequence).next();
        if persist.sequence < expected {
            assert!(persist.sequence <= self.applied, "a resend comes in sequence, before anything new");
            return;
        }
        assert_eq!(persist.sequence, expected, "writes are numbered without gaps");
        self.pending.push_back(persist);
    }

    /// The oldest write becomes durable.
    pub(crate) fn complete_one(&mut self) -> Option<Sequence> {
        let persist = self.pending.pop_front()?;
        self.apply(&persist);
        Some(persist.sequence)
    }

    /// Everything up to here is durable.
    pub(crate) fn applied(&self) -> Sequence {
        self.applied
    }

    fn apply(&mut self, persist: &Persist) {
        assert!(persist.hard_state.term >= self.hard_state.term, "a write never lowers the term");
        let parts = parts(persist);
        self.apply_parts(persist, parts);
        self.applied = persist.sequence;
    }

    /// The first `count` parts of a write: term and vote, then the truncation, then entry after entry.
    fn apply_parts(&mut self, persist: &Persist, count: usize) {
        if count == 0 {
            return;
        }
        self.keep_hard_state(&persist.hard_state);
        let mut entries = count - 1;
        if let Some(from) = persist.truncate_from.filter(|_| entries > 0) {
            self.log.truncate(from.prev().0 as usize);
            entries -= 1;
        }
        for entry in persist.entries.iter().take(entries) {
            assert_eq!(entry.index.0, self.log.len() as u64 + 1, "a log on disk has no hole");
            self.log.push(entry.clone());
        }
        if !self.hard_state.recovering {
            self.lost.clear();
        }
    }

    fn keep_hard_state(&mut self, new: &HardState) {
        if let (true, Some(old)) = (new.term == self.hard_state.term, &self.hard_state.voted_for) {
            assert_eq!(Some(old), new.voted_for.as_ref(), "a vote is never changed or taken back");
        }
        self.hard_state = new.clone();
    }

    /// The process, or the role, ends: some of what was under way reached the disk all the same, and of the write after
    /// it a part, if it was torn. True if it was.
    pub(crate) fn crash(&mut self, rng: &mut Rng) -> bool {
        let survive = rng.below(self.pending.len() as u64 + 1) as usize;
        let torn = if rng.chance(500) { rng.below(self.parts_of(survive) as u64) as usize } else { 0 };
        self.crash_keeping(survive, torn);
        torn > 0
    }

    /// The process ends: the `survive` oldest writes reached the disk, and of the one after its first `torn` parts.
    pub(crate) fn crash_keeping(&mut self, survive: usize, torn: usize) {
        for _ in 0..survive {
            self.complete_one();
        }
        if let Some(next) = self.pending.front().cloned() {
            self.apply_parts(&next, torn);
        }
        self.restart();
    }

    /// Of how many parts the write at this place under way is.
    pub(crate) fn parts_of(&self, place: usize) -> usize {
        self.pending.get(place).map_or(0, parts)
    }

    /// A new process numbers its writes from the beginning.
    pub(crate) fn restart(&mut self) {
        self.pending.clear();
        self.applied = Sequence::ZERO;
    }

    /// The store goes away without the process: some of what was under way became durable, the rest is said again.
    pub(crate) fn detach(&mut self, rng: &mut Rng) {
        let survive = rng.below(self.pending.len() as u64 + 1);
        for _ in 0..survive {
            self.complete_one();
        }
        self.pending.clear();
    }

    /// Damage: the log's end is gone, and the anchor says so (`safety.md` 5).
    pub(crate) fn lose_suffix(&mut self, keep: usize) {
        if keep < self.log.len() {
            self.lost.extend(self.log.drain(keep..));
        }
        self.hard_state.recovering = true;
    }

    pub(crate) fn last(&self) -> Index {
        Index(self.log.len() as u64)
    }

    pub(crate) fn entry(&self, index: Index) -> Option<&Entry> {
        self.log.get(usize::try_from(index.0.checked_sub(1)?).ok()?)
    }

    pub(crate) fn position(&self, index: Index) -> Option<Position> {
        if index == Index::ZERO { Some(Position::ORIGIN) } else { self.entry(index).map(Entry::position) }
    }

    /// Whether this exact entry is held, or was until damage that the node has not recovered from.
    pub(crate) fn holds(&self, at: Position) -> bool {
        self.position(at.index) == Some(at)
            || (self.hard_state.recovering && self.lost.iter().any(|entry| entry.position() == at))
    }

    /// What a start reads: all terms, and the entries after `base`.
    pub(crate) fn load(&self, base: usize) -> Tail {
        let base = base.max(self.compacted as usize);
        let mut terms = Terms::new(LogId { term: Term::ZERO, index: Index::ZERO });
        for entry in &self.log {
            terms.push(entry.log_id());
        }
        terms.compact(Index(self.compacted));
        let place = self.position(Index(base as u64)).expect("within the log");
        Tail::loaded(place, self.log[base..].to_vec(), terms)
    }

    /// The founding membership and those in the log.
    pub(crate) fn memberships(&self, founding: &Membership) -> MembershipLog {
        let mut log = MembershipLog::new(Index::ZERO, founding.clone());
        for entry in self.log.iter().filter(|entry| entry.kind == EntryKind::Membership) {
            log.append(entry.index, Membership::decode(&entry.payload).expect("a written membership reads"));
        }
        log
    }

    /// Entries from `from`, about `bytes_max` of them, at least one.
    pub(crate) fn read(&self, from: Index, through: Index, bytes_max: usize) -> Vec<Entry> {
        let mut bytes = 0;
        let mut out = Vec::new();
        let skip = usize::try_from(from.prev().0).expect("a small log");
        for entry in self.log.iter().skip(skip).take_while(|entry| entry.index <= through) {
            bytes += entry.encoded_bytes();
            if bytes > bytes_max && !out.is_empty() {
                break;
            }
            out.push(entry.clone());
        }
        out
    }
}
