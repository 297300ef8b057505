//! What a person looks at when there is no order.

use std::collections::BTreeSet;
use std::fmt;

use super::check::NotLinearizable;
use super::record::{Call, Ended, Operation, Reply, Value};
use super::register::State;

/// Operations shown before the one that has no place.
const BEFORE_MAX: usize = 12;
/// Operations shown that wait or are related, at most.
const RELATED_MAX: usize = 24;

/// The place at which every order breaks off.
pub(super) struct Window<'a> {
    order: Vec<&'a Operation>,
    state: State,
    waiting: Vec<&'a Operation>,
    /// Others that wrote what is asked for here.
    related: Vec<&'a Operation>,
}

impl<'a> Window<'a> {
    pub(super) fn new(
        order: Vec<&'a Operation>,
        state: State,
        waiting: Vec<&'a Operation>,
        all: &[&'a Operation],
    ) -> Self {
        let wanted: BTreeSet<Value> = waiting.iter().filter_map(|operation| wanted(operation)).collect();
        let shown_before = &order[order.len().saturating_sub(BEFORE_MAX)..];
        let shown: BTreeSet<u64> =
            shown_before.iter().chain(&waiting).map(|operation| operation.start).collect();
        let is_related = |operation: &&&Operation| {
            left(operation.call).is_some_and(|value| wanted.contains(&value))
                && !shown.contains(&operation.start)
        };
        let mut related: Vec<_> = all.iter().filter(is_related).copied().collect();
        related.sort_by_key(|operation| operation.start);
        Self { order, state, waiting, related }
    }
}

/// What an operation's reply says was there before it.
fn wanted(operation: &Operation) -> Option<Value> {
    let Ended::Replied { reply, .. } = operation.ended else { return None };
    match (operation.call, reply) {
        (_, Reply::Value(value) | Reply::Kept { current: value }) => value,
        (Call::CompareAndSet { expected, .. }, Reply::Swapped) => expected,
        (_, Reply::Swapped | Reply::Written | Reply::Deleted { .. }) => None,
    }
}

/// The value an operation leaves.
fn left(call: Call) -> Option<Value> {
    match call {
        Call::Write(value) | Call::CompareAndSet { value, .. } => Some(value),
        Call::Read | Call::Delete => None,
    }
}

fn shown(state: State) -> String {
    state.map_or_else(|| "nothing".to_owned(), |value| value.to_string())
}

impl fmt::Display for Window<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let skipped = self.order.len().saturating_sub(BEFORE_MAX);
        if skipped > 0 {
            writeln!(f, "  {skipped} operations found their place, then")?;
        }
        for operation in &self.order[skipped..] {
            writeln!(f, "  {operation}")?;
        }
        writeln!(
            f,
            "  now it holds {}, and one of these should come next, but none can:",
            shown(self.state)
        )?;
        for operation in self.waiting.iter().take(RELATED_MAX) {
            writeln!(f, "  > {operation}")?;
        }
        if !self.related.is_empty() {
            writeln!(f, "  where the values they speak of come from:")?;
        }
        for operation in self.related.iter().take(RELATED_MAX) {
            writeln!(f, "    {operation}")?;
        }
        let more =
            self.waiting.len().saturating_sub(RELATED_MAX) + self.related.len().saturating_sub(RELATED_MAX);
        if more > 0 {
            writeln!(f, "  and {more} more")?;
        }
        Ok(())
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = match self.ended {
            Ended::Replied { at, .. } => at.to_string(),
            Ended::Unknown | Ended::Refused => "..".to_owned(),
        };
        write!(f, "[{:>6} {end:>6}] client {:>2}: ", self.start, self.client)?;
        match self.call {
            Call::Read => write!(f, "read")?,
            Call::Write(value) => write!(f, "write {value}")?,
            Call::CompareAndSet { expected, value } => write!(f, "cas {} to {value}", shown(expected))?,
            Call::Delete => write!(f, "delete")?,
        }
        match self.ended {
            Ended::Replied { reply: Reply::Value(value) | Reply::Kept { current: value }, .. } => {
                write!(f, ": it holds {}", shown(value))
            }
            Ended::Replied { reply: Reply::Written, .. } => write!(f, ": written"),
            Ended::Replied { reply: Reply::Swapped, .. } => write!(f, ": swapped"),
            Ended::Replied { reply: Reply::Deleted { existed }, .. } => {
                write!(f, ": {}", if existed { "deleted" } else { "nothing to delete" })
            }
            Ended::Unknown => write!(f, ": unknown"),
            Ended::Refused => write!(f, ": refused"),
        }
    }
}

impl fmt::Display for NotLinearizable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoOrder { key, window } => write!(f, "key {key:?} is not linearizable:\n{window}"),
            Self::OutOfSteps { key, steps } => {
                write!(f, "key {key:?}: no order found in {steps} steps, so that nothing is shown")
            }
            Self::Backwards { operation } => write!(f, "it ends before it begins: {operation}"),
        }
    }
}
