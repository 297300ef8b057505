//! Where answers go. A port travels with its proposal or query from the handle to whoever answers it; the permit
//! travels inside, so that it returns when, and only when, the answer is given (`safety.md` 12).
//!
//! Only the actor that still holds a proposal refuses it. A port that is dropped answers *unknown*.

use std::any::Any;

use bytes::Bytes;
use quorate_bridge::ReplyPort;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::error::{ProposeError, QueryError};
use crate::wire::Response;

/// What the state machine said, and where the command stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied<R> {
    /// The machine's reply.
    pub reply: R,
    /// The index of the command's entry.
    pub index: u64,
    /// The term of the command's entry.
    pub term: u64,
}

/// Answers a proposal.
pub(crate) enum ProposalPort {
    /// A caller in this process; typed, so that a reply is not encoded only to be decoded.
    Local(Box<dyn LocalPort>),
    /// A caller on another node.
    Remote(ReplyPort<Response>),
}

impl ProposalPort {
    pub(crate) fn fail(self, error: ProposeError) {
        match self {
            Self::Local(port) => port.fail(error),
            // A caller that is gone reads it as unknown, as it must.
            Self::Remote(port) => drop(port.send(&Response::NotApplied(error))),
        }
    }
}

/// A local caller of a type known only to its handle and its applier.
pub(crate) trait LocalPort: Send {
    fn fail(self: Box<Self>, error: ProposeError);
    fn into_any(self: Box<Self>) -> Box<dyn Any + Send>;
}

pub(crate) struct TypedPort<R> {
    pub(crate) sender: oneshot::Sender<Result<Applied<R>, ProposeError>>,
    pub(crate) permit: OwnedSemaphorePermit,
}

impl<R: Send + 'static> LocalPort for TypedPort<R> {
    fn fail(self: Box<Self>, error: ProposeError) {
        drop(self.permit);
        // A caller that no longer waits has answered itself: unknown.
        let _ = self.sender.send(Err(error));
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any + Send> {
        self
    }
}

/// Answers a query.
pub(crate) enum QueryPort {
    /// A caller in this process, with its query inside.
    Local(Box<dyn LocalQuery>),
    /// A caller elsewhere.
    Remote { query: Bytes, port: ReplyPort<Response> },
}

impl QueryPort {
    pub(crate) fn fail(self, error: QueryError) {
        match self {
            Self::Local(query) => query.fail(error),
            Self::Remote { port, .. } => drop(port.send(&Response::NotAnswered(error))),
        }
    }
}

/// A local query of a type known only to its handle and its applier.
pub(crate) trait LocalQuery: Send {
    fn fail(self: Box<Self>, error: QueryError);
    fn into_any(self: Box<Self>) -> Box<dyn Any + Send>;
}

pub(crate) struct TypedQuery<Q, A> {
    pub(crate) query: Q,
    pub(crate) sender: oneshot::Sender<Result<A, QueryError>>,
    pub(crate) permit: OwnedSemaphorePermit,
}

impl<Q: Send + 'static, A: Send + 'static> LocalQuery for TypedQuery<Q, A> {
    fn fail(self: Box<Self>, error: QueryError) {
        drop(self.permit);
        let _ = self.sender.send(Err(error));
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any + Send> {
        self
    }
}
