//! Log matching: entries with one index and term are the same entry, and so is everything before (Raft paper, figure
//! 3). The chain hash covers the prefix, so comparing it compares all.

use std::collections::BTreeMap;

use quorate_core::{Hash, LogId, Persist};

#[derive(Debug, Default)]
pub(crate) struct LogMatching {
    entries: BTreeMap<LogId, Hash>,
}

impl LogMatching {
    pub(crate) fn persisting(&mut self, persist: &Persist) {
        for entry in &persist.entries {
            assert!(entry.term <= persist.hard_state.term, "an entry of a term that is not durable yet");
            let known = self.entries.entry(entry.log_id()).or_insert(entry.chain);
            assert_eq!(*known, entry.chain, "log matching at {}", entry.log_id());
        }
    }
}
