//! A disk: what is durable, which writes are under way, and what a crash leaves of them.

use std::collections::VecDeque;

use super::snapshot::Snapshots;
use quorate_core::{
    Entry, EntryKind, HardState, Index, LogId, Membership, MembershipLog, Persist, Position, Sequence,
    SplitMix64, Tail, Term, Terms,
};

/// The number of parts a crash can tear a write into: term and vote (which have their own sync), the truncation, each entry.
fn parts(persist: &Persist) -> usize {
    1 + usize::from(persist.truncate_from.is_some())
        + usize::from(persist.install.is_some())
        + persist.entries.len()
}

/// The disk of one node. Writes become durable in the order in which they were ordered.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    pub(crate) hard_state: HardState,
    pub(crate) log: Vec<Entry>,
    pub(crate) pending: VecDeque<Persist>,
    applied: Sequence,
    /// Entries lost by damage. Until the node leaves Recovering, the invariants count them as held.
    pub(crate) lost: Vec<Entry>,
    /// The log is compacted up to this index. What lies below stays in `log`, for the invariants alone.
    pub(crate) compacted: u64,
    /// The membership of the snapshot that replaced the log last.
    base: Option<Membership>,
    /// Published snapshots.
    pub(crate) snapshots: Snapshots,
    /// Free space is below the mark.
    pub(crate) full: bool,
}

impl Disk {
    /// Orders a write. One that was applied before (a resend to a restarted store) is not applied twice.
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

    /// Every write up to this sequence is durable.
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
        if let Some(base) = persist.install.as_ref().filter(|_| entries > 0) {
            self.log = self.snapshots.covered(base.at.index).expect("what replaces a log is published");
            self.compacted = base.at.index.0;
            self.base = Some(base.membership.clone());
            entries -= 1;
        }
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

    /// The process, or the role, ends: some of the writes under way have reached the disk, and perhaps a part of the next one
    /// (a torn write). True if a write was torn.
    pub(crate) fn crash(&mut self, rng: &mut SplitMix64) -> bool {
        let survive = rng.below(self.pending.len() as u64 + 1) as usize;
        let torn = if rng.chance(500) { rng.below(self.parts_of(survive) as u64) as usize } else { 0 };
        self.crash_keeping(survive, torn);
        torn > 0
    }

    /// The process ends: the `survive` oldest writes have reached the disk, and the first `torn` parts of the next one.
    pub(crate) fn crash_keeping(&mut self, survive: usize, torn: usize) {
        for _ in 0..survive {
            self.complete_one();
        }
        if let Some(next) = self.pending.front().cloned() {
            self.apply_parts(&next, torn);
        }
        self.restart();
    }

    /// The number of parts of the write at this place among those under way.
    pub(crate) fn parts_of(&self, place: usize) -> usize {
        self.pending.get(place).map_or(0, parts)
    }

    /// A new process numbers its writes from the beginning.
    pub(crate) fn restart(&mut self) {
        self.pending.clear();
        self.applied = Sequence::ZERO;
    }

    /// The store fails without the process: some of the writes under way became durable, the rest will be resent.
    pub(crate) fn detach(&mut self, rng: &mut SplitMix64) {
        let survive = rng.below(self.pending.len() as u64 + 1);
        for _ in 0..survive {
            self.complete_one();
        }
        self.pending.clear();
    }

    /// Damage: the end of the log is lost, and the anchor shows it (`safety.md` 5).
    pub(crate) fn lose_suffix(&mut self, keep: usize) {
        if keep < self.log.len() {
            self.lost.extend(self.log.drain(keep..));
        }
        // A damaged database is set aside whole, and what was forgotten is not in it.
        if (keep as u64) < self.compacted {
            (self.compacted, self.base) = (0, None);
            self.lost.append(&mut self.log);
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

    /// Whether it has exactly this entry, or had it before damage that the node has not recovered from.
    pub(crate) fn holds(&self, at: Position) -> bool {
        self.position(at.index) == Some(at)
            || (self.hard_state.recovering && self.lost.iter().any(|entry| entry.position() == at))
    }

    /// Forgets the log up to `through`.
    pub(crate) fn compact(&mut self, through: Index) {
        assert!(through.0 <= self.log.len() as u64, "only what is on disk is forgotten");
        assert!(
            self.snapshots.newest().is_some_and(|newest| newest.index() >= through),
            "compacted <= snapshot: {through} is forgotten"
        );
        self.compacted = self.compacted.max(through.0);
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
        if base == self.log.len() {
            return Tail::after_snapshot(place, self.log.last().map_or(0, |entry| entry.time_ms));
        }
        Tail::loaded(place, self.log[base..].to_vec(), terms)
    }

    /// The founding membership and those in the log.
    pub(crate) fn memberships(&self, founding: &Membership) -> MembershipLog {
        let (start, mut first) = (Index(self.compacted), self.base.as_ref().unwrap_or(founding).clone());
        let mut later = Vec::new();
        for entry in self.log.iter().filter(|entry| entry.kind == EntryKind::Membership) {
            let membership = Membership::decode(&entry.payload).expect("a written membership reads");
            if entry.index <= start {
                first = membership;
            } else {
                later.push((entry.index, membership));
            }
        }
        let mut log = MembershipLog::new(start, first);
        for (index, membership) in later {
            log.append(index, membership);
        }
        log
    }

    /// Entries from `from`, about `bytes_max` of them, at least one.
    pub(crate) fn read(&self, from: Index, through: Index, bytes_max: usize) -> Vec<Entry> {
        let mut bytes = 0;
        let mut out = Vec::new();
        if from.0 <= self.compacted {
            return out;
        }
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
