//! Stage 3 of 7, Persisted, as a role sees it: which writes it has ordered, and which replies wait for them.
//!
//! Every reply that depends on durability waits here and is released by the role when the completion comes back
//! (`safety.md` 1, 9). Completions that belong to entries a later truncation removed do not raise the durable index
//! (etcd's `async_storage_writes_append_aba_race`, `known-bugs.md` 34, 35).

use std::collections::VecDeque;

use crate::entry::Entry;
use crate::hard_state::HardState;
use crate::ids::{Index, Sequence, Time};
use crate::message::Message;

/// One order to the store. Applied in sequence, each once; its completion releases what waits for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Persist {
    /// From 1, without gaps, in one epoch.
    pub sequence: Sequence,
    /// Always the newest: a write that only carries entries repeats it (`safety.md` 1).
    pub hard_state: HardState,
    /// Whether `hard_state` differs from what the sequence before made durable, so that both copies must be synced.
    pub hard_state_changed: bool,
    /// Remove this index and all after it, in the same batch and before the entries.
    pub truncate_from: Option<Index>,
    /// Contiguous entries to append.
    pub entries: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Pending {
    persist: Persist,
    /// The last index that is durable once this is; lowered by a later truncation. `None` if it appends nothing.
    makes_durable: Option<Index>,
    issued_at: Time,
}

/// The writes under way of one role, handed on by value when the role changes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Durability {
    last_issued: Sequence,
    durable: Index,
    pending: VecDeque<Pending>,
    held: VecDeque<(Sequence, Message)>,
}

impl Durability {
    /// Of a log whose every entry up to `durable` was read back from disk.
    pub fn new(durable: Index) -> Self {
        Self { last_issued: Sequence::ZERO, durable, pending: VecDeque::new(), held: VecDeque::new() }
    }

    /// The last index known to be on this node's disk and part of the present log.
    pub fn durable(&self) -> Index {
        self.durable
    }

    /// When the oldest write that has not come back was issued.
    pub fn oldest_issued_at(&self) -> Option<Time> {
        self.pending.front().map(|pending| pending.issued_at)
    }

    /// Numbers a write and remembers it until it comes back.
    pub fn issue(
        &mut self,
        now: Time,
        hard_state: HardState,
        hard_state_changed: bool,
        truncate_from: Option<Index>,
        entries: Vec<Entry>,
    ) -> Persist {
        if let Some(from) = truncate_from {
            self.durable = self.durable.min(from.prev());
            for pending in &mut self.pending {
                pending.makes_durable = pending.makes_durable.map(|last| last.min(from.prev()));
            }
        }
        self.last_issued = self.last_issued.next();
        let sequence = self.last_issued;
        let makes_durable = entries.last().map(|entry| entry.index);
        let persist = Persist { sequence, hard_state, hard_state_changed, truncate_from, entries };
        self.pending.push_back(Pending { persist: persist.clone(), makes_durable, issued_at: now });
        persist
    }

    /// Everything up to `sequence` is on disk: raises the durable index and returns what was held for it. A number
    /// that was never issued or came back before changes nothing.
    pub fn complete(&mut self, sequence: Sequence) -> Vec<Message> {
        if sequence > self.last_issued {
            return Vec::new();
        }
        while self.pending.front().is_some_and(|pending| pending.persist.sequence <= sequence) {
            let done = self.pending.pop_front().expect("just seen");
            self.durable = self.durable.max(done.makes_durable.unwrap_or(Index::ZERO));
        }
        let mut released = Vec::new();
        while self.held.front().is_some_and(|(after, _)| *after <= sequence && *after <= self.last_issued) {
            released.push(self.held.pop_front().expect("just seen").1);
        }
        released
    }

    /// The sequence a reply must wait for that depends on term and vote alone.
    pub fn hard_state_sequence(&self) -> Option<Sequence> {
        let newest = self.pending.iter().rev().find(|pending| pending.persist.hard_state_changed);
        newest.map(|pending| pending.persist.sequence)
    }

    /// The sequence a reply must wait for that claims `index` is durable.
    pub fn log_sequence(&self, index: Index) -> Option<Sequence> {
        let log = if index <= self.durable {
            None
        } else {
            let covers = |p: &&Pending| p.makes_durable.is_some_and(|last| last >= index);
            let first = self.pending.iter().find(covers);
            Some(first.expect("an index above the durable one is under way").persist.sequence)
        };
        log.max(self.hard_state_sequence())
    }

    /// Holds a message until `after` is durable. What waits for the same write leaves in the order it was held.
    pub fn hold(&mut self, after: Sequence, message: Message) {
        let place = self.held.partition_point(|(held, _)| *held <= after);
        self.held.insert(place, (after, message));
    }

    /// Forgets what is held: the role that promised it is over.
    pub fn release_nothing(&mut self) {
        self.held.clear();
    }

    /// Everything that has not come back, in order: said again to a store that was restarted (`safety.md` 9).
    pub fn resend(&self) -> Vec<Persist> {
        self.pending.iter().map(|pending| pending.persist.clone()).collect()
    }
}
