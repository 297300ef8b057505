//! What a machine may know about the command it applies: only what is in the log, and so the same on every replica.
//!
//! There is no `is_replay` and no "am I the leader": a machine that knew could differ by it. The runtime drops the
//! events and replies of replayed entries itself.

use bytes::Bytes;
use quorate_core::{Entry, Index, LogId, Term};

use super::key::CommandKey;

/// Events one command may emit; what is emitted beyond is counted and left out.
pub const EVENTS_MAX: usize = 1_024;

/// An event that a machine emits for those who watch the group. Watchers see it once it is durable, in log order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The subject. Watchers filter by a prefix of it.
    pub key: Bytes,
    /// The new value, or `None` if it was deleted.
    pub body: Option<Bytes>,
}

/// Passed to [`StateMachine::apply`](super::StateMachine::apply).
#[derive(Debug)]
pub struct ApplyContext<'a> {
    pub(super) entry: &'a Entry,
    pub(super) command: &'a [u8],
    pub(super) key: Option<CommandKey>,
    pub(super) events: Vec<Event>,
    pub(super) events_left_out: u64,
    /// Whether anyone takes the events.
    heard: bool,
}

impl<'a> ApplyContext<'a> {
    pub(super) fn new(entry: &'a Entry, command: &'a [u8], key: Option<CommandKey>, heard: bool) -> Self {
        Self { entry, command, key, events: Vec::new(), events_left_out: 0, heard }
    }

    /// Whether an event that is emitted goes anywhere. For machines of this crate, which may save its bytes; not for others:
    /// it is not the same on every replica.
    pub(super) fn is_heard(&self) -> bool {
        self.heard
    }

    pub(crate) fn log_id(&self) -> LogId {
        self.entry.log_id()
    }

    /// Where the command stands in the log. Grows by at least one from command to command: a version number.
    pub fn index(&self) -> Index {
        self.entry.index
    }

    /// The term of the leader that proposed it.
    pub fn term(&self) -> Term {
        self.entry.term
    }

    /// The proposing leader's wall clock at append, in milliseconds since 1970. It never falls from entry to entry, and
    /// may stand still or jump.
    pub fn time_ms(&self) -> u64 {
        self.entry.time_ms
    }

    /// 32 bytes that are the same on every replica and differ for every entry: the log's hash chain at this entry. Good
    /// as the seed of a random number generator or for unique ids; no secret.
    pub fn seed(&self) -> [u8; 32] {
        self.entry.chain.0
    }

    /// The key it was proposed under, if any.
    pub fn key(&self) -> Option<CommandKey> {
        self.key
    }

    /// The command as it stands in the log, in MessagePack, without its envelope.
    pub fn command_bytes(&self) -> &[u8] {
        self.command
    }

    /// Emits an event. At most [`EVENTS_MAX`] per command.
    pub fn emit(&mut self, event: Event) {
        if !self.heard {
            return;
        }
        if self.events.len() < EVENTS_MAX {
            self.events.push(event);
        } else {
            self.events_left_out += 1;
        }
    }
}
