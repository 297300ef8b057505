//! What the log store actor hears.

use quorate_store::{Answer, Progress, StoreError, StoreRequest};
use ractor::RpcReplyPort;

/// Where the asker of a [`StoreRequest`] waits. A dropped port means that the store has failed or its actor was restarted:
/// the outcome is unknown.
pub type AnswerPort<T, E = StoreError> = RpcReplyPort<Result<T, E>>;

/// The answer to a request goes to this port. A port whose asker has stopped, such as a role that was restarted, drops it.
pub fn port_answer<T: Send + 'static, E: Send + 'static>(port: AnswerPort<T, E>) -> Answer<T, E> {
    Answer::new(move |result| drop(port.send(result)))
}

/// What the log store actor hears.
#[derive(Debug)]
pub enum StoreMessage {
    /// From Node, Group and its roles: work for the disk.
    Request(StoreRequest),
    /// From the I/O thread and the actor's own timers.
    Internal(Internal),
}

impl From<StoreRequest> for StoreMessage {
    fn from(request: StoreRequest) -> Self {
        Self::Request(request)
    }
}

/// What the log store sends to itself; no other actor can make one.
#[derive(Debug)]
pub struct Internal(pub(crate) InternalKind);

#[derive(Debug)]
pub(crate) enum InternalKind {
    /// From the I/O thread: it is attached, or has finished a job.
    Progress(Progress),
    /// Watch timer: check whether this job was finished in time.
    Watch(u64),
    /// Simulation only, settle timer: bring the anchor up to date.
    Settle,
    /// Simulation only: the delay of this job is over; hand it over again.
    Inline(u64),
    /// From tests and `quorate actors stop --panic`: panic, as a bug would.
    Panic,
}

impl StoreMessage {
    /// Makes the actor that hears it panic, as a bug would: for tests, and for operators who want to see a node heal.
    pub fn panic() -> Self {
        Self::Internal(Internal(InternalKind::Panic))
    }
}
