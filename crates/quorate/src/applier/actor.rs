//! The applier's actor: owns the state machine and the client sessions, and lends them to a worker thread for each batch of
//! entries or queries. Stage 6 of 7, Applied.
//!
//! Owns `Work` (machine, client sessions, position, the ports of proposals that have an index), and the queries that wait for
//! an index. Hears the role (entries in index order, ports, confirmed reads), the log store (entries read from disk) and
//! handles (stale queries). Asks the worker threads, one job at a time; what is said to it meanwhile waits in its mailbox. A
//! crash loses the machine and the ports, which answer *unknown*; Group starts another applier, which is restored from
//! *snapshot zero* and replays the log without replies. Bound: entries by the role's hand-over window, ports and queries by
//! permits.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quorate_core::{Entry, Index, RoleEvent};
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, RpcReplyPort, SpawnErr};
use tokio::task::JoinHandle;

use crate::applier::held::HeldReplies;
use crate::applier::host::MachineFactory;
use crate::applier::waiters::Waiters;
use crate::applier::work::{Batch, Work};
use crate::context::GroupContext;
use crate::gauge::Gauge;
use crate::messages::applier::{ApplierMessage, ApplierRef};
use crate::messages::group::{GroupMessage, GroupRef};
use crate::ports::QueryPort;

/// What an applier starts with.
pub(crate) struct ApplierStart {
    pub(crate) cx: Arc<GroupContext>,
    pub(crate) group: GroupRef,
    pub(crate) machine: Arc<dyn MachineFactory>,
    /// Set to the index of an entry that the machine cannot take, just before this applier ends. Group reads it then.
    pub(crate) poison: Arc<AtomicU64>,
    pub(crate) gauge: Arc<Gauge>,
}

/// First and longest time a reply is held to be sent with later ones.
const REPLIES_HELD: Duration = Duration::from_millis(1);
const REPLIES_HELD_MAX: Duration = Duration::from_millis(8);

/// What `poison` says from before the machine is restored until it is: that it could not be.
pub(crate) const NOT_RESTORED: u64 = u64::MAX;

/// Starts an applier as a child of Group. It restores its machine on a worker thread, and then says that it is ready.
pub(crate) async fn start(
    name: String,
    start: ApplierStart,
    supervisor: ActorCell,
) -> Result<(ApplierRef, JoinHandle<()>), SpawnErr> {
    Actor::spawn_linked(Some(name), ApplierActor, start, supervisor).await
}

struct ApplierState {
    cx: Arc<GroupContext>,
    group: GroupRef,
    machine: Arc<dyn MachineFactory>,
    poison: Arc<AtomicU64>,
    gauge: Arc<Gauge>,
    /// `None` until the machine is restored, which is before the first message, and while a job has it.
    work: Option<Work>,
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
        let ApplierStart { cx, group, machine, poison, gauge } = start;
        Ok(ApplierState {
            cx,
            group,
            machine,
            poison,
            gauge,
            work: None,
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
        let machine = state.machine.clone();
        let executor = state.cx.workers.run(move || machine.restore()).await??;
        let (cx, poison, gauge) = (state.cx.clone(), state.poison.clone(), state.gauge.clone());
        gauge.end(executor.applied().index);
        state.work = Some(Work { executor, waiters: Waiters::default(), cx, poison, gauge });
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
            ApplierMessage::Apply { entries } => state.apply(&me, entries).await?,
            ApplierMessage::Waiters { first, term, ports } => {
                state.work_mut().waiters.add(first, term, ports);
            }
            ApplierMessage::Queries { index, ports } => {
                if index <= state.applied() {
                    state.answer(ports).await?;
                } else {
                    state.queries.entry(index).or_default().extend(ports);
                }
            }
            ApplierMessage::WhenIdle(reply) => state.when_idle.push(reply),
            ApplierMessage::Panic => panic!("told to panic"),
        }
        if !state.when_idle.is_empty() && state.work_mut().waiters.is_empty() && state.queries.is_empty() {
            state.when_idle.drain(..).for_each(|reply| drop(reply.send(())));
        }
        Ok(())
    }
}

impl ApplierState {
    fn work_mut(&mut self) -> &mut Work {
        self.work.as_mut().expect("it is restored, and no job runs")
    }

    fn applied(&self) -> Index {
        self.work.as_ref().expect("it is restored, and no job runs").applied()
    }

    fn report_ready(&self) {
        let _ = self.group.cast(GroupMessage::ApplierReady { applied: self.applied() });
    }

    /// Runs a job on a worker thread, and sends its replies from here: one wake for the connections' tasks and this one.
    async fn run<T: Send + 'static>(
        &mut self,
        job: impl FnOnce(&mut Work, &HeldReplies) -> T + Send + 'static,
    ) -> Result<T, ActorProcessingErr> {
        let mut work = self.work.take().expect("it is restored, and no job runs");
        let replies = HeldReplies::default();
        let of_job = replies.clone();
        let run = move || {
            let result = job(&mut work, &of_job);
            (work, result)
        };
        let (mut done, mut held) = (pin!(self.cx.workers.run(run)), REPLIES_HELD);
        let (work, result) = loop {
            match tokio::time::timeout(held, done.as_mut()).await {
                Ok(done) => break done?,
                Err(_) => held = (held * 2).min(REPLIES_HELD_MAX),
            }
            replies.send();
        };
        self.work = Some(work);
        replies.send();
        Ok(result)
    }

    async fn apply(
        &mut self,
        me: &ActorRef<ApplierMessage>,
        entries: Vec<Entry>,
    ) -> Result<(), ActorProcessingErr> {
        match self.run(move |work, replies| work.apply_committed(&entries, replies)).await? {
            Batch::Applied => {}
            // Ask for them from here on. Ports are kept, theirs may be in the gap.
            Batch::Gap => {
                self.report_ready();
                return Ok(());
            }
            Batch::Poisoned(reason) => {
                me.stop(Some(reason));
                return Ok(());
            }
        }
        let applied = self.applied();
        self.cx.replay.applied(applied);
        // An applier that was in a job while its group was restarted speaks of a machine that is gone.
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
        let later = self.queries.split_off(&applied.next());
        let due: Vec<_> = std::mem::replace(&mut self.queries, later).into_values().flatten().collect();
        if !due.is_empty() {
            self.answer(due).await?;
        }
        Ok(())
    }

    async fn answer(&mut self, ports: Vec<QueryPort>) -> Result<(), ActorProcessingErr> {
        self.run(move |work, replies| work.answer_queries(ports, replies)).await
    }
}
