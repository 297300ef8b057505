//! What clients did, in the order in which it began and ended.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a register holds.
pub type Value = u64;

/// What a client asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// The value.
    Read,
    /// To hold this.
    Write(Value),
    /// To hold `value` if it holds `expected` now; `None` is no value.
    CompareAndSet {
        /// What it must hold.
        expected: Option<Value>,
        /// What it is to hold.
        value: Value,
    },
    /// To hold nothing.
    Delete,
}

/// What a client was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// To a read: what the register holds.
    Value(Option<Value>),
    /// To a write.
    Written,
    /// To a compare-and-set: it was as expected and is changed.
    Swapped,
    /// To a compare-and-set: it was not as expected; it holds this.
    Kept {
        /// What it holds.
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
    /// With a reply, at this moment.
    Replied {
        /// When.
        at: u64,
        /// What was said.
        reply: Reply,
    },
    /// Nobody knows: it may take effect at any time after its start, or never.
    Unknown,
    /// It never takes effect: the reply was refused, or failed.
    Refused,
}

/// One operation of one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Who.
    pub client: u32,
    /// On which register.
    pub key: String,
    /// What was asked.
    pub call: Call,
    /// When it began. Moments are numbered: only their order counts, and no two are alike.
    pub start: u64,
    /// How it ended.
    pub ended: Ended,
}

/// All operations of a run, in no particular order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// The operations.
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
    /// Nothing yet.
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
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recorded {
    fn tick(&mut self) -> u64 {
        self.now += 1;
        self.now
    }
}

/// An operation under way. Dropped without a word, its outcome is unknown.
#[derive(Debug)]
pub struct Pending {
    recorder: Recorder,
    at: usize,
}

impl Pending {
    /// It was replied to just now.
    pub fn replied(self, reply: Reply) {
        let mut recorded = self.recorder.lock();
        let at = recorded.tick();
        recorded.operations[self.at].ended = Ended::Replied { at, reply };
    }

    /// It was refused, or failed: it never takes effect.
    pub fn refused(self) {
        self.recorder.lock().operations[self.at].ended = Ended::Refused;
    }

    /// Nobody knows what became of it.
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
