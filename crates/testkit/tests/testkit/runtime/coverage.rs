//! "Sometimes" assertions: what a set of runs must have met, or it proves nothing.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Counts what happened in one run, or in many. Clones count together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Coverage(Rc<RefCell<BTreeMap<String, u64>>>);

impl Coverage {
    pub(crate) fn note(&self, what: impl Into<String>) {
        *self.0.borrow_mut().entry(what.into()).or_default() += 1;
    }

    /// Adds what was counted, perhaps on another thread.
    pub(crate) fn merge(&self, counts: BTreeMap<String, u64>) {
        for (what, count) in counts {
            *self.0.borrow_mut().entry(what).or_default() += count;
        }
    }

    pub(crate) fn counts(&self) -> BTreeMap<String, u64> {
        self.0.borrow().clone()
    }

    pub(crate) fn of(&self, what: &str) -> u64 {
        self.0.borrow().get(what).copied().unwrap_or(0)
    }

    /// Attacks, all kinds together.
    pub(crate) fn attacks(&self) -> u64 {
        let counts = self.0.borrow();
        counts.iter().filter(|(what, _)| what.starts_with("attack ")).map(|(_, count)| count).sum()
    }

    /// One line.
    pub(crate) fn line(&self) -> String {
        let counts = self.0.borrow();
        counts.iter().map(|(what, count)| format!("{what} {count}")).collect::<Vec<_>>().join(", ")
    }
}
