//! The place at which every order breaks off.

use std::collections::BTreeSet;

use super::record::{Call, Ended, Operation, Reply, Value};
use super::register::State;

/// Operations kept of those that found a place before the one that has none.
const BEFORE_MAX: usize = 12;

/// The part of a history that is to blame: where the search got furthest, and why it got no further. Printed, it is in
/// words; [`NotLinearizable::draw`](super::NotLinearizable::draw) makes a picture of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// How many found their place.
    pub(super) placed: usize,
    /// The last of them, in the order found.
    pub(super) order: Vec<Operation>,
    /// What the register holds after them.
    pub(super) state: State,
    /// Those of which one should come next.
    pub(super) waiting: Vec<Operation>,
    /// The first end among them: what has not found its place by then never will.
    pub(super) held_up_by: u64,
    /// Others that wrote what is asked for here.
    pub(super) related: Vec<Operation>,
    /// The fewest found that contradict each other.
    pub(super) fewest: Vec<Operation>,
}

impl Window {
    pub(super) fn new(
        order: &[&Operation],
        state: State,
        waiting: &[&Operation],
        held_up_by: u64,
        fewest: Vec<Operation>,
        all: &[&Operation],
    ) -> Self {
        let owned = |operations: &[&Operation]| operations.iter().map(|one| (*one).clone()).collect();
        let wanted: BTreeSet<Value> = waiting.iter().filter_map(|operation| wanted(operation)).collect();
        let before = &order[order.len().saturating_sub(BEFORE_MAX)..];
        let shown: BTreeSet<u64> = before.iter().chain(waiting).map(|operation| operation.start).collect();
        let is_related = |operation: &&&Operation| {
            left(operation.call).is_some_and(|value| wanted.contains(&value))
                && !shown.contains(&operation.start)
        };
        let mut related: Vec<_> = all.iter().filter(is_related).copied().collect();
        related.sort_by_key(|operation| operation.start);
        Self {
            placed: order.len(),
            order: owned(before),
            state,
            waiting: owned(waiting),
            held_up_by,
            related: owned(&related),
            fewest,
        }
    }

    /// The fewest operations found that contradict each other, in the order in which they began: whatever else happened,
    /// no register gives these replies.
    pub fn fewest(&self) -> &[Operation] {
        &self.fewest
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
