//! Stage 3 of 7, Persisted, as a role sees it: which writes it has ordered, and which replies wait for them.
//!
//! Every reply that depends on durability waits here, and the role releases it when the write has completed
//! (`safety.md` 1, 9). The completion of entries that a later truncation has removed does not raise the durable index
//! (etcd's `async_storage_writes_append_aba_race`, `known-bugs.md` 34, 35).

use std::collections::VecDeque;
use std::time::Duration;

use crate::entries::Entries;
use crate::entry::Position;
use crate::hard_state::HardState;
use crate::ids::{Index, Sequence, Time};
use crate::membership::Membership;
use crate::message::Message;

/// One write for the store. Writes are applied in sequence, each once; a completion releases what waits for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Persist {
    /// From 1 on, without gaps, within one epoch.
    pub sequence: Sequence,
    /// Always the newest: a write that carries entries alone repeats it (`safety.md` 1).
    pub hard_state: HardState,
    /// Whether `hard_state` differs from that of the write before, so that both of its copies must be synced.
    pub hard_state_changed: bool,
    /// Remove this index and all after it, in the same batch as the entries and before them.
    pub truncate_from: Option<Index>,
    /// Contiguous entries to append.
    pub entries: Entries,
    /// First, replace the log by a snapshot: nothing of it stays. A write with it has no entries and truncates nothing.
    pub install: Option<Box<SnapshotBase>>,
}

/// What a log begins with that a snapshot has replaced.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SnapshotBase {
    /// Where the snapshot ends: the position before the log's first entry.
    pub at: Position,
    /// The time stamp of the entry there: those of later entries are not below it (`safety.md` 8).
    pub time_ms: u64,
    /// The membership in force there.
    pub membership: Membership,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Pending {
    persist: Persist,
    /// The last index that is durable once this write is; a later truncation lowers it. `None` if it appends nothing.
    makes_durable: Option<Index>,
    issued_at: Time,
}

impl SnapshotBase {
    /// What a log begins with of which nothing was compacted.
    pub fn origin(founding: Membership) -> Self {
        Self { at: Position::ORIGIN, time_ms: 0, membership: founding }
    }
}

/// The writes of a replica that are under way, passed on by value when the role changes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Durability {
    last_issued: Sequence,
    durable: Index,
    pending: VecDeque<Pending>,
    held: VecDeque<(Sequence, Message)>,
    /// How long a write takes: the last one, or half of what an earlier one took if that is more.
    write_time: Duration,
}

impl Durability {
    /// For a log of which every entry up to `durable` was read from disk.
    pub(crate) fn new(durable: Index) -> Self {
        Self {
            last_issued: Sequence::ZERO,
            durable,
            pending: VecDeque::new(),
            held: VecDeque::new(),
            write_time: Duration::ZERO,
        }
    }

    /// The last index known to be on this node's disk and part of the current log.
    pub(crate) fn durable(&self) -> Index {
        self.durable
    }

    /// How long a write takes now.
    pub(crate) fn write_time(&self) -> Duration {
        self.write_time
    }

    /// When the oldest write that has not completed was issued.
    pub(crate) fn oldest_issued_at(&self) -> Option<Time> {
        self.pending.front().map(|pending| pending.issued_at)
    }

    /// Numbers a write and remembers it until it completes.
    pub(crate) fn issue(
        &mut self,
        now: Time,
        hard_state: HardState,
        hard_state_changed: bool,
        truncate_from: Option<Index>,
        entries: Entries,
    ) -> Persist {
        if let Some(from) = truncate_from {
            self.claim_no_more_than(from.prev());
        }
        let makes_durable = entries.last().map(|entry| entry.index);
        let sequence = self.last_issued.next();
        let persist =
            Persist { sequence, hard_state, hard_state_changed, truncate_from, entries, install: None };
        self.order(now, persist, makes_durable)
    }

    /// Numbers the write that replaces the log by a snapshot. Up to `agreed`, the commit index before, the old log had the same
    /// entries, which stay durable whatever a crash leaves; more is claimed only once the write completes.
    pub(crate) fn issue_install(
        &mut self,
        now: Time,
        hard_state: HardState,
        hard_state_changed: bool,
        agreed: Index,
        base: SnapshotBase,
    ) -> Persist {
        self.claim_no_more_than(agreed);
        let makes_durable = Some(base.at.index);
        let sequence = self.last_issued.next();
        let (truncate_from, entries, install) = (None, Entries::default(), Some(Box::new(base)));
        let persist = Persist { sequence, hard_state, hard_state_changed, truncate_from, entries, install };
        self.order(now, persist, makes_durable)
    }

    fn order(&mut self, now: Time, persist: Persist, makes_durable: Option<Index>) -> Persist {
        self.last_issued = persist.sequence;
        self.pending.push_back(Pending { persist: persist.clone(), makes_durable, issued_at: now });
        persist
    }

    fn claim_no_more_than(&mut self, index: Index) {
        self.durable = self.durable.min(index);
        for pending in &mut self.pending {
            pending.makes_durable = pending.makes_durable.map(|last| last.min(index));
        }
    }

    /// Every write up to `sequence` is on disk: raises the durable index and returns the messages held for them. A sequence
    /// that was never issued, or has completed before, changes nothing.
    pub(crate) fn complete(&mut self, now: Time, sequence: Sequence) -> Vec<Message> {
        if sequence > self.last_issued {
            return Vec::new();
        }
        while self.pending.front().is_some_and(|pending| pending.persist.sequence <= sequence) {
            let done = self.pending.pop_front().expect("just seen");
            self.write_time = now.since(done.issued_at).max(self.write_time / 2);
            self.durable = self.durable.max(done.makes_durable.unwrap_or(Index::ZERO));
        }
        let mut released = Vec::new();
        while self.held.front().is_some_and(|(after, _)| *after <= sequence) {
            released.push(self.held.pop_front().expect("just seen").1);
        }
        released
    }

    /// The write after which a reply that depends only on term and vote may leave.
    pub(crate) fn hard_state_sequence(&self) -> Option<Sequence> {
        let newest = self.pending.iter().rev().find(|pending| pending.persist.hard_state_changed);
        newest.map(|pending| pending.persist.sequence)
    }

    /// The write after which a reply that claims `index` is durable may leave.
    pub(crate) fn log_sequence(&self, index: Index) -> Option<Sequence> {
        let log = if index <= self.durable {
            None
        } else {
            let covers = |p: &&Pending| p.makes_durable.is_some_and(|last| last >= index);
            let first = self.pending.iter().find(covers);
            Some(first.expect("an index above the durable one is under way").persist.sequence)
        };
        log.max(self.hard_state_sequence())
    }

    /// Holds a message until the write `after` is durable. Messages that wait for the same write leave in their order.
    pub(crate) fn hold(&mut self, after: Sequence, message: Message) {
        let place = self.held.partition_point(|(held, _)| *held <= after);
        self.held.insert(place, (after, message));
    }

    /// Drops the messages held: the role that promised them has ended.
    pub(crate) fn drop_held_replies(&mut self) {
        self.held.clear();
    }

    /// Every write that has not completed, in order, to be resent to a store that was restarted (`safety.md` 9).
    pub(crate) fn resend(&self) -> Vec<Persist> {
        self.pending.iter().map(|pending| pending.persist.clone()).collect()
    }
}
