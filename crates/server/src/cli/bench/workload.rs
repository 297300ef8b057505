//! What the clients do.

use std::time::Duration;

use quorate::{Outcome, ProposeError, QueryError};

use crate::cli::arguments::Load;

/// The request that is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Put,
    Get,
}

/// What all clients do.
#[derive(Debug, Clone)]
pub(super) struct Workload {
    pub(super) operation: Operation,
    pub(super) load: Load,
    pub(super) value: bytes::Bytes,
    /// Of one request.
    pub(super) timeout: Duration,
    /// Of all keys, and of no others in the cluster.
    pub(super) prefix: String,
}

impl Operation {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Get => "get",
        }
    }
}

impl Workload {
    /// One of the keys.
    pub(super) fn key_at(&self, at: u64) -> String {
        format!("{}{at}", self.prefix)
    }

    /// The key of a client's next request: all clients together walk through all keys.
    pub(super) fn key(&self, client: u32, turn: u64) -> String {
        let at = (u64::from(client) + turn * u64::from(self.load.clients)) % u64::from(self.load.keys);
        self.key_at(at)
    }
}

/// A request that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Miss {
    pub(super) outcome: Outcome,
    /// The reason, for people.
    pub(super) detail: String,
}

impl From<ProposeError> for Miss {
    fn from(error: ProposeError) -> Self {
        Self { outcome: error.outcome(), detail: error.to_string() }
    }
}

impl From<QueryError> for Miss {
    fn from(error: QueryError) -> Self {
        Self { outcome: error.outcome(), detail: error.to_string() }
    }
}

/// One client, by bridge or by REST.
pub(super) trait Caller: Send + 'static {
    /// One request; an error is one of three outcomes, with its reason.
    fn call(&mut self, operation: Operation, key: String) -> impl Future<Output = Result<(), Miss>> + Send;
}
