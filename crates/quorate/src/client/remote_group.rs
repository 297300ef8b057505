//! A group as a client sees it: typed proposals and queries. What needs no type is in `calls`.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::attempt::{deadline_after, encode_command};
use crate::client::calls::GroupCalls;
use crate::client::connection::Client;
use crate::error::{ProposeError, QueryError};
use crate::machine::{self, CommandKey, SessionKey, StateMachine};
use crate::ports::{Answered, Applied};
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
        self.propose_in_session(command.into(), self.calls.default_deadline()).await
    }

    /// As [`propose`](Self::propose), with a deadline of your own.
    pub async fn propose_by(
        &self,
        command: impl Into<M::Command>,
        timeout: Duration,
    ) -> Result<Applied<M::Reply>, ProposeError> {
        self.propose_in_session(command.into(), deadline_after(timeout)).await
    }

    /// Under a key of your own, in place of a session of this client: however often the same key is proposed, by this process or by
    /// the one that is started after it, the command is applied once, and each time answered with the first reply. Another command under the
    /// same key is [`KeyReused`](ProposeError::KeyReused), and is not applied. How long a key is kept is told at
    /// [`IdempotencyKey`](crate::machine::IdempotencyKey) and [`SessionKey`].
    ///
    /// Until the deadline another node is asked while the one that was asked has no leader, does not have the group, is not reached or
    /// stops. Every other refusal is returned at once. So is [`Unknown`](ProposeError::Unknown), since another attempt may be
    /// meant to end: propose again under the same key, a bounded number of times and with a pause. The other errors that are
    /// *unknown* stay as they are however often the key is proposed. After an `Unknown` a refusal says nothing of the first attempt, which
    /// may yet be applied: what is to be reported is the doubt.
    ///
    /// ```no_run
    /// # async fn example() -> anyhow::Result<()> {
    /// use std::time::Duration;
    ///
    /// use quorate::machine::{Add, Counter, IdempotencyKey};
    /// use quorate::{Client, ClientOptions, Outcome, ProposeError};
    ///
    /// let client = Client::connect(["127.0.0.1:7000"], ClientOptions::default()).await?;
    /// let count = client.group::<Counter>("counter");
    /// // The order's number outlives this process; a program that is started again goes on with the same one.
    /// let key = IdempotencyKey::of_text("order-4711");
    /// let (mut attempts, mut doubt) = (0, None);
    /// let total = loop {
    ///     let error = match count.propose_once(key, Add(5), Duration::from_secs(5)).await {
    ///         Ok(applied) => break applied.reply,
    ///         Err(error) => error,
    ///     };
    ///     let is_doubt = matches!(error, ProposeError::Unknown { .. });
    ///     let was_replaced = matches!(error, ProposeError::Superseded { .. });
    ///     if is_doubt {
    ///         doubt = Some(error.clone());
    ///     }
    ///     attempts += 1;
    ///     if !(is_doubt || was_replaced) || attempts == 10 {
    ///         // An attempt that may have been seen is not undone by the refusal of a later one.
    ///         let says_nothing = was_replaced || error.outcome() == Outcome::Refused;
    ///         return Err(doubt.filter(|_| says_nothing).unwrap_or(error).into());
    ///     }
    ///     tokio::time::sleep(Duration::from_millis(100) * attempts).await;
    /// };
    /// # drop(total);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn propose_once(
        &self,
        key: impl Into<CommandKey>,
        command: impl Into<M::Command>,
        timeout: Duration,
    ) -> Result<Applied<M::Reply>, ProposeError> {
        self.propose_bare(Some(key.into()), command.into(), deadline_after(timeout)).await
    }

    /// As [`propose`](Self::propose) without a session: not tried again once it may have been seen.
    pub async fn propose_without_session(
        &self,
        command: impl Into<M::Command>,
    ) -> Result<Applied<M::Reply>, ProposeError> {
        self.propose_bare(None, command.into(), self.calls.default_deadline()).await
    }

    async fn propose_in_session(
        &self,
        command: M::Command,
        deadline: Instant,
    ) -> Result<Applied<M::Reply>, ProposeError> {
        let bytes_max = self.calls.command_bytes_max();
        let encode = move |key: SessionKey| encode_command(&command, Some(key.into()), bytes_max);
        self.calls.propose_in_session(Box::new(encode), deadline).await?.decode()
    }

    async fn propose_bare(
        &self,
        key: Option<CommandKey>,
        command: M::Command,
        deadline: Instant,
    ) -> Result<Applied<M::Reply>, ProposeError> {
        let payload = encode_command(&command, key, self.calls.command_bytes_max())?;
        drop(command);
        self.calls.propose_bare(payload, deadline).await?.decode()
    }

    /// Asks the group. A query changes nothing, so it is asked of one node after the other until the client's timeout.
    pub async fn query(
        &self,
        query: impl Into<M::Query>,
        consistency: Consistency,
    ) -> Result<M::Answer, QueryError> {
        let deadline = self.calls.default_deadline();
        self.ask(query.into(), consistency, deadline).await.map(|answered| answered.answer)
    }

    /// As [`query`](Self::query), with a deadline of your own, and with how far the answer is applied: zero where a node of an
    /// earlier build answered.
    pub async fn query_by(
        &self,
        query: impl Into<M::Query>,
        consistency: Consistency,
        timeout: Duration,
    ) -> Result<Answered<M::Answer>, QueryError> {
        self.ask(query.into(), consistency, deadline_after(timeout)).await
    }

    async fn ask(
        &self,
        query: M::Query,
        consistency: Consistency,
        deadline: Instant,
    ) -> Result<Answered<M::Answer>, QueryError> {
        let encoded = machine::encode(&query, usize::MAX)
            .map_err(|error| QueryError::Unreadable { detail: error.to_string() })?;
        drop(query);
        let Answered { answer, applied } = self.calls.query(encoded, consistency, deadline).await?;
        let answer = machine::decode(&answer)
            .map_err(|error| QueryError::Unreadable { detail: format!("the answer: {error}") })?;
        Ok(Answered { answer, applied })
    }
}
