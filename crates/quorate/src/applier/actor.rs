//! The applier's actor: owns the state machine and the client sessions, and lends them to a worker thread for each job: entries
//! and queries. Stage 6 of 7, Applied.
//!
//! Owns `Work` (machine, client sessions, position, the ports of proposals that have an index), and what waits for the next
//! job. Hears the role (entries in index order, ports, confirmed reads), the log store (entries read from disk) and handles
//! (stale queries). Asks the worker threads, one job at a time: all that came while one ran is the next one, so the more there
//! is to do, the fewer threads are woken for it. A crash loses the machine and the ports, which answer *unknown*, with the
//! entry and the panic where it is the machine that ended; Group
//! starts another applier, which is restored from the newest snapshot and replays the log without replies. Bound: entries by
//! the role's hand-over window, ports and queries by permits.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quorate_core::{Entry, Index, RoleEvent, Term};
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, RpcReplyPort, SpawnErr};
use tokio::task::JoinHandle;

use crate::applier::job::{Job, JobEnded, RunningJob};
use crate::applier::since::SinceSnapshot;
use crate::applier::waiters::Waiters;
use crate::applier::work::{Batch, Work};
use crate::context::GroupContext;
use crate::gauge::Gauge;
use crate::host::machine::MachineFactory;
use crate::messages::applier::{ApplierMessage, ApplierRef};
use crate::messages::group::{GroupMessage, GroupRef};
use crate::messages::snapshotter::SnapshotterMessage;
use crate::ports::{ProposalPort, QueryPort};
use crate::snapshotter::restored::restore;

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
    /// The job that has it.
    running: Option<RunningJob>,
    /// The last index that was applied when it began.
    reported: Index,
    next: Next,
    when_idle: Vec<RpcReplyPort<()>>,
}

/// What waits for the next job.
#[derive(Default)]
struct Next {
    entries: VecDeque<Entry>,
    ports: Vec<(Index, Term, Vec<ProposalPort>)>,
    queries: BTreeMap<Index, Vec<QueryPort>>,
    /// Asked for; otherwise the machine is captured when it is due.
    capture: bool,
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
            running: None,
            reported: Index::ZERO,
            next: Next::default(),
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
        let (machine, files, group) = (state.machine.clone(), state.cx.snapshot.files.clone(), state.cx.id);
        let restored = state.cx.workers.run(move || restore(&*machine, &files, group)).await?;
        // Before Group hears of the machine: the role must not be told again of what could not be read.
        if !restored.passed_over.is_empty() {
            state.cx.route.borrow().tell_snapshotter(SnapshotterMessage::PassedOver(restored.passed_over));
        }
        let restored = restored.machine?;
        let (cx, poison, gauge) = (state.cx.clone(), state.poison.clone(), state.gauge.clone());
        gauge.end(restored.executor.applied().log_id());
        let since = SinceSnapshot::new(restored.base);
        let (executor, waiters) = (restored.executor, Waiters::default());
        state.work = Some(Work { executor, waiters, cx, poison, gauge, since });
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
            // The usual case, and without a copy.
            ApplierMessage::Apply { entries } if state.next.entries.is_empty() => {
                state.next.entries = entries.into();
            }
            ApplierMessage::Apply { entries } => state.next.entries.extend(entries),
            ApplierMessage::Waiters { first, term, ports } => state.next.ports.push((first, term, ports)),
            ApplierMessage::Queries { index, ports } => {
                state.next.queries.entry(index).or_default().extend(ports);
            }
            ApplierMessage::JobEnded => {
                if let Some(running) = state.running.take() {
                    state.take_back(&me, running.ended().await?);
                }
            }
            ApplierMessage::Capture => state.next.capture = true,
            ApplierMessage::DiskFull => {}
            ApplierMessage::JobLasts => state.drop_abandoned(),
            ApplierMessage::WhenIdle(reply) => state.when_idle.push(reply),
            ApplierMessage::Panic => panic!("told to panic"),
        }
        state.run_next(&me);
        Ok(())
    }
}

impl ApplierState {
    fn applied(&self) -> Index {
        self.work.as_ref().expect("it is restored, and no job runs").applied()
    }

    fn report_ready(&self) {
        let _ = self.group.cast(GroupMessage::ApplierReady { applied: self.applied() });
    }

    /// Begins the next job, unless one runs or there is nothing to do.
    fn run_next(&mut self, me: &ActorRef<ApplierMessage>) {
        let Some(mut work) = self.work.take() else { return };
        for (first, term, ports) in self.next.ports.drain(..) {
            work.waiters.add(first, term, ports);
        }
        if work.waiters.is_empty() && self.next.queries.is_empty() {
            self.when_idle.drain(..).for_each(|reply| drop(reply.send(())));
        }
        let through = self.next.entries.back().map_or(work.applied(), |last| last.index.max(work.applied()));
        let later = self.next.queries.split_off(&through.next());
        let queries = std::mem::replace(&mut self.next.queries, later);
        let entries = std::mem::take(&mut self.next.entries);
        let snapshot = &self.cx.snapshot;
        let asked = std::mem::take(&mut self.next.capture);
        let is_due = work.since.is_due(snapshot, self.cx.disk.is_full());
        let capture = asked || (is_due && snapshot.gauge.begin());
        if entries.is_empty() && queries.is_empty() && !capture {
            self.work = Some(work);
            return;
        }
        self.reported = work.applied();
        let job = Job { work, entries, queries, capture };
        self.running = Some(job.start(self.cx.workers.clone(), me.clone()));
    }

    /// Takes the machine back, and tells how far it is.
    fn take_back(&mut self, me: &ActorRef<ApplierMessage>, ended: JobEnded) {
        let JobEnded { mut work, batch, mut entries, queries, captured } = ended;
        if let Some(captured) = captured {
            let _ = self.group.cast(GroupMessage::Captured(captured));
        }
        if let Batch::Poisoned(reason) = batch {
            // It runs no more. A query is asked again when its port is dropped with this state.
            for (first, term, ports) in self.next.ports.drain(..) {
                work.waiters.add(first, term, ports);
            }
            work.fail_waiting(&reason);
            me.stop(Some(reason));
            return;
        }
        self.work = Some(work);
        for (index, ports) in queries {
            self.next.queries.entry(index).or_default().extend(ports);
        }
        if matches!(batch, Batch::Gap) {
            // Ask for them from here on. Ports are kept, theirs may be in the gap.
            self.report_ready();
            return;
        }
        entries.append(&mut self.next.entries);
        self.next.entries = entries;
        let applied = self.applied();
        self.cx.replay.applied(applied);
        // An applier that was in a job while its group was restarted speaks of a machine that is gone.
        let route = self.cx.route.borrow().clone();
        if route.applier.as_ref().is_none_or(|applier| applier.get_id() != me.get_id()) {
            return;
        }
        if applied > self.reported {
            route.tell_role(RoleEvent::Applied(applied));
        }
        self.drop_abandoned();
    }

    /// Their permits are free again for callers that still wait: a replay or a command may take long, and callers give up before.
    fn drop_abandoned(&mut self) {
        self.next.queries.retain(|_, ports| {
            ports.retain(|port| !port.is_abandoned());
            !ports.is_empty()
        });
    }
}
