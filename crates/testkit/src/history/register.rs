//! The register: what each operation does to it, and which replies it can give.

use std::collections::BTreeSet;

use super::record::{Call, Reply, Value};

/// What a register holds.
pub(super) type State = Option<Value>;

/// What the register holds after an operation that was replied to, or `None` if it could not have replied so.
pub(super) fn replied(state: State, call: Call, reply: Reply) -> Option<State> {
    match (call, reply) {
        (Call::Read, Reply::Value(value)) => (value == state).then_some(state),
        (Call::Write(value), Reply::Written) => Some(Some(value)),
        (Call::CompareAndSet { expected, value }, Reply::Swapped) => {
            (state == expected).then_some(Some(value))
        }
        (Call::CompareAndSet { expected, .. }, Reply::Kept { current }) => {
            (state == current && state != expected).then_some(state)
        }
        (Call::Delete, Reply::Deleted { existed }) => (existed == state.is_some()).then_some(None),
        // A reply to another call: no register gives it.
        (Call::Read | Call::Write(_) | Call::CompareAndSet { .. } | Call::Delete, _) => None,
    }
}

/// What the register holds after an operation whose outcome is not known.
pub(super) fn unknown(state: State, call: Call) -> State {
    match call {
        Call::Read => state,
        Call::Write(value) => Some(value),
        Call::CompareAndSet { expected, value } => {
            if state == expected {
                Some(value)
            } else {
                state
            }
        }
        Call::Delete => None,
    }
}

/// Whether the reply says that nothing changed, whatever the state. Such an operation can be put in its place as soon
/// as it fits: no later operation depends on it.
pub(super) fn only_looks(reply: Reply) -> bool {
    match reply {
        Reply::Value(_) | Reply::Kept { .. } | Reply::Deleted { existed: false } => true,
        Reply::Written | Reply::Swapped | Reply::Deleted { existed: true } => false,
    }
}

/// Whether the result depends on the value before it. If not, the operation overwrites that value without reading it.
pub(super) fn depends(call: Call, reply: Option<Reply>) -> bool {
    match (call, reply) {
        (Call::Read | Call::CompareAndSet { .. }, _) | (Call::Delete, Some(_)) => true,
        (Call::Write(_), _) | (Call::Delete, None) => false,
    }
}

/// The states that a reply or a condition depends on.
#[derive(Debug, Default)]
pub(super) struct Observed {
    states: BTreeSet<State>,
    any_value: bool,
}

impl Observed {
    /// Notes what a reply depends on.
    pub(super) fn replied(&mut self, call: Call, reply: Reply) {
        match (call, reply) {
            (_, Reply::Value(value)) => drop(self.states.insert(value)),
            (_, Reply::Kept { current }) => drop(self.states.insert(current)),
            (Call::CompareAndSet { expected, .. }, Reply::Swapped) => drop(self.states.insert(expected)),
            (_, Reply::Deleted { existed: true }) => self.any_value = true,
            (_, Reply::Deleted { existed: false }) => drop(self.states.insert(None)),
            (_, Reply::Written | Reply::Swapped) => {}
        }
    }

    /// Notes what an operation that may or may not happen depends on.
    pub(super) fn unknown(&mut self, call: Call) {
        if let Call::CompareAndSet { expected, .. } = call {
            self.states.insert(expected);
        }
    }

    /// What an operation of unknown outcome does, as far as replies show: two with the same effect are interchangeable. A value that is
    /// in no reply and no condition is as good as any other.
    pub(super) fn kind(&self, call: Call) -> (Option<State>, Option<Value>, bool) {
        let seen = |value| Some(value).filter(|value| self.states.contains(&Some(*value)));
        match call {
            Call::Write(value) => (None, seen(value), true),
            Call::CompareAndSet { expected, value } => (Some(expected), seen(value), true),
            // A read does nothing, and is never placed.
            Call::Read | Call::Delete => (None, None, false),
        }
    }

    /// Whether an operation of unknown outcome can matter. If no reply depends on the state it leaves, any order with it
    /// is also one without it.
    pub(super) fn needs(&self, call: Call) -> bool {
        match call {
            Call::Read => false,
            Call::Write(value) | Call::CompareAndSet { value, .. } => {
                self.any_value || self.states.contains(&Some(value))
            }
            Call::Delete => self.states.contains(&None),
        }
    }
}
