//! "Sometimes" assertions: what a set of runs must have met, or it proves nothing.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// What happened in one run, or in many.
#[derive(Debug, Clone, Default)]
pub(crate) struct Met {
    counts: BTreeMap<String, u64>,
    longest: BTreeMap<&'static str, Duration>,
}

/// Counts what happened. Clones count together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Coverage(Rc<RefCell<Met>>);

impl Coverage {
    pub(crate) fn note(&self, what: impl Into<String>) {
        *self.0.borrow_mut().counts.entry(what.into()).or_default() += 1;
    }

    /// Keeps the longest time that something took.
    pub(crate) fn took(&self, what: &'static str, span: Duration) {
        let mut met = self.0.borrow_mut();
        let longest = met.longest.entry(what).or_default();
        *longest = span.max(*longest);
    }

    /// Adds what was met, perhaps on another thread.
    pub(crate) fn merge(&self, met: Met) {
        for (what, count) in met.counts {
            *self.0.borrow_mut().counts.entry(what).or_default() += count;
        }
        met.longest.into_iter().for_each(|(what, span)| self.took(what, span));
    }

    pub(crate) fn met(&self) -> Met {
        self.0.borrow().clone()
    }

    pub(crate) fn of(&self, what: &str) -> u64 {
        self.0.borrow().counts.get(what).copied().unwrap_or(0)
    }

    /// Attacks, all kinds together.
    pub(crate) fn attacks(&self) -> u64 {
        let met = self.0.borrow();
        met.counts.iter().filter(|(what, _)| what.starts_with("attack ")).map(|(_, count)| count).sum()
    }

    /// One line.
    pub(crate) fn line(&self) -> String {
        let met = self.0.borrow();
        met.counts.iter().map(|(what, count)| format!("{what} {count}")).collect::<Vec<_>>().join(", ")
    }

    /// The longest times, each with a comma.
    pub(crate) fn longest(&self) -> String {
        let met = self.0.borrow();
        let each = met.longest.iter().map(|(what, span)| format!("longest {what} {} ms, ", span.as_millis()));
        each.collect::<Vec<_>>().concat()
    }
}
