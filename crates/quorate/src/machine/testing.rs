//! A log for the tests of this module.

use quorate_core::{Entry, EntryKind, Hash, Position, Term};
use serde::Serialize;

use super::{ApplyError, CommandKey, Envelope, Executed, Execution, SessionKey};

/// Makes entries that follow each other.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    pub(crate) last: Position,
    pub(crate) term: Term,
    pub(crate) time_ms: u64,
}

impl Default for Log {
    fn default() -> Self {
        Self { last: Position::ORIGIN, term: Term(1), time_ms: 0 }
    }
}

impl Log {
    pub(crate) fn entry(&mut self, kind: EntryKind, payload: impl Into<bytes::Bytes>) -> Entry {
        let payload = payload.into();
        let leaf = Hash::of(&payload);
        let entry = Entry::follow(self.last, self.term, self.time_ms, kind, payload, leaf);
        self.last = entry.position();
        entry
    }

    pub(crate) fn command<C: Serialize>(&mut self, command: &C, session: Option<SessionKey>) -> Entry {
        self.keyed(command, session.map(CommandKey::from))
    }

    pub(crate) fn keyed<C: Serialize>(&mut self, command: &C, key: Option<CommandKey>) -> Entry {
        let payload = Envelope::encode(command, key, usize::MAX).expect("encodes");
        self.entry(EntryKind::Command, payload)
    }
}

/// The reply of an entry that was applied now.
#[track_caller]
pub(crate) fn replied<R: std::fmt::Debug>(executed: Result<Executed<R>, ApplyError>) -> R {
    match executed.expect("applies").outcome {
        Execution::Replied(reply) => reply,
        other => panic!("not applied now: {other:?}"),
    }
}
