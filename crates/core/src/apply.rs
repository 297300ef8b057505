//! Stage 6 of 7, Applied, begins here: from the commit index to the applier. Tracks how far committed entries were handed
//! to the applier, and how far it reports to have applied them.
//!
//! Entries go to the applier from memory if they are there, otherwise from the store; never more than a window ahead of what
//! it has reported, in entries and in bytes, so a slow state machine costs no memory here.

use std::collections::VecDeque;
use std::time::Duration;

use crate::config::Config;
use crate::effect::{Effect, Reader};
use crate::entry::Entry;
use crate::ids::{Index, Time};
use crate::tail::Tail;

/// Entries handed to the applier at once, at most.
const BATCH_ENTRIES_MAX: usize = 1_024;
/// Bytes handed to the applier at once, at most (a single entry may exceed it).
const BATCH_BYTES_MAX: usize = 4 << 20;

/// What a machine waits for that lacks more than the log still has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Awaits {
    /// A snapshot from another node.
    Snapshot,
    /// This node has the snapshot; the machine is being made of it.
    Machine,
}

/// How far an applier has come.
///
/// Invariant: `applied <= handed`. While `reading` is set, the store hands the applier entries from there, and nothing is
/// handed from memory until the applier has reported those applied, so it sees entries in order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ApplyCursor {
    handed: Index,
    applied: Index,
    reading: Option<Index>,
    /// The sizes of the entries handed over from memory and not reported applied, the last one being `handed`.
    sizes: VecDeque<usize>,
    bytes: usize,
    /// Since when the applier has had entries and reported none of them applied.
    waits_since: Option<Time>,
    /// The machine has faulted and stays down.
    is_down: bool,
    /// The log no longer has what the machine lacks: it is handed nothing until it is made again.
    awaits: Option<Awaits>,
    window_entries_max: u64,
    window_bytes_max: usize,
}

impl ApplyCursor {
    /// For an applier that has applied up to `applied`.
    pub(crate) fn new(applied: Index, config: &Config) -> Self {
        Self {
            handed: applied,
            applied,
            reading: None,
            sizes: VecDeque::new(),
            bytes: 0,
            waits_since: None,
            is_down: false,
            awaits: None,
            window_entries_max: config.apply_window_entries_max,
            window_bytes_max: config.apply_window_bytes_max,
        }
    }

    /// The last index the applier reported.
    pub(crate) fn applied(&self) -> Index {
        self.applied
    }

    /// The applier reports that it has applied up to `through`.
    pub(crate) fn applied_through(&mut self, now: Time, through: Index) {
        let has_moved = through > self.applied;
        self.applied = self.applied.max(through);
        self.handed = self.handed.max(through);
        while self.sizes.len() as u64 > self.handed.0 - self.applied.0 {
            self.bytes -= self.sizes.pop_front().expect("it is not empty");
        }
        self.reading = self.reading.filter(|from| *from > through);
        if self.awaits.is_some() {
            return;
        }
        if self.handed == self.applied && self.reading.is_none() {
            self.waits_since = None;
        } else if has_moved {
            self.waits_since = Some(now);
        }
    }

    /// The applier, or the store it reads from, was restarted: everything above `applied` is handed over again.
    pub(crate) fn restart(&mut self, applied: Index) {
        self.applied = applied;
        self.handed = applied;
        self.reading = None;
        self.sizes.clear();
        self.bytes = 0;
        self.waits_since = None;
        self.awaits = None;
    }

    /// The log no longer has what the machine lacks: nothing is handed over until [`Self::restart`] says where the new machine is.
    pub(crate) fn wait_for(&mut self, now: Time, what: Awaits) {
        self.restart(self.applied);
        (self.awaits, self.waits_since) = (Some(what), Some(now));
    }

    /// It waits for a snapshot of which its machine can be made.
    pub(crate) fn awaits_snapshot(&self) -> bool {
        self.awaits == Some(Awaits::Snapshot)
    }

    /// How many entries may be handed over now.
    fn room(&self) -> u64 {
        if self.bytes >= self.window_bytes_max {
            return 0;
        }
        self.window_entries_max.saturating_sub(self.handed.0 - self.applied.0)
    }

    /// More is committed than a whole window takes, in entries or in bytes.
    pub(crate) fn is_behind(&self, commit: Index) -> bool {
        let entries = commit.0.saturating_sub(self.applied.0);
        entries > self.window_entries_max || self.bytes >= self.window_bytes_max
    }

    /// The machine stays down as long as this process runs.
    pub(crate) fn machine_down(&mut self) {
        self.is_down = true;
    }

    pub(crate) fn is_down(&self) -> bool {
        self.is_down
    }

    /// The applier has had entries for this long and has applied none of them, or its machine is down.
    pub(crate) fn is_stuck(&self, now: Time, limit: Duration) -> bool {
        self.is_down || self.waits_since.is_some_and(|since| now.since(since) >= limit)
    }

    /// The entries that one window takes.
    pub(crate) fn window_entries(&self) -> u64 {
        self.window_entries_max
    }

    /// Bytes of the entries up to `commit` that are not applied: those that were handed over from memory, or still are in
    /// memory. What waits on disk alone is not counted.
    pub(crate) fn lag_bytes(&self, tail: &Tail, commit: Index) -> usize {
        let first = self.handed.next().max(tail.base().index.next());
        let ahead = (first.0..=commit.0).map(Index);
        self.bytes + ahead.filter_map(|index| tail.get(index)).map(Entry::encoded_bytes).sum::<usize>()
    }

    /// Hands over committed entries up to `ceiling`, as far as the window allows.
    pub(crate) fn hand_over_committed(
        &mut self,
        now: Time,
        tail: &Tail,
        ceiling: Index,
        effects: &mut Vec<Effect>,
    ) {
        while self.handed < ceiling && self.reading.is_none() && self.awaits.is_none() {
            let room = self.room();
            if room == 0 {
                return;
            }
            self.waits_since.get_or_insert(now);
            let from = self.handed.next();
            let through = ceiling.min(self.handed.plus(room));
            let bytes_max = BATCH_BYTES_MAX.min(self.window_bytes_max - self.bytes);
            let Ok(entries) = tail.slice(from, through, BATCH_ENTRIES_MAX, bytes_max) else {
                let through = through.min(tail.base().index).min(self.handed.plus(BATCH_ENTRIES_MAX as u64));
                effects.push(Effect::ReadLog {
                    reader: Reader::Applier,
                    from,
                    through,
                    bytes_max: BATCH_BYTES_MAX,
                });
                self.reading = Some(from);
                return;
            };
            for bytes in entries.iter().map(Entry::encoded_bytes) {
                self.sizes.push_back(bytes);
                self.bytes += bytes;
            }
            self.handed = entries.last().map(Entry::log_id).expect("the tail reaches the ceiling").index;
            effects.push(Effect::Apply { entries });
        }
    }
}
