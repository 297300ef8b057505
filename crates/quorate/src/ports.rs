//! Reply ports. A port travels with its proposal or query from the handle to the actor that answers it; the permit
//! travels inside, so that it is released when, and only when, the answer is given (`docs/safety.md` 12).
//!
//! Only the actor that still holds a proposal refuses it. A port that is dropped answers *unknown*.

use std::any::Any;

use bytes::Bytes;
use quorate_bridge::ReplyPort;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::error::{ProposeError, QueryError};
use crate::protocol::Response;

/// The state machine's reply, and the place of the command in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied<R> {
    /// The machine's reply.
    pub reply: R,
    /// The index of the command's entry.
    pub index: u64,
    /// The term of the command's entry.
    pub term: u64,
}

/// The state machine's answer, and how far the machine had come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered<A> {
    /// The machine's answer.
    pub answer: A,
    /// The last index of the log that the answer shows.
    pub applied: u64,
}

/// Answers a proposal.
pub(crate) enum ProposalPort {
    /// A caller in this process. Typed, so that a reply is not encoded only to be decoded.
    Local(Box<dyn LocalPort>),
    /// A caller on another node.
    Remote(ReplyPort<Response>),
}

impl ProposalPort {
    pub(crate) fn fail(self, error: ProposeError) {
        match self {
            Self::Local(port) => port.fail(error),
            // A caller whose connection fell reads it as unknown, as it must.
            Self::Remote(port) => drop(port.send(&Response::NotApplied(error))),
        }
    }
}

/// A local caller; only its handle and the machine's host know the type of the reply.
pub(crate) trait LocalPort: Send {
    fn fail(self: Box<Self>, error: ProposeError);
    fn into_any(self: Box<Self>) -> Box<dyn Any + Send>;
}

pub(crate) struct TypedPort<R> {
    pub(crate) sender: oneshot::Sender<Result<Applied<R>, ProposeError>>,
    pub(crate) permit: OwnedSemaphorePermit,
}

impl<R> TypedPort<R> {
    /// Releases the permit and answers.
    pub(crate) fn send(self, result: Result<Applied<R>, ProposeError>) {
        drop(self.permit);
        // A caller that no longer waits has already been told: unknown.
        let _ = self.sender.send(result);
    }
}

impl<R: Send + 'static> LocalPort for TypedPort<R> {
    fn fail(self: Box<Self>, error: ProposeError) {
        self.send(Err(error));
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any + Send> {
        self
    }
}

/// Answers a query.
pub(crate) enum QueryPort {
    /// A caller in this process, with its query inside.
    Local(Box<dyn LocalQuery>),
    /// A caller on another node, or a client.
    Remote { query: Bytes, port: ReplyPort<Response> },
}

impl QueryPort {
    pub(crate) fn fail(self, error: QueryError) {
        match self {
            Self::Local(query) => query.fail(error),
            Self::Remote { port, .. } => drop(port.send(&Response::NotAnswered(error))),
        }
    }

    /// Whether an answer would reach no one: the caller has stopped waiting, or its connection has ended.
    pub(crate) fn is_abandoned(&self) -> bool {
        match self {
            Self::Local(query) => query.is_abandoned(),
            Self::Remote { port, .. } => port.is_expired(),
        }
    }
}

/// A local query; only its handle and the machine's host know its type.
pub(crate) trait LocalQuery: Send {
    fn fail(self: Box<Self>, error: QueryError);
    /// Whether the caller has stopped waiting.
    fn is_abandoned(&self) -> bool;
    fn into_any(self: Box<Self>) -> Box<dyn Any + Send>;
}

pub(crate) struct TypedQuery<Q, A> {
    pub(crate) query: Q,
    pub(crate) sender: oneshot::Sender<Result<Answered<A>, QueryError>>,
    pub(crate) permit: OwnedSemaphorePermit,
}

impl<Q: Send + 'static, A: Send + 'static> LocalQuery for TypedQuery<Q, A> {
    fn fail(self: Box<Self>, error: QueryError) {
        drop(self.permit);
        let _ = self.sender.send(Err(error));
    }

    fn is_abandoned(&self) -> bool {
        self.sender.is_closed()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any + Send> {
        self
    }
}
