//! Stage 6 of 7, Applied, begins here: from the commit index to the applier. Tracks how far committed entries were handed
//! to the applier, and how far it reports to have applied them.
//!
//! Entries go to the applier from memory if they are there, otherwise from the store; never more than a window ahead of what
//! it has reported, so a slow state machine costs no memory here.

use crate::effect::{Effect, Reader};
use crate::entry::Entry;
use crate::ids::Index;
use crate::tail::Tail;

/// Entries handed to the applier at once, at most.
const BATCH_ENTRIES_MAX: usize = 1_024;
/// Bytes handed to the applier at once, at most (a single entry may exceed it).
const BATCH_BYTES_MAX: usize = 4 << 20;

/// How far an applier has come.
///
/// Invariant: `applied <= handed`. While `reading` is set, the store hands the applier entries from there, and nothing is
/// handed from memory until the applier has reported those applied, so it sees entries in order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ApplyCursor {
    handed: Index,
    applied: Index,
    reading: Option<Index>,
    window_entries_max: u64,
}

impl ApplyCursor {
    /// For an applier that has applied up to `applied`.
    pub(crate) fn new(applied: Index, window_entries_max: u64) -> Self {
        Self { handed: applied, applied, reading: None, window_entries_max }
    }

    /// The last index the applier reported.
    pub(crate) fn applied(&self) -> Index {
        self.applied
    }

    /// The applier reports that it has applied up to `through`.
    pub(crate) fn applied_through(&mut self, through: Index) {
        self.applied = self.applied.max(through);
        self.handed = self.handed.max(through);
        self.reading = self.reading.filter(|from| *from > through);
    }

    /// The applier, or the store it reads from, was restarted: everything above `applied` is handed over again.
    pub(crate) fn restart(&mut self, applied: Index) {
        self.applied = applied;
        self.handed = applied;
        self.reading = None;
    }

    /// Hands over committed entries up to `ceiling`, as far as the window allows.
    pub(crate) fn hand_over_committed(&mut self, tail: &Tail, ceiling: Index, effects: &mut Vec<Effect>) {
        while self.handed < ceiling && self.reading.is_none() {
            let room = self.window_entries_max.saturating_sub(self.handed.0 - self.applied.0);
            if room == 0 {
                return;
            }
            let from = self.handed.next();
            let through = ceiling.min(self.handed.plus(room));
            let Ok(entries) = tail.slice(from, through, BATCH_ENTRIES_MAX, BATCH_BYTES_MAX) else {
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
            self.handed = entries.last().map(Entry::log_id).expect("the tail reaches the ceiling").index;
            effects.push(Effect::Apply { entries });
        }
    }
}
