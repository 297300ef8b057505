//! The log store's actor: one per node, shared by all its groups. Stage 3 of 7, from a role's `Persist` to `Persisted`.
//!
//! Owns the requests that wait while the I/O thread works. Hears [`StoreMessage`]. Asks the I/O thread, one job at a time. Never
//! touches the disk itself (except inline, in simulation), holds a reply back for a role, retries, or answers after a failure.
//! A crash loses the waiting requests; database, anchor, thread and epochs live above it in the [`StoreHandle`]. Node restarts
//! it; the new actor takes a store epoch, waits until the thread is idle, and the roles resend what was not answered.
//! Bound: each role's limits (uncommitted bytes of a leader, the sender's window at a follower); nothing is dropped here for
//! lack of room. What waits is counted in [`StoreStats`](quorate_store::StoreStats).

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use quorate_core::{Epoch, GroupId};
use quorate_store::{ANCHOR_LAG_MAX, Progress, ProgressSink, StoreHandle, StoreRequest, Submitted};
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SpawnErr};
use tokio::time::Instant;

use crate::messages::store::{Internal, InternalKind, StoreMessage};

/// Bytes of entries in one job, about.
const JOB_BYTES_MAX: usize = 1 << 20;
/// Entries in one job, about.
const JOB_ENTRIES_MAX: usize = 1_024;
/// Reads in one job, at most: each may walk a long way, and a job that takes too long counts as a silent disk.
const JOB_READS_MAX: usize = 8;

/// The actor. Spawn it with [`LogStore::spawn_linked`].
#[derive(Debug)]
pub struct LogStore;

/// A job is looked at so often, at least, within the time in which it must show a sign of life.
const LOOKS_PER_DEADLINE: u32 = 4;

/// What waits, and the job in progress.
pub struct LogStoreState {
    handle: StoreHandle,
    /// This actor's mailbox, for the thread.
    progress: ProgressSink,
    store_epoch: u64,
    attached: bool,
    queue: VecDeque<StoreRequest>,
    /// Number of the job in progress, and when it began.
    busy: Option<(u64, Instant)>,
    /// Number of the last job.
    jobs: u64,
    /// The requests of the job in progress, if a slow simulated disk deferred it.
    deferred: Vec<StoreRequest>,
    /// The store's signs of life at the last look.
    signs: u64,
    /// How long the job in progress has been without one, as far as this process ran meanwhile.
    silent: Duration,
    /// A watch timer is set, to this.
    watching: Option<Duration>,
    /// A settle timer is set.
    settling: bool,
}

impl std::fmt::Debug for LogStoreState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogStoreState").field("queue", &self.queue).finish_non_exhaustive()
    }
}

impl LogStore {
    /// Starts the actor as `{prefix}/log-store`, a child of `supervisor`.
    pub async fn spawn_linked(
        prefix: &str,
        handle: StoreHandle,
        supervisor: ActorCell,
    ) -> Result<(ActorRef<StoreMessage>, tokio::task::JoinHandle<()>), SpawnErr> {
        Actor::spawn_linked(Some(format!("{prefix}/log-store")), Self, handle, supervisor).await
    }
}

impl Actor for LogStore {
    type Msg = StoreMessage;
    type State = LogStoreState;
    type Arguments = StoreHandle;

    async fn pre_start(
        &self,
        me: ActorRef<StoreMessage>,
        handle: StoreHandle,
    ) -> Result<LogStoreState, ActorProcessingErr> {
        let actor = me.clone();
        let progress: ProgressSink = Arc::new(move |progress| {
            let _ = actor.cast(StoreMessage::Internal(Internal(InternalKind::Progress(progress))));
        });
        let store_epoch = handle.attach(&progress);
        let mut state = LogStoreState {
            handle,
            progress,
            store_epoch,
            attached: false,
            queue: VecDeque::new(),
            // The thread may still work for the previous actor: that job is watched, too.
            busy: Some((0, Instant::now())),
            jobs: 0,
            deferred: Vec::new(),
            signs: 0,
            silent: Duration::ZERO,
            watching: None,
            settling: false,
        };
        state.arm(&me, state.handle.deadline() / LOOKS_PER_DEADLINE);
        Ok(state)
    }

    async fn handle(
        &self,
        me: ActorRef<StoreMessage>,
        message: StoreMessage,
        state: &mut LogStoreState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            StoreMessage::Internal(Internal(internal)) => state.internal(&me, &internal),
            StoreMessage::Request(request) => {
                if let StoreRequest::Load { group, epoch, .. } = request {
                    state.forget_older(group, epoch);
                }
                state.queue_request(request);
            }
        }
        state.submit_waiting(&me);
        Ok(())
    }
}

impl LogStoreState {
    fn queue_request(&mut self, request: StoreRequest) {
        let stats = self.handle.stats();
        stats.queued_requests.fetch_add(1, Ordering::Relaxed);
        stats.queued_bytes.fetch_add(request.bytes() as u64, Ordering::Relaxed);
        self.queue.push_back(request);
    }

    /// A role is being started: writes of older epochs that still wait are dropped.
    fn forget_older(&mut self, group: GroupId, epoch: Epoch) {
        let stats = self.handle.stats();
        self.queue.retain(|request| {
            let is_old = matches!(request, StoreRequest::Persist { group: of, epoch: old, .. }
                if *of == group && *old < epoch);
            if is_old {
                stats.queued_requests.fetch_sub(1, Ordering::Relaxed);
                stats.queued_bytes.fetch_sub(request.bytes() as u64, Ordering::Relaxed);
                stats.dropped.fetch_add(1, Ordering::Relaxed);
            }
            !is_old
        });
    }

    fn internal(&mut self, me: &ActorRef<StoreMessage>, internal: &InternalKind) {
        match *internal {
            InternalKind::Progress(Progress::Attached(store_epoch)) => {
                if store_epoch == self.store_epoch {
                    self.attached = true;
                    self.busy = None;
                }
            }
            InternalKind::Progress(Progress::Done(number)) => {
                if let Some((_, since)) = self.busy.take_if(|(current, _)| *current == number) {
                    let took = u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
                    let job_us = &self.handle.stats().job_us;
                    job_us.store(took.max(job_us.load(Ordering::Relaxed) / 2), Ordering::Relaxed);
                }
            }
            InternalKind::Watch(number) => {
                let after = self.watching.take().unwrap_or_default();
                self.watch(me, number, after);
            }
            InternalKind::Settle => {
                self.settling = false;
                self.handle.inline_settle();
            }
            InternalKind::Inline(number) => {
                if self.busy.is_some_and(|(current, _)| current == number) {
                    let requests = std::mem::take(&mut self.deferred);
                    let submitted = self.handle.submit_late(requests);
                    self.submitted(me, submitted);
                }
            }
            InternalKind::Panic => panic!("told to panic"),
        }
    }

    /// Hands over everything that waits, up to a job's limits, if the thread is free.
    fn submit_waiting(&mut self, me: &ActorRef<StoreMessage>) {
        while self.attached && self.busy.is_none() && !self.queue.is_empty() {
            if self.handle.has_failed() {
                self.queue.clear();
                return;
            }
            let requests = self.next_job();
            self.jobs += 1;
            let submitted = self.handle.submit(self.jobs, requests, &self.progress);
            self.submitted(me, submitted);
        }
        if self.handle.is_inline() && !self.settling && self.handle.inline_behind() {
            self.settling = true;
            me.send_after(ANCHOR_LAG_MAX, || StoreMessage::Internal(Internal(InternalKind::Settle)));
        }
    }

    fn submitted(&mut self, me: &ActorRef<StoreMessage>, submitted: Submitted) {
        let number = self.jobs;
        let later = match submitted {
            Submitted::Done => {
                self.busy = None;
                return;
            }
            Submitted::InProgress => None,
            Submitted::Deferred(requests, pause) => {
                self.deferred = requests;
                Some(pause)
            }
        };
        if let Some(pause) = later {
            me.send_after(pause, move || StoreMessage::Internal(Internal(InternalKind::Inline(number))));
        }
        if self.busy.is_none() {
            self.silent = Duration::ZERO;
        }
        self.busy.get_or_insert((number, Instant::now()));
        self.arm(me, self.handle.deadline() / LOOKS_PER_DEADLINE);
    }

    fn next_job(&mut self) -> Vec<StoreRequest> {
        let stats = self.handle.stats();
        let (mut bytes, mut entries, mut reads) = (0, 0, 0);
        let mut requests = Vec::new();
        while bytes < JOB_BYTES_MAX && entries < JOB_ENTRIES_MAX && reads < JOB_READS_MAX {
            let Some(request) = self.queue.pop_front() else { break };
            let of_request = request.bytes();
            stats.queued_requests.fetch_sub(1, Ordering::Relaxed);
            stats.queued_bytes.fetch_sub(of_request as u64, Ordering::Relaxed);
            bytes += of_request;
            entries += request.entries().len();
            reads += usize::from(request.is_read());
            requests.push(request);
        }
        requests
    }

    /// Only one watch timer is set at a time. It checks the job it was set for, then is set again for the job in progress. One
    /// that comes late counts for no more than it was set to: after SIGSTOP, or on a host that was suspended, it was this
    /// process that did not run, and the disk may be at the job still.
    fn watch(&mut self, me: &ActorRef<StoreMessage>, number: u64, after: Duration) {
        let signs = self.handle.signs_of_life();
        let was_alive = std::mem::replace(&mut self.signs, signs) != signs;
        let Some((current, since)) = self.busy else {
            self.silent = Duration::ZERO;
            return;
        };
        self.silent = match (was_alive, current == number) {
            // A commit waits for a compaction that goes on. All nodes may compact at once, so this is not a silent disk.
            (true, _) => Duration::ZERO,
            (false, true) => self.silent + after,
            (false, false) => since.elapsed().min(after),
        };
        let deadline = self.handle.deadline();
        if self.silent >= deadline {
            self.handle.fail_silent(self.silent);
            self.queue.clear();
        } else {
            self.arm(me, deadline.saturating_sub(self.silent).min(deadline / LOOKS_PER_DEADLINE));
        }
    }

    fn arm(&mut self, me: &ActorRef<StoreMessage>, after: Duration) {
        if self.watching.is_some() {
            return;
        }
        if let Some((number, _)) = self.busy {
            self.watching = Some(after);
            me.send_after(after, move || StoreMessage::Internal(Internal(InternalKind::Watch(number))));
        }
    }
}
