//! "Sometimes" assertions: what a set of runs must have met, or it proves nothing.

use std::collections::BTreeMap;

use super::nemesis::Attack;

/// Counts what happened.
#[derive(Debug, Clone, Default)]
pub(crate) struct Coverage {
    pub(crate) counts: BTreeMap<String, u64>,
}

impl Coverage {
    pub(crate) fn note(&mut self, what: &str) {
        if let Some(count) = self.counts.get_mut(what) {
            *count += 1;
        } else {
            self.counts.insert(what.to_owned(), 1);
        }
    }

    pub(crate) fn hit(&mut self, attack: Attack) {
        self.note(&format!("attack {attack:?}"));
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (what, count) in &other.counts {
            *self.counts.entry(what.clone()).or_default() += count;
        }
    }

    pub(crate) fn of(&self, what: &str) -> u64 {
        self.counts.get(what).copied().unwrap_or(0)
    }
}
