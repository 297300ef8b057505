//! "Sometimes" assertions: events that a set of runs must have met, otherwise it proves nothing.

use std::collections::BTreeMap;
use std::fmt;

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

    /// Attacks, all kinds together.
    pub(crate) fn faults(&self) -> u64 {
        self.counts.iter().filter(|(what, _)| what.starts_with("attack ")).map(|(_, count)| count).sum()
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

/// Each on its own line, so that a kind of fault is easy to find.
impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.counts.iter().try_for_each(|(what, count)| writeln!(f, "core simulation: {what}: {count}"))
    }
}
