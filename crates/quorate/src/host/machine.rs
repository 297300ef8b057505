//! A state machine behind `dyn`: what the applier knows of it. So the applier and everything below it is compiled
//! once, in this crate; per machine only what uses its types is compiled: decoding a command, applying it, encoding or
//! sending the reply, answering a query (`docs/decisions/0020-machine-behind-dyn.md`).
//!
//! A panic of the machine or of its (de)serialisers is caught in here and returned as a message.

use std::marker::PhantomData;

use bytes::Bytes;
use quorate_core::{Index, LogId};

use crate::error::{ProposeError, QueryError};
use crate::host::held::HeldReplies;
use crate::machine::{
    ApplyContext, CaptureError, Envelope, Executor, OnUnreadable, QueryFailed, Ran, RestoreError, Snapshot,
    SnapshotReader, SnapshotZero, StateMachine, caught, decode, encode_reply, kept_reply, run_command,
    run_query,
};
use crate::ports::{Answered, Applied, ProposalPort, QueryPort, TypedPort, TypedQuery};
use crate::protocol::Response;

/// The longest reply or answer that is sent to another node, in bytes.
const RESPONSE_BYTES_MAX: usize = 8 << 20;

/// A state machine of a type that only its handle knows.
pub(crate) trait MachineHost: Send {
    /// Decodes and applies a command, and answers its proposer if one waits: one call per entry. `Err` is the message of
    /// a panic. The port is left where it was if the command was not applied. What goes to other nodes goes with `replies`.
    fn apply_command(
        &mut self,
        cx: &mut ApplyContext<'_>,
        envelope: &Envelope,
        port: &mut Option<ProposalPort>,
        replies: &HeldReplies,
    ) -> Result<Ran<()>, String>;

    /// Captures the machine. A panic is the caller's to catch.
    fn snapshot(&self) -> Snapshot;

    /// Answers a retry with the reply that was kept.
    fn repeat_reply(&self, port: ProposalPort, at: LogId, reply: Option<Bytes>);

    /// Answers a query; `applied` is the last index the machine has taken. What goes to another node goes with `replies`.
    fn answer_query(&self, port: QueryPort, applied: Index, replies: &HeldReplies);
}

/// Makes a group's machine, as often as its applier is started; owned above the group's actor.
pub(crate) trait MachineFactory: Send + Sync {
    /// Whether the machine of this build can read the payload of a command. A leader appends no other: a replica that meets
    /// one in its log stops there.
    fn check_command(&self, payload: &Bytes) -> Result<(), String>;

    /// The machine that a snapshot was taken of, or, without one, the machine before its first entry, with no client sessions.
    fn restore(
        &self,
        newest: Option<SnapshotReader<'_>>,
    ) -> Result<Executor<Box<dyn MachineHost>>, RestoreError>;
}

/// The factory of a machine, from the state it was given to the group with.
pub(crate) fn factory_of<M: StateMachine>(machine: M) -> Result<impl MachineFactory, CaptureError> {
    let zero = Executor::new(machine)?.zero();
    Ok(Factory::<M> { zero, machine: PhantomData })
}

struct Factory<M> {
    zero: SnapshotZero,
    machine: PhantomData<fn() -> M>,
}

impl<M: StateMachine> MachineFactory for Factory<M> {
    fn check_command(&self, payload: &Bytes) -> Result<(), String> {
        let envelope = Envelope::decode(payload).map_err(|error| error.to_string())?;
        match caught(|| envelope.command::<M::Command>().map(drop)) {
            Ok(read) => read.map_err(|error| error.to_string()),
            Err(panic) => Err(format!("its deserialiser panicked: {panic}")),
        }
    }

    fn restore(
        &self,
        newest: Option<SnapshotReader<'_>>,
    ) -> Result<Executor<Box<dyn MachineHost>>, RestoreError> {
        let host =
            |reader: SnapshotReader<'_>| Ok(Box::new(Host(M::restore(reader)?)) as Box<dyn MachineHost>);
        // Every command was checked by the leader that appended it, so what cannot be read here is of a newer build.
        Executor::restore_with(self.zero.clone(), newest, host)
            .map(|executor| executor.on_unreadable(OnUnreadable::Halt).unheard())
    }
}

/// The thin adapter from a typed machine to [`MachineHost`].
struct Host<M>(M);

impl<M: StateMachine> MachineHost for Host<M> {
    fn apply_command(
        &mut self,
        cx: &mut ApplyContext<'_>,
        envelope: &Envelope,
        port: &mut Option<ProposalPort>,
        replies: &HeldReplies,
    ) -> Result<Ran<()>, String> {
        let at = cx.log_id();
        Ok(run_command(&mut self.0, cx, envelope)?.map(|(reply, kept)| {
            if let Some(port) = port.take() {
                let applied = Applied { reply, index: at.index.0, term: at.term.0 };
                send_reply(port, Ok(applied), kept.as_ref(), replies);
            }
            ((), kept)
        }))
    }

    fn snapshot(&self) -> Snapshot {
        self.0.snapshot()
    }

    fn repeat_reply(&self, port: ProposalPort, at: LogId, reply: Option<Bytes>) {
        let LogId { index, term } = at;
        let applied = reply.and_then(|reply| kept_reply::<M::Reply>(&reply)).map(|reply| Applied {
            reply,
            index: index.0,
            term: term.0,
        });
        let result = applied.ok_or(ProposeError::ReplyNotKept { index: index.0 });
        send_reply(port, result, None, &HeldReplies::default());
    }

    fn answer_query(&self, port: QueryPort, applied: Index, replies: &HeldReplies) {
        match port {
            QueryPort::Local(query) => {
                let typed = query.into_any().downcast::<TypedQuery<M::Query, M::Answer>>();
                let TypedQuery { query, sender, permit } =
                    *typed.expect("a handle has its group's machine type");
                let answer = run_query(&self.0, query).map_err(query_error);
                let answer = answer.map(|answer| Answered { answer, applied: applied.0 });
                drop(permit);
                // A caller that no longer waits has already been told: not ready.
                let _ = sender.send(answer);
            }
            QueryPort::Remote { query, port } => {
                // A panic in the types' (de)serialisers costs the caller its answer, not the group its machine.
                let answer = caught(|| self.answer_bytes(&query))
                    .unwrap_or_else(|detail| Err(QueryError::Panicked { detail }));
                let response = match answer {
                    Ok(answer) => Response::Answered { answer, applied: applied.0 },
                    Err(error) => Response::NotAnswered(error),
                };
                replies.add(port, &response);
            }
        }
    }
}

impl<M: StateMachine> Host<M> {
    fn answer_bytes(&self, query: &Bytes) -> Result<Bytes, QueryError> {
        let query = decode::<M::Query>(query).map_err(|error| unreadable("query", &error))?;
        let answer = run_query(&self.0, query).map_err(query_error)?;
        encode_reply(&answer, RESPONSE_BYTES_MAX).map_err(|error| unreadable("answer", &error))
    }
}

fn unreadable(what: &str, error: &dyn std::fmt::Display) -> QueryError {
    QueryError::Unreadable { detail: format!("{what}: {error}") }
}

pub(crate) fn query_error(failed: QueryFailed) -> QueryError {
    match failed {
        QueryFailed::Faulted(fault) => {
            QueryError::Faulted { index: fault.index.0, detail: fault.to_string() }
        }
        QueryFailed::Panicked { message } => QueryError::Panicked { detail: message },
    }
}

/// Stage 7 of 7, Replied: the permit is released with the answer. `kept` has the reply's bytes where they are kept for a retry.
fn send_reply<R: serde::Serialize + Send + 'static>(
    port: ProposalPort,
    result: Result<Applied<R>, ProposeError>,
    kept: Option<&Bytes>,
    replies: &HeldReplies,
) {
    match port {
        ProposalPort::Local(port) => {
            let typed = port.into_any().downcast::<TypedPort<R>>();
            typed.expect("a handle has its group's machine type").send(result);
        }
        ProposalPort::Remote(port) => {
            let response = result.and_then(|Applied { reply, index, term }| {
                let encoded = || encode_reply(&reply, RESPONSE_BYTES_MAX).map_err(|error| error.to_string());
                let reply = kept.cloned().map_or_else(|| caught(encoded).and_then(|encoded| encoded), Ok);
                let reply = reply.map_err(|error| {
                    ProposeError::unknown(format!("applied, but its reply was not sent: {error}"))
                })?;
                Ok(Response::Applied { reply, index, term })
            });
            replies.add(port, &response.unwrap_or_else(Response::NotApplied));
        }
    }
}
