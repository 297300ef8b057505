//! A group as a client sees it: typed proposals and queries. What needs no type is in `calls`.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::attempt::encode_command;
use crate::client::calls::GroupCalls;
use crate::client::connection::Client;
use crate::error::{ProposeError, QueryError};
use crate::machine::{self, SessionKey, StateMachine};
use crate::ports::Applied;
use crate::protocol::Consistency;

/// A group of a cluster, seen from outside. Cloning is cheap; clones share their client sessions.
pub struct RemoteGroup<M> {
    calls: Arc<GroupCalls>,
    machine: PhantomData<fn() -> M>,
}

impl<M> Clone for RemoteGroup<M> {
    fn clone(&self) -> Self {
        Self { calls: self.calls.clone(), machine: PhantomData }
    }
}

impl<M> fmt::Debug for RemoteGroup<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteGroup({})", self.calls.name)
    }
}

impl Client {
    /// A group of the cluster, by name and machine. Nothing is sent.
    pub fn group<M: StateMachine>(&self, name: &str) -> RemoteGroup<M> {
        RemoteGroup { calls: Arc::new(GroupCalls::new(self.clone(), name)), machine: PhantomData }
    }
}

impl<M: StateMachine> RemoteGroup<M> {
    /// Replicates a command and returns the machine's reply. Retries under a session until the client's timeout, so
    /// that it takes effect at most once. `Unknown` means that it may have happened, or may yet happen; so does
    /// `SessionExpired`, where a retry meets a cluster that has forgotten clients since the last reply to this group.
    pub async fn propose(&self, command: impl Into<M::Command>) -> Result<Applied<M::Reply>, ProposeError> {
        let (command, bytes_max) = (command.into(), self.calls.command_bytes_max());
        let encode = move |key: SessionKey| encode_command(&command, Some(key.into()), bytes_max);
        self.calls.propose_in_session(Box::new(encode)).await?.decode()
    }

    /// As [`propose`](Self::propose) without a session: not tried again once it may have been seen.
    pub async fn propose_without_session(
        &self,
        command: impl Into<M::Command>,
    ) -> Result<Applied<M::Reply>, ProposeError> {
        let command = command.into();
        let payload = encode_command(&command, None, self.calls.command_bytes_max())?;
        drop(command);
        self.calls.propose_bare(payload).await?.decode()
    }

    /// Asks the group. A query changes nothing, so it is asked of one node after the other until the client's timeout.
    pub async fn query(
        &self,
        query: impl Into<M::Query>,
        consistency: Consistency,
    ) -> Result<M::Answer, QueryError> {
        let query = query.into();
        let encoded = machine::encode(&query, usize::MAX)
            .map_err(|error| QueryError::Unreadable { detail: error.to_string() })?;
        drop(query);
        let answer = self.calls.query(encoded, consistency).await?;
        machine::decode(&answer)
            .map_err(|error| QueryError::Unreadable { detail: format!("the answer: {error}") })
    }
}
