//! What clients did, in the order in which it began and ended.

use std::sync::{Arc, Mutex, MutexGuard};

use crate::lock::lock;

/// What a register holds.
pub type Value = u64;

/// What a client asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Read the value.
    Read,
    /// Set the value.
    Write(Value),
    /// Set `value` if the register holds `expected`; `None` is no value.
    CompareAndSet {
        /// The value that the register must hold.
        expected: Option<Value>,
        /// The value that is set.
        value: Value,
    },
    /// Remove the value.
    Delete,
}

/// What a client was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// To a read: what the register holds.
    Value(Option<Value>),
    /// To a write.
    Written,
    /// To a compare-and-set: the value was as expected and is changed.
    Swapped,
    /// To a compare-and-set: the value was not as expected and is kept.
    Kept {
        /// The value that the register holds.
        current: Option<Value>,
    },
    /// To a delete.
    Deleted {
        /// Whether there was a value.
        existed: bool,
    },
}

/// How an operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The operation took effect, and its reply arrived.
    Replied {
        /// The moment at which the reply arrived, on the scale of [`Operation::start`].
        at: u64,
        /// The reply.
        reply: Reply,
    },
    /// Not known: it may take effect at any time after its start, or never.
    Unknown,
    /// It never takes effect: the reply was refused, or failed.
    Refused,
}

/// One operation of one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// The number of the client that called it.
    pub client: u32,
    /// The name of the register.
    pub key: String,
    /// The call and its arguments.
    pub call: Call,
    /// The moment at which it began. Moments are numbered in their order, and no two are equal.
    pub start: u64,
    /// Its outcome as the client knows it.
    pub ended: Ended,
}

/// All operations of a run, in no particular order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// The operations of all clients and registers.
    pub operations: Vec<Operation>,
}

impl History {
    /// How many operations were replied to, ended unknown, and were refused.
    pub fn outcomes(&self) -> [usize; 3] {
        let mut counts = [0; 3];
        for operation in &self.operations {
            let at = match operation.ended {
                Ended::Replied { .. } => 0,
                Ended::Unknown => 1,
                Ended::Refused => 2,
            };
            counts[at] += 1;
        }
        counts
    }
}

/// Records what concurrent clients do. Clones write to the same history.
///
/// Moments are drawn from one counter under one lock: an operation that ended before another began, in any thread, has
/// the smaller number. The moment of an end is drawn after its reply has arrived and that of a start before anything is
/// sent, so that the recorded operation encloses the real one.
#[derive(Debug, Clone, Default)]
pub struct Recorder {
    shared: Arc<Mutex<Recorded>>,
}

#[derive(Debug, Default)]
struct Recorded {
    now: u64,
    operations: Vec<Operation>,
}

impl Recorder {
    /// A recorder with an empty history.
    pub fn new() -> Self {
        Self::default()
    }

    /// An operation begins. Until it is told otherwise, its outcome counts as unknown.
    pub fn begin(&self, client: u32, key: &str, call: Call) -> Pending {
        let mut recorded = self.lock();
        let start = recorded.tick();
        let at = recorded.operations.len();
        let operation = Operation { client, key: key.to_owned(), call, start, ended: Ended::Unknown };
        recorded.operations.push(operation);
        Pending { recorder: self.clone(), at }
    }

    /// What was recorded so far; operations under way are unknown.
    pub fn history(&self) -> History {
        History { operations: self.lock().operations.clone() }
    }

    /// A client that panicked holding the lock has left the list whole: each change is one assignment.
    fn lock(&self) -> MutexGuard<'_, Recorded> {
        lock(&self.shared)
    }
}

impl Recorded {
    fn tick(&mut self) -> u64 {
        self.now += 1;
        self.now
    }
}

/// An operation under way. If it is dropped, its outcome is unknown.
#[derive(Debug)]
pub struct Pending {
    recorder: Recorder,
    at: usize,
}

impl Pending {
    /// The reply has just arrived.
    pub fn replied(self, reply: Reply) {
        let mut recorded = self.recorder.lock();
        let at = recorded.tick();
        recorded.operations[self.at].ended = Ended::Replied { at, reply };
    }

    /// It was refused, or failed: it never takes effect.
    pub fn refused(self) {
        self.recorder.lock().operations[self.at].ended = Ended::Refused;
    }

    /// Its outcome is not known.
    pub fn unknown(self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ended_before_another_began_has_the_smaller_number() {
        let recorder = Recorder::new();
        let first = recorder.begin(0, "k", Call::Write(1));
        let second = recorder.begin(1, "k", Call::Read);
        first.replied(Reply::Written);
        let third = recorder.begin(0, "k", Call::Delete);
        second.unknown();
        third.refused();
        let history = recorder.history();
        let [first, second, third] = &history.operations[..] else { panic!("three operations") };
        assert_eq!(first.ended, Ended::Replied { at: 3, reply: Reply::Written });
        assert_eq!((first.start, second.start, third.start), (1, 2, 4));
        assert_eq!((second.ended, third.ended), (Ended::Unknown, Ended::Refused));
        assert_eq!(history.outcomes(), [1, 1, 1]);
    }
}
