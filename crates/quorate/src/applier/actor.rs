//! The applier's actor: owns the state machine and the client sessions. Stage 6 of 7, Applied. It runs on a worker thread.
//!
//! Owns the `Executor` (machine, client sessions, position), the ports of proposals that have an index, and the queries
//! that wait for one. Hears the role (entries in index order, ports, confirmed reads), the log store (entries read from
//! disk) and handles (stale queries). Asks nothing. Never applies an index twice, and never reuses a machine that
//! panicked. A crash loses the machine and the ports, which answer *unknown*; Group starts another applier, which is
//! restored from *snapshot zero* and replays the log without replies. Bound: entries by the role's hand-over window,
//! ports and queries by permits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quorate_core::{Entry, Index, LogId, RoleEvent};
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, RpcReplyPort, SpawnErr};
use tokio::task::JoinHandle;

use crate::applier::host::{MachineFactory, MachineHost, query_error};
use crate::applier::waiters::Waiters;
use crate::context::GroupContext;
use crate::error::ProposeError;
use crate::gauge::Gauge;
use crate::machine::{ApplyError, Executor, QueryFailed, Taken};
use crate::messages::applier::{ApplierMessage, ApplierRef};
use crate::messages::group::{GroupMessage, GroupRef};
use crate::ports::{ProposalPort, QueryPort};

/// What an applier starts with.
pub(crate) struct ApplierStart {
    pub(crate) cx: Arc<GroupContext>,
    pub(crate) group: GroupRef,
    pub(crate) machine: Arc<dyn MachineFactory>,
    /// Set to the index of an entry that the machine cannot take, just before this applier ends. Group reads it then.
    pub(crate) poison: Arc<AtomicU64>,
    pub(crate) gauge: Arc<Gauge>,
}

/// What `poison` says from before the machine is restored until it is: that it could not be.
pub(crate) const NOT_RESTORED: u64 = u64::MAX;

/// Starts an applier as a child of Group, on a worker thread. It restores its machine there, and then says that it is ready.
pub(crate) async fn start(
    name: String,
    start: ApplierStart,
    supervisor: ActorCell,
) -> Result<(ApplierRef, JoinHandle<()>), SpawnErr> {
    let workers = start.cx.workers.clone();
    workers.start(Actor::spawn_linked(Some(name), ApplierActor, start, supervisor)).await
}

struct ApplierState {
    machine: Arc<dyn MachineFactory>,
    /// `None` until the machine is restored: before the first message.
    executor: Option<Executor<Box<dyn MachineHost>>>,
    cx: Arc<GroupContext>,
    group: GroupRef,
    poison: Arc<AtomicU64>,
    gauge: Arc<Gauge>,
    waiters: Waiters,
    queries: BTreeMap<Index, Vec<QueryPort>>,
    when_idle: Vec<RpcReplyPort<()>>,
}

struct ApplierActor;

impl Actor for ApplierActor {
    type Msg = ApplierMessage;
    type State = ApplierState;
    type Arguments = ApplierStart;

    async fn pre_start(
        &self,
        _me: ActorRef<ApplierMessage>,
        start: ApplierStart,
    ) -> Result<ApplierState, ActorProcessingErr> {
        Ok(ApplierState {
            machine: start.machine,
            executor: None,
            cx: start.cx,
            group: start.group,
            poison: start.poison,
            gauge: start.gauge,
            waiters: Waiters::default(),
            queries: BTreeMap::new(),
            when_idle: Vec::new(),
        })
    }

    async fn post_start(
        &self,
        _me: ActorRef<ApplierMessage>,
        state: &mut ApplierState,
    ) -> Result<(), ActorProcessingErr> {
        // Here and not before: who starts an actor waits for `pre_start`, and a restore may take long.
        state.poison.store(NOT_RESTORED, Ordering::Release);
        state.executor = Some(state.machine.restore()?);
        state.gauge.end(state.applied());
        state.poison.store(0, Ordering::Release);
        state.report_ready();
        Ok(())
    }

    async fn handle(
        &self,
        me: ActorRef<ApplierMessage>,
        message: ApplierMessage,
        state: &mut ApplierState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ApplierMessage::Apply { entries } => {
                if let Err(reason) = state.apply_committed(&me, &entries) {
                    me.stop(Some(reason));
                }
            }
            ApplierMessage::Waiters { first, term, ports } => state.waiters.add(first, term, ports),
            ApplierMessage::Query { index, port } => {
                if index <= state.applied() {
                    state.serve_query(port);
                } else {
                    state.queries.entry(index).or_default().push(port);
                }
            }
            ApplierMessage::WhenIdle(reply) => state.when_idle.push(reply),
            ApplierMessage::Panic => panic!("told to panic"),
        }
        if !state.when_idle.is_empty() && state.waiters.is_empty() && state.queries.is_empty() {
            state.when_idle.drain(..).for_each(|reply| drop(reply.send(())));
        }
        Ok(())
    }
}

impl ApplierState {
    fn executor(&self) -> &Executor<Box<dyn MachineHost>> {
        self.executor.as_ref().expect("restored before the first message")
    }

    fn applied(&self) -> Index {
        self.executor().applied().index
    }

    fn report_ready(&self) {
        let _ = self.group.cast(GroupMessage::ApplierReady { applied: self.applied() });
    }

    /// Applies the entries that follow the last one applied and skips earlier ones. `Err` says why this applier must end.
    fn apply_committed(&mut self, me: &ActorRef<ApplierMessage>, entries: &[Entry]) -> Result<(), String> {
        for entry in entries {
            if entry.index <= self.applied() {
                continue;
            }
            if entry.index != self.applied().next() {
                // Entries were lost with an actor: ask for them from here on. Ports are kept, theirs may be in the gap.
                self.report_ready();
                return Ok(());
            }
            let mut port = self.waiters.take(entry.log_id());
            self.gauge.begin();
            let executor = self.executor.as_mut().expect("restored before the first message");
            let taken = executor
                .take_entry(entry, |machine, cx, envelope| machine.apply_command(cx, envelope, &mut port));
            match taken {
                Ok((taken, _events)) => {
                    self.gauge.end(entry.index);
                    if let Some(port) = port {
                        self.answer_unapplied(port, entry, taken);
                    }
                }
                Err(error) => {
                    let (node, group, index) = (&self.cx.node, &self.cx.name, entry.index);
                    tracing::error!(%node, %group, %index, %error, "the state machine cannot take an entry");
                    if matches!(error, ApplyError::Newer { .. } | ApplyError::Unreadable { .. }) {
                        self.gauge.halt();
                    }
                    self.poison.store(index.0, Ordering::Release);
                    return Err(error.to_string());
                }
            }
        }
        let applied = self.applied();
        self.cx.replay.applied(applied);
        // An applier that was in here while its group was restarted speaks of a machine that is gone.
        let route = self.cx.route.borrow().clone();
        if route.applier.as_ref().is_none_or(|applier| applier.get_id() != me.get_id()) {
            return Ok(());
        }
        route.tell_role(RoleEvent::Applied(applied));
        // Their permits are free again for callers that still wait: a replay may take long, and callers give up before.
        self.queries.retain(|_, ports| {
            ports.retain(|port| !port.is_abandoned());
            !ports.is_empty()
        });
        while let Some(first) = self.queries.first_entry().filter(|first| *first.key() <= applied) {
            for port in first.remove() {
                self.serve_query(port);
            }
        }
        Ok(())
    }

    fn serve_query(&self, port: QueryPort) {
        if port.is_abandoned() {
            return;
        }
        match self.executor().running() {
            Ok(machine) => machine.answer_query(port, self.applied()),
            Err(fault) => port.fail(query_error(QueryFailed::Faulted(fault))),
        }
    }

    /// Answers the proposer of an entry that the machine did not apply now.
    fn answer_unapplied(&self, port: ProposalPort, entry: &Entry, taken: Taken<()>) {
        let error = match taken {
            Taken::Repeated { index, reply } => {
                let machine = self.executor().running().expect("it took the entry");
                let at = LogId { term: entry.term, index };
                return machine.repeat_reply(port, at, reply);
            }
            Taken::Mismatch { index } => ProposeError::KeyReused { index: index.0 },
            Taken::Stale { last, index } => ProposeError::StaleSequence { last, index: index.0 },
            Taken::Expired { forgotten_through } => {
                let index = entry.index.0;
                ProposeError::SessionExpired { forgotten_through: forgotten_through.0, index }
            }
            Taken::Unreadable { detail } => ProposeError::Unreadable { detail },
            Taken::NotCommand | Taken::Replied(()) => {
                ProposeError::unknown("the entry at its index is not a command")
            }
        };
        port.fail(error);
    }
}
