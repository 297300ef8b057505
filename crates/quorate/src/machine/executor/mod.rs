//! Holds a machine, its sessions and their position, and steps them together: entry in, outcome out.
//!
//! Theory of operation. `apply` takes each entry once, in order. A command's session key is looked up first; only a new
//! one reaches the machine. What the machine and the user's (de)serialisers do runs under `catch_unwind`: a panic while a
//! command is applied leaves a machine that may be half-changed, so it is dropped and the executor is *faulted* until it
//! is [restored](Executor::restore) or a snapshot from beyond that entry is [installed](Executor::install).
//!
//! `AssertUnwindSafe` is sound for `apply` because nothing that the closure could leave broken is used again. For a query
//! and a capture, which have `&self`, it rests on the contract that they change nothing; a machine with interior
//! mutability may break that, which no bound on `M` can rule out without forbidding caches. So such a panic is an error
//! to its caller and the machine goes on.
//!
//! It never does: I/O, waiting, answering callers. It does not check the hash chain: entries are verified where they
//! arrive and where they are read.

mod error;
mod image;

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use quorate_core::{Entry, EntryKind, Index, LogId, Position};

pub use self::error::{ApplyError, CaptureError, Fault, QueryFailed};
pub use self::image::SnapshotZero;
use super::codec;
use super::context::{ApplyContext, Event};
use super::envelope::{Envelope, EnvelopeError};
use super::sessions::{Lookup, REPLY_BYTES_MAX, Sessions};
use super::{CodecError, StateMachine};

/// What became of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Executed<R> {
    /// The entry.
    pub at: LogId,
    /// What it did.
    pub outcome: Execution<R>,
    /// What the machine emitted, in order. Publish them once the entry is durable, and never for a replayed entry.
    pub events: Vec<Event>,
    /// Events beyond [`EVENTS_MAX`](super::EVENTS_MAX): watchers have to be told that they missed some.
    pub events_left_out: u64,
}

/// The outcomes of an entry that was taken. All replicas come to the same one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Execution<R> {
    /// Applied now; this is the machine's reply.
    Replied(R),
    /// A retry: applied before, at `index`, with this reply. Nothing changed now.
    Repeated {
        /// Where it was applied.
        index: Index,
        /// What it was answered there.
        reply: R,
    },
    /// A retry: applied before, at `index`, but the reply was too long to keep or can no longer be read.
    RepeatedWithoutReply {
        /// Where it was applied.
        index: Index,
    },
    /// Not applied now, and never will be: its client went on to a greater sequence. Whether it was applied before is no
    /// longer known.
    Stale {
        /// The client's newest sequence.
        last: u64,
        /// Where that was applied.
        index: Index,
    },
    /// Not applied: its client may have been forgotten, so it may have been applied before. The client needs a new id.
    Expired {
        /// Clients last active at or below this index may have been forgotten.
        forgotten_through: Index,
    },
    /// Not applied: it is no command of this machine. Failed, for ever.
    Unreadable {
        /// Why.
        detail: String,
    },
    /// Nothing for the machine: a leader's first entry, or a change of members.
    NotCommand,
}

/// What to do with a committed command that does not decode as `M::Command`.
///
/// A leader that has its proposals checked ([`check_command`]) lets none in, so one that shows up is either of a client
/// that got past, or of a *newer build* whose command this one does not know. In the second case replicas of the newer
/// build apply it, and refusing it here would make replicas differ.
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

/// Checks that a payload is a command of type `C`: for leaders, on proposals that arrive as bytes, before they enter the
/// log. What fails here is *refused*.
pub fn check_command<C: serde::de::DeserializeOwned>(payload: &Bytes) -> Result<(), String> {
    read_command::<C>(payload).map(drop)
}

fn read_command<C: serde::de::DeserializeOwned>(payload: &Bytes) -> Result<C, String> {
    let envelope = Envelope::decode(payload).map_err(|error| error.to_string())?;
    caught(|| envelope.command::<C>())?.map_err(|error| error.to_string())
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
    life: Life<M>,
    sessions: Sessions,
    /// The last entry taken. Rises by one with each `apply`; only `restore` makes another.
    applied: Position,
    /// Committed commands refused as unreadable: replicas that differ here have builds that differ.
    unreadable: u64,
    on_unreadable: OnUnreadable,
    zero: SnapshotZero,
}

#[derive(Debug)]
enum Life<M> {
    Running(M),
    Faulted(Fault),
}

impl<M> Life<M> {
    fn running(&self) -> Result<&M, &Fault> {
        match self {
            Self::Running(machine) => Ok(machine),
            Self::Faulted(fault) => Err(fault),
        }
    }
}

impl<M: StateMachine> Executor<M> {
    /// Starts with a machine before the first entry, and keeps its snapshot as *snapshot zero*.
    pub fn new(machine: M) -> Result<Self, CaptureError> {
        let zero = SnapshotZero::capture(&machine)?;
        Ok(Self {
            life: Life::Running(machine),
            sessions: Sessions::default(),
            applied: Position::ORIGIN,
            unreadable: 0,
            on_unreadable: OnUnreadable::default(),
            zero,
        })
    }

    /// With another answer to commands that do not decode. It must be the same on every node.
    #[must_use]
    pub fn on_unreadable(self, on_unreadable: OnUnreadable) -> Self {
        Self { on_unreadable, ..self }
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
        self.life.running().err()
    }

    /// How many clients are remembered.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// How many committed commands were refused as unreadable, since the first entry.
    pub fn unreadable(&self) -> u64 {
        self.unreadable
    }

    /// Takes the next entry. On an error nothing was taken, except that [`ApplyError::Faulted`] costs the machine.
    pub fn apply(&mut self, entry: &Entry) -> Result<Executed<M::Reply>, ApplyError> {
        self.check_next(entry)?;
        let (outcome, events, events_left_out) = match entry.kind {
            EntryKind::Noop | EntryKind::Membership => (Execution::NotCommand, Vec::new(), 0),
            EntryKind::Command => self.command(entry)?,
        };
        self.applied = entry.position();
        Ok(Executed { at: entry.log_id(), outcome, events, events_left_out })
    }

    /// Answers from the present state. A query that panics is an error for its caller and nothing more.
    pub fn query(&self, query: M::Query) -> Result<M::Answer, QueryFailed> {
        let machine = self.life.running().map_err(|fault| QueryFailed::Faulted(fault.clone()))?;
        caught(|| machine.query(query)).map_err(|message| QueryFailed::Panicked { message })
    }

    fn check_next(&self, entry: &Entry) -> Result<(), ApplyError> {
        if let Life::Faulted(fault) = &self.life {
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

    fn command(&mut self, entry: &Entry) -> Result<Commanded<M::Reply>, ApplyError> {
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
            ) => return self.refuse(entry.index, error.to_string()).map(quiet),
        };
        let Some(key) = envelope.session else { return self.run(entry, &envelope) };
        match self.sessions.look_up(key, entry.index) {
            Lookup::New => self.run(entry, &envelope),
            Lookup::Repeated { index, reply } => Ok(quiet(repeated(index, reply))),
            Lookup::Stale { last, index } => Ok(quiet(Execution::Stale { last, index })),
            Lookup::Expired { forgotten_through } => Ok(quiet(Execution::Expired { forgotten_through })),
        }
    }

    fn run(&mut self, entry: &Entry, envelope: &Envelope) -> Result<Commanded<M::Reply>, ApplyError> {
        let Life::Running(machine) = &mut self.life else {
            unreachable!("check_next refused a faulted machine")
        };
        let mut cx = ApplyContext::new(entry, &envelope.command, envelope.session);
        // The user's code all in one: a panic in a (de)serialiser is a fault too, for who knows whether all panic alike.
        let result = caught(|| -> Result<_, CodecError> {
            let command = envelope.command::<M::Command>()?;
            let reply = machine.apply(&mut cx, command);
            let kept = envelope.session.and_then(|_| codec::encode(&reply, REPLY_BYTES_MAX).ok());
            Ok((reply, kept))
        });
        match result {
            Ok(Ok((reply, kept))) => {
                if let Some(key) = envelope.session {
                    self.sessions.record(key, entry.index, kept);
                }
                Ok((Execution::Replied(reply), cx.events, cx.events_left_out))
            }
            Ok(Err(error)) => self.refuse(entry.index, error.to_string()).map(quiet),
            Err(message) => Err(ApplyError::Faulted(self.fall(Fault { index: entry.index, message }))),
        }
    }

    fn refuse(&mut self, index: Index, detail: String) -> Result<Execution<M::Reply>, ApplyError> {
        match self.on_unreadable {
            OnUnreadable::Refuse => {
                self.unreadable += 1;
                Ok(Execution::Unreadable { detail })
            }
            OnUnreadable::Halt => Err(ApplyError::Unreadable { index, detail }),
        }
    }

    /// Drops the machine, which may be half-changed, and remembers why.
    fn fall(&mut self, fault: Fault) -> Fault {
        let broken = std::mem::replace(&mut self.life, Life::Faulted(fault.clone()));
        // Even its destructor may panic now; that would tell nobody anything new.
        drop(caught(|| drop(broken)));
        fault
    }
}

type Commanded<R> = (Execution<R>, Vec<Event>, u64);

fn quiet<R>(outcome: Execution<R>) -> Commanded<R> {
    (outcome, Vec::new(), 0)
}

/// A reply that no longer decodes was written by another build; only its caller loses by it.
fn repeated<R: serde::de::DeserializeOwned>(index: Index, reply: Option<Bytes>) -> Execution<R> {
    match reply.map(|bytes| caught(|| codec::decode(&bytes))) {
        Some(Ok(Ok(reply))) => Execution::Repeated { index, reply },
        Some(Ok(Err(_)) | Err(_)) | None => Execution::RepeatedWithoutReply { index },
    }
}

/// Runs the user's code; a panic becomes what it said. Callers say why what it touched is not used broken.
fn caught<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|payload| {
        let said = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let said = said.or_else(|| payload.downcast_ref::<String>().cloned());
        said.unwrap_or_else(|| "a panic without a message".to_owned())
    })
}

#[cfg(test)]
mod tests;
