//! The executor: entry in, outcome out.

use bytes::Bytes;
use quorate_core::{Entry, EntryKind, Index, LogId, Position};

use super::error::{ApplyError, CaptureError, Fault, QueryFailed};
use super::image::SnapshotZero;
use crate::machine::caught::caught;
use crate::machine::codec::{self, CodecError};
use crate::machine::context::{ApplyContext, Event};
use crate::machine::envelope::{Envelope, EnvelopeError};
use crate::machine::key::CommandHash;
use crate::machine::key_table::KeyTable;
use crate::machine::sessions::{Lookup, REPLY_BYTES_MAX};
use crate::machine::state_machine::StateMachine;

/// An entry that was taken, and what it did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Executed<R> {
    /// The entry.
    pub at: LogId,
    /// What it did.
    pub outcome: Execution<R>,
    /// What the machine emitted, in order. Publish them once the entry is durable, and never for a replayed entry.
    pub events: Vec<Event>,
    /// Events beyond [`EVENTS_MAX`](super::super::EVENTS_MAX): watchers have to be told that they missed some.
    pub events_left_out: u64,
}

/// The outcomes of an entry that was taken. All replicas come to the same one. `K` is a reply that was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Execution<R, K = R> {
    /// Applied now; this is the machine's reply.
    Replied(R),
    /// Not applied now: a command was applied under its key, or may have been. Nothing changed.
    Found(Lookup<K>),
    /// Not applied: it is no command of this machine. Failed: it will never be applied.
    Unreadable {
        /// Why it does not decode.
        detail: String,
    },
    /// Nothing for the machine: a leader's first entry, or a change of members.
    NotCommand,
}

/// What to do with a committed command that does not decode as `M::Command`.
///
/// It is either damaged by its client or of a *newer build* whose command this build does not know. In the second case
/// replicas of the newer build apply it, and refusing it here would make replicas differ. The machine of a group always
/// [halts](Self::Halt) before it; the choice is for programs that run an [`Executor`] of their own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnUnreadable {
    /// Answer [`Execution::Unreadable`] and go on. Replicas agree as long as their builds read the same commands: upgrade
    /// all nodes before the first new kind of command is proposed. One bad payload cannot stop a group.
    #[default]
    Refuse,
    /// Stop before it ([`ApplyError::Unreadable`]): right where every proposal is checked by its leader. A node of an
    /// older build then waits for its upgrade, and nothing differs.
    Halt,
}

/// Runs one replica of a state machine. See the module's header.
///
/// ```
/// use quorate::machine::{Add, Counter, Envelope, Execution, Executor, Total};
/// use quorate_core::{Entry, EntryKind, Hash, Position, Term};
///
/// let mut executor = Executor::new(Counter::default())?;
/// let payload = Envelope::encode(&Add(5), None, 1 << 20)?;
/// let leaf = Hash::of(&payload);
/// let entry = Entry::follow(Position::ORIGIN, Term(1), 0, EntryKind::Command, payload, leaf);
/// let executed = executor.apply(&entry)?;
/// assert!(matches!(executed.outcome, Execution::Replied(total) if total == 5));
/// assert_eq!(executor.query(Total.into())?, 5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Executor<M> {
    pub(super) machine: Result<M, Fault>,
    pub(super) keys: KeyTable,
    /// The last entry taken. Rises by one with each entry; only `restore` and `install` set it otherwise.
    pub(super) applied: Position,
    /// Committed commands refused as unreadable. Replicas that differ here run builds that differ.
    pub(super) unreadable: u64,
    pub(super) on_unreadable: OnUnreadable,
    pub(super) zero: SnapshotZero,
    /// Whether the caller takes what the machine emits.
    pub(super) heard: bool,
}

/// What the machine did with a command: its reply, and the reply's bytes where they have to be kept for a retry. `Err` if
/// the command does not decode.
pub(crate) type Ran<R> = Result<(R, Option<Bytes>), CodecError>;

/// The outcome of an entry, while a reply that was kept is still bytes.
pub(crate) type Taken<R> = Execution<R, Bytes>;

/// What does not depend on the machine's type. The applier runs it over a machine behind `dyn`, compiled once.
impl<M> Executor<M> {
    /// With another answer to commands that do not decode. It must be the same on every node.
    #[must_use]
    pub fn on_unreadable(self, on_unreadable: OnUnreadable) -> Self {
        Self { on_unreadable, ..self }
    }

    /// For a caller that takes no events: they are not made.
    #[must_use]
    pub(crate) fn unheard(self) -> Self {
        Self { heard: false, ..self }
    }

    /// The machine as it was before the first entry. Keep it above the actor that owns the executor.
    pub fn zero(&self) -> SnapshotZero {
        self.zero.clone()
    }

    /// The last entry taken.
    pub fn applied(&self) -> Position {
        self.applied
    }

    /// Where the machine panicked, if it did.
    pub fn fault(&self) -> Option<&Fault> {
        self.machine.as_ref().err()
    }

    /// How many clients are remembered.
    pub fn sessions(&self) -> usize {
        self.keys.sessions.len()
    }

    /// How many committed commands were refused as unreadable, since the first entry.
    pub fn unreadable(&self) -> u64 {
        self.unreadable
    }

    /// The machine, unless it panicked.
    pub(crate) fn running(&self) -> Result<&M, Fault> {
        self.machine.as_ref().map_err(Fault::clone)
    }

    /// Takes the next entry. `run` decodes and applies a command, and reports a panic of the machine as its message. On
    /// an error nothing was taken, except that [`ApplyError::Faulted`] costs the machine.
    pub(crate) fn take_entry<R>(
        &mut self,
        entry: &Entry,
        run: impl FnOnce(&mut M, &mut ApplyContext<'_>, &Envelope) -> Result<Ran<R>, String>,
    ) -> Result<(Taken<R>, Emitted), ApplyError> {
        self.check_next(entry)?;
        let taken = match entry.kind {
            EntryKind::Noop | EntryKind::Membership => (Execution::NotCommand, Emitted::default()),
            EntryKind::Command => self.take_command(entry, run)?,
        };
        self.applied = entry.position();
        Ok(taken)
    }

    fn check_next(&self, entry: &Entry) -> Result<(), ApplyError> {
        if let Err(fault) = &self.machine {
            return Err(ApplyError::Faulted(fault.clone()));
        }
        let applied = self.applied.log_id();
        if entry.index <= applied.index {
            return Err(ApplyError::Again { applied, found: entry.log_id() });
        }
        if entry.index != applied.index.next() || entry.term < applied.term {
            return Err(ApplyError::Gap { applied, found: entry.log_id() });
        }
        Ok(())
    }

    fn take_command<R>(
        &mut self,
        entry: &Entry,
        run: impl FnOnce(&mut M, &mut ApplyContext<'_>, &Envelope) -> Result<Ran<R>, String>,
    ) -> Result<(Taken<R>, Emitted), ApplyError> {
        let without_events = |taken| (taken, Emitted::default());
        let envelope = match Envelope::decode(&entry.payload) {
            Ok(envelope) => envelope,
            // Only a newer build writes it, and that build applies it: skipping it would make replicas differ.
            Err(EnvelopeError::Version { version }) => {
                return Err(ApplyError::Newer { index: entry.index, version });
            }
            Err(
                error @ (EnvelopeError::Flags { .. }
                | EnvelopeError::Short { .. }
                | EnvelopeError::TooLarge { .. }),
            ) => return self.refuse(entry.index, error.to_string()).map(without_events),
        };
        let key = envelope.key.map(|key| (key, CommandHash::of(&envelope.command)));
        if let Some((key, command)) = key
            && let Some(found) = self.keys.look_up(key, command, entry.index)
        {
            return Ok(without_events(Execution::Found(found)));
        }
        let machine = self.machine.as_mut().expect("check_next refused a faulted machine");
        let mut cx = ApplyContext::new(entry, &envelope.command, envelope.key, self.heard);
        match run(machine, &mut cx, &envelope) {
            Ok(Ok((reply, kept))) => {
                if let Some((key, command)) = key {
                    self.keys.record(key, command, entry.index, kept);
                }
                Ok((Execution::Replied(reply), Emitted { events: cx.events, left_out: cx.events_left_out }))
            }
            Ok(Err(error)) => self.refuse(entry.index, error.to_string()).map(without_events),
            Err(message) => {
                Err(ApplyError::Faulted(self.drop_machine(Fault { index: entry.index, message })))
            }
        }
    }

    fn refuse<R>(&mut self, index: Index, detail: String) -> Result<Taken<R>, ApplyError> {
        match self.on_unreadable {
            OnUnreadable::Refuse => {
                self.unreadable += 1;
                Ok(Execution::Unreadable { detail })
            }
            OnUnreadable::Halt => Err(ApplyError::Unreadable { index, detail }),
        }
    }

    /// Drops the machine, which may be half-changed, and remembers why.
    fn drop_machine(&mut self, fault: Fault) -> Fault {
        let broken = std::mem::replace(&mut self.machine, Err(fault.clone()));
        // Its destructor may panic too. The fault is already known, so that panic adds nothing.
        drop(caught(|| drop(broken)));
        fault
    }
}

/// What a machine emitted at one entry.
#[derive(Default)]
pub(crate) struct Emitted {
    pub(crate) events: Vec<Event>,
    pub(crate) left_out: u64,
}

impl<M: StateMachine> Executor<M> {
    /// Starts with a machine before the first entry, and keeps its snapshot as *snapshot zero*.
    pub fn new(machine: M) -> Result<Self, CaptureError> {
        let zero = SnapshotZero::capture(&machine)?;
        Ok(Self {
            machine: Ok(machine),
            keys: KeyTable::default(),
            applied: Position::ORIGIN,
            unreadable: 0,
            on_unreadable: OnUnreadable::default(),
            zero,
            heard: true,
        })
    }

    /// Takes the next entry. On an error nothing was taken, except that [`ApplyError::Faulted`] costs the machine.
    pub fn apply(&mut self, entry: &Entry) -> Result<Executed<M::Reply>, ApplyError> {
        let (taken, emitted) = self.take_entry(entry, run_command)?;
        let outcome = match taken {
            Execution::Replied(reply) => Execution::Replied(reply),
            Execution::Found(found) => Execution::Found(found.with_reply(|reply| kept_reply(&reply))),
            Execution::Unreadable { detail } => Execution::Unreadable { detail },
            Execution::NotCommand => Execution::NotCommand,
        };
        let Emitted { events, left_out: events_left_out } = emitted;
        Ok(Executed { at: entry.log_id(), outcome, events, events_left_out })
    }

    /// Answers from the present state. A query that panics is an error for its caller and nothing more.
    pub fn query(&self, query: M::Query) -> Result<M::Answer, QueryFailed> {
        let machine = self.running().map_err(QueryFailed::Faulted)?;
        run_query(machine, query)
    }
}

/// Decodes and applies a command. The user's code all in one: a panic in a (de)serialiser is a fault too, because other
/// replicas may not panic there.
pub(crate) fn run_command<M: StateMachine>(
    machine: &mut M,
    cx: &mut ApplyContext<'_>,
    envelope: &Envelope,
) -> Result<Ran<M::Reply>, String> {
    caught(|| {
        let command = envelope.command::<M::Command>()?;
        let reply = machine.apply(cx, command);
        let kept = envelope.key.and_then(|_| codec::encode(&reply, REPLY_BYTES_MAX).ok());
        Ok((reply, kept))
    })
}

pub(crate) fn run_query<M: StateMachine>(machine: &M, query: M::Query) -> Result<M::Answer, QueryFailed> {
    caught(|| machine.query(query)).map_err(|message| QueryFailed::Panicked { message })
}

/// The reply a retry gets. One that no longer decodes was written by another build: only its caller loses by it.
pub(crate) fn kept_reply<R: serde::de::DeserializeOwned>(reply: &Bytes) -> Option<R> {
    caught(|| codec::decode(reply).ok()).ok().flatten()
}
