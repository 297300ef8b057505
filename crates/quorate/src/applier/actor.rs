//! The applier's actor: owns the state machine and the client sessions.
//!
//! Owns the `Executor` (machine, sessions, position), the ports of proposals that have an index, and the queries that
//! wait for theirs. Hears the role (entries in index order, waiters, reads that are confirmed), the log store (entries
//! it reads again) and handles (stale queries). Asks nothing. Never applies an index twice, and never reuses a machine
//! that panicked. A crash loses the machine and the ports, which answer *unknown*; Group starts another one, which is
//! restored from the newest snapshot or from *snapshot zero* and replays the log without replies. Bound: entries by the
//! role's hand-over window, ports and queries by permits.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use quorate_core::{Common, Entry, Index, Term};
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, RpcReplyPort};

use crate::applier::waiters::Waiters;
use crate::applier::{ApplierFactory, Spawning};
use crate::error::{ProposeError, QueryError};
use crate::group::{Applied, GroupMessage, ProposalPort, QueryPort, TypedPort, TypedQuery};
use crate::machine::{Execution, Executor, QueryFailed, SnapshotZero, StateMachine, decode, encode};
use crate::role::GroupContext;
use crate::wire::Response;

/// The longest reply or answer that is sent to another node, in bytes.
const REPLY_BYTES_MAX: usize = 8 << 20;

/// What the applier hears.
pub(crate) enum ApplierMessage {
    /// From the role, or for it from the log store: committed entries, contiguous.
    Apply { entries: Vec<Entry> },
    /// From the leader: who waits for the entries from `first` on.
    Waiters { first: Index, term: Term, ports: Vec<ProposalPort> },
    /// From the role once the read is confirmed, or from a handle with index zero: answer once `index` is applied.
    Query { index: Index, port: QueryPort },
    /// From Group when a role is loaded: how far is it?
    Where(RpcReplyPort<Index>),
    /// From Group when the node stops: answer once nobody waits.
    WhenIdle(RpcReplyPort<()>),
    /// From tests and `quorate actors stop --panic`: panic, as a bug would.
    Panic,
}

/// What an applier starts with.
pub(crate) struct ApplierStart {
    pub(crate) cx: Arc<GroupContext>,
    pub(crate) group: ActorRef<GroupMessage>,
    /// Where this life leaves the entry its machine could not take: read by Group once the actor has ended.
    pub(crate) poison: Arc<AtomicU64>,
}

/// Makes appliers for machines of type `M`.
pub(crate) struct MachineFactory<M> {
    zero: SnapshotZero,
    machine: PhantomData<fn() -> M>,
}

impl<M> MachineFactory<M> {
    pub(crate) fn new(zero: SnapshotZero) -> Self {
        Self { zero, machine: PhantomData }
    }
}

impl<M: StateMachine> ApplierFactory for MachineFactory<M> {
    fn spawn(&self, name: String, start: ApplierStart, supervisor: ActorCell) -> Spawning<'_> {
        let arguments = (start, self.zero.clone());
        Box::pin(Actor::spawn_linked(Some(name), ApplierActor::<M>(PhantomData), arguments, supervisor))
    }
}

pub(crate) struct ApplierState<M> {
    executor: Executor<M>,
    cx: Arc<GroupContext>,
    group: ActorRef<GroupMessage>,
    poison: Arc<AtomicU64>,
    waiters: Waiters,
    queries: BTreeMap<Index, Vec<QueryPort>>,
    when_idle: Vec<RpcReplyPort<()>>,
}

/// The applier of a machine of type `M`.
pub(crate) struct ApplierActor<M>(PhantomData<fn() -> M>);

impl<M: StateMachine> Actor for ApplierActor<M> {
    type Msg = ApplierMessage;
    type State = ApplierState<M>;
    type Arguments = (ApplierStart, SnapshotZero);

    async fn pre_start(
        &self,
        _me: ActorRef<ApplierMessage>,
        (start, zero): Self::Arguments,
    ) -> Result<ApplierState<M>, ActorProcessingErr> {
        Ok(ApplierState {
            executor: Executor::restore(zero, None)?,
            cx: start.cx,
            group: start.group,
            poison: start.poison,
            waiters: Waiters::default(),
            queries: BTreeMap::new(),
            when_idle: Vec::new(),
        })
    }

    async fn post_start(
        &self,
        _me: ActorRef<ApplierMessage>,
        state: &mut ApplierState<M>,
    ) -> Result<(), ActorProcessingErr> {
        let _ = state.group.cast(GroupMessage::ApplierReady { applied: state.applied() });
        Ok(())
    }

    async fn handle(
        &self,
        me: ActorRef<ApplierMessage>,
        message: ApplierMessage,
        state: &mut ApplierState<M>,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ApplierMessage::Apply { entries } => {
                if let Err(end) = state.apply(&entries) {
                    me.stop(Some(end));
                }
            }
            ApplierMessage::Waiters { first, term, ports } => state.waiters.add(first, term, ports),
            ApplierMessage::Query { index, port } => {
                if index <= state.applied() {
                    state.answer(port);
                } else {
                    state.queries.entry(index).or_default().push(port);
                }
            }
            ApplierMessage::Where(reply) => drop(reply.send(state.applied())),
            ApplierMessage::WhenIdle(reply) => state.when_idle.push(reply),
            ApplierMessage::Panic => panic!("told to panic"),
        }
        if !state.when_idle.is_empty() && state.waiters.is_empty() && state.queries.is_empty() {
            state.when_idle.drain(..).for_each(|reply| drop(reply.send(())));
        }
        Ok(())
    }
}

impl<M: StateMachine> ApplierState<M> {
    fn applied(&self) -> Index {
        self.executor.applied().index
    }

    /// Applies what is next and skips what it applied before. `Err` says why this applier must end.
    fn apply(&mut self, entries: &[Entry]) -> Result<(), String> {
        for entry in entries {
            if entry.index <= self.applied() {
                continue;
            }
            if entry.index != self.applied().next() {
                // Entries were lost with an actor: say where to go on. No port is touched, theirs may be in the gap.
                let _ = self.group.cast(GroupMessage::ApplierReady { applied: self.applied() });
                return Ok(());
            }
            let port = self.waiters.take(entry.log_id());
            match self.executor.apply(entry) {
                Ok(executed) => {
                    if let Some(port) = port {
                        reply::<M>(port, entry, executed.outcome);
                    }
                }
                Err(error) => {
                    let (node, group, index) = (&self.cx.node, &self.cx.name, entry.index);
                    tracing::error!(%node, %group, %index, %error, "the state machine cannot take an entry");
                    self.poison.store(index.0, Ordering::Release);
                    return Err(error.to_string());
                }
            }
        }
        let applied = self.applied();
        self.cx.route.borrow().tell_role(Common::Applied(applied));
        while let Some(first) = self.queries.first_entry().filter(|first| *first.key() <= applied) {
            for port in first.remove() {
                self.answer(port);
            }
        }
        Ok(())
    }

    fn answer(&self, port: QueryPort) {
        match port {
            QueryPort::Local(query) => {
                let typed = query.into_any().downcast::<TypedQuery<M::Query, M::Answer>>();
                let TypedQuery { query, sender, permit } =
                    *typed.expect("a handle has its group's machine type");
                let answer = self.executor.query(query).map_err(query_error);
                drop(permit);
                // A caller that no longer waits has answered itself.
                let _ = sender.send(answer);
            }
            QueryPort::Remote { query, port } => {
                let answer = caught(|| self.answer_remote(&query))
                    .unwrap_or_else(|detail| Err(QueryError::Panicked { detail }));
                drop(port.send(&match answer {
                    Ok(answer) => Response::Answered { answer },
                    Err(error) => Response::NotAnswered(error),
                }));
            }
        }
    }

    fn answer_remote(&self, query: &Bytes) -> Result<Bytes, QueryError> {
        let cannot = |what: &str, error: &dyn std::fmt::Display| QueryError::Unreadable {
            detail: format!("{what}: {error}"),
        };
        let query = decode::<M::Query>(query).map_err(|error| cannot("query", &error))?;
        let answer = self.executor.query(query).map_err(query_error)?;
        encode(&answer, REPLY_BYTES_MAX).map_err(|error| cannot("answer", &error))
    }
}

/// Runs what the application's types do when they are carried between nodes: a panic there costs its caller the answer,
/// not the group its machine. Nothing that could be left half-done is used again.
fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let text = panic.downcast_ref::<&str>().copied().map(str::to_owned);
        text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "it panicked".to_owned())
    })
}

fn query_error(failed: QueryFailed) -> QueryError {
    match failed {
        QueryFailed::Faulted(fault) => QueryError::Faulted { index: fault.index.0 },
        QueryFailed::Panicked { message } => QueryError::Panicked { detail: message },
    }
}

/// Stage 7 of 7, Replied: the permit returns with the answer.
fn reply<M: StateMachine>(port: ProposalPort, entry: &Entry, outcome: Execution<M::Reply>) {
    let (index, term) = (entry.index.0, entry.term.0);
    let result = match outcome {
        Execution::Replied(reply) => Ok(Applied { reply, index, term }),
        Execution::Repeated { index, reply } => Ok(Applied { reply, index: index.0, term }),
        Execution::RepeatedWithoutReply { index } => Err(ProposeError::ReplyNotKept { index: index.0 }),
        Execution::Stale { last, index } => Err(ProposeError::StaleSequence { last, index: index.0 }),
        Execution::Expired { forgotten_through } => {
            Err(ProposeError::SessionExpired { forgotten_through: forgotten_through.0, index })
        }
        Execution::Unreadable { detail } => Err(ProposeError::Unreadable { detail }),
        Execution::NotCommand => Err(ProposeError::unknown("the entry at its index is no command")),
    };
    match port {
        ProposalPort::Local(port) => {
            let typed = port.into_any().downcast::<TypedPort<M::Reply>>();
            let TypedPort { sender, permit } = *typed.expect("a handle has its group's machine type");
            drop(permit);
            let _ = sender.send(result);
        }
        ProposalPort::Remote(port) => {
            let response = result.and_then(|Applied { reply, index, term }| {
                let lost = |why: String| {
                    ProposeError::unknown(format!("applied, but its reply was not sent: {why}"))
                };
                let encoded = caught(|| encode(&reply, REPLY_BYTES_MAX)).map_err(lost)?;
                let reply = encoded.map_err(|error| lost(error.to_string()))?;
                Ok(Response::Applied { reply, index, term })
            });
            drop(port.send(&response.unwrap_or_else(Response::NotApplied)));
        }
    }
}
