//! The log store actor: one per node, shared by all its groups. Stage 3 of 7, from a role's `Persist` to `Persisted`.
//!
//! Owns: what waits while the I/O thread works. Hears: [`StoreMessage`]. Asks: the I/O thread, one job at a time. Never:
//! touches the disk itself (but in simulation, inline), holds back a reply for a role, retries, answers after a failure.
//! A crash loses what waits; database, anchor, thread and sessions live above it in the [`StoreHandle`]. Node restarts
//! it; the new one takes a store epoch, waits until the thread is idle, and the roles say again what has not come back.
//! Bound: each role's own limits (uncommitted bytes of a leader, the sender's window at a follower); nothing is dropped
//! here for being too much. What waits is counted in [`StoreStats`](quorate_store::StoreStats).

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use quorate_core::{Epoch, GroupId};
use quorate_store::{ANCHOR_LAG_MAX, Progress, ProgressSink, StoreHandle, StoreRequest, Submitted};
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SpawnErr};
use tokio::time::Instant;

use crate::messages::store::{Internal, InternalKind, StoreMessage};

/// Bytes of entries in one batch, about.
const BATCH_BYTES_MAX: usize = 1 << 20;
/// Entries in one batch, about.
const BATCH_ENTRIES_MAX: usize = 1_024;
/// Reads in one job, at most: each may walk far, and the silence of a job is taken for the disk's.
const BATCH_READS_MAX: usize = 8;

/// The actor. Spawn it with [`LogStore::spawn_linked`].
#[derive(Debug)]
pub struct LogStore;

/// What waits, and what the thread is doing.
pub struct LogStoreState {
    handle: StoreHandle,
    /// Where the thread says how far it is: this actor's mailbox.
    progress: ProgressSink,
    store_epoch: u64,
    attached: bool,
    queue: VecDeque<StoreRequest>,
    /// The job under way and since when.
    busy: Option<(u64, Instant)>,
    jobs: u64,
    /// The job under way, if a simulated disk takes its time for it.
    slow: Vec<StoreRequest>,
    watching: bool,
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
            // The thread may still be at work for the actor before this one: that is watched, too.
            busy: Some((0, Instant::now())),
            jobs: 0,
            slow: Vec::new(),
            watching: false,
            settling: false,
        };
        state.arm(&me, state.handle.deadline());
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
                state.enqueue(request);
            }
        }
        state.pump(&me);
        Ok(())
    }
}

impl LogStoreState {
    fn enqueue(&mut self, request: StoreRequest) {
        let stats = self.handle.stats();
        stats.queued_requests.fetch_add(1, Ordering::Relaxed);
        stats.queued_bytes.fetch_add(request.bytes() as u64, Ordering::Relaxed);
        self.queue.push_back(request);
    }

    /// A role is being started: what its predecessors ordered and nobody has begun is void.
    fn forget_older(&mut self, group: GroupId, epoch: Epoch) {
        let stats = self.handle.stats();
        self.queue.retain(|request| match request {
            StoreRequest::Persist { group: of, epoch: old, .. } if *of == group && *old < epoch => {
                stats.queued_requests.fetch_sub(1, Ordering::Relaxed);
                stats.queued_bytes.fetch_sub(request.bytes() as u64, Ordering::Relaxed);
                stats.dropped.fetch_add(1, Ordering::Relaxed);
                false
            }
            StoreRequest::Persist { .. }
            | StoreRequest::OpenGroup { .. }
            | StoreRequest::Load { .. }
            | StoreRequest::Read { .. }
            | StoreRequest::Locate { .. }
            | StoreRequest::Install { .. }
            | StoreRequest::Compact { .. }
            | StoreRequest::RecordPeer { .. } => true,
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
                if self.busy.is_some_and(|(under_way, _)| under_way == number) {
                    self.busy = None;
                }
            }
            InternalKind::Watch(number) => {
                self.watching = false;
                self.watch(me, number);
            }
            InternalKind::Settle => {
                self.settling = false;
                self.handle.inline_settle();
            }
            InternalKind::Inline(number) => {
                if self.busy.is_some_and(|(under_way, _)| under_way == number) {
                    let requests = std::mem::take(&mut self.slow);
                    let submitted = self.handle.submit_late(requests);
                    self.submitted(me, submitted);
                }
            }
            InternalKind::Panic => panic!("told to panic"),
        }
    }

    /// Hands over everything that waits, up to a batch, if the thread is free.
    fn pump(&mut self, me: &ActorRef<StoreMessage>) {
        while self.attached && self.busy.is_none() && !self.queue.is_empty() {
            if self.handle.has_failed() {
                self.queue.clear();
                return;
            }
            let requests = self.gather();
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
            Submitted::UnderWay => None,
            Submitted::Later(requests, pause) => {
                self.slow = requests;
                Some(pause)
            }
        };
        if let Some(pause) = later {
            me.send_after(pause, move || StoreMessage::Internal(Internal(InternalKind::Inline(number))));
        }
        self.busy.get_or_insert((number, Instant::now()));
        self.arm(me, self.handle.deadline());
    }

    fn gather(&mut self) -> Vec<StoreRequest> {
        let stats = self.handle.stats();
        let (mut bytes, mut entries, mut reads) = (0, 0, 0);
        let mut requests = Vec::new();
        while bytes < BATCH_BYTES_MAX && entries < BATCH_ENTRIES_MAX && reads < BATCH_READS_MAX {
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

    /// One watch at a time: it looks at the job it was set for, and moves on to the one under way.
    fn watch(&mut self, me: &ActorRef<StoreMessage>, number: u64) {
        let Some((under_way, since)) = self.busy else { return };
        let deadline = self.handle.deadline();
        let silent = since.elapsed();
        if under_way == number && silent >= deadline {
            self.handle.fail_silent(silent);
            self.queue.clear();
        } else {
            self.arm(me, deadline.saturating_sub(silent));
        }
    }

    fn arm(&mut self, me: &ActorRef<StoreMessage>, after: Duration) {
        if self.watching {
            return;
        }
        if let Some((number, _)) = self.busy {
            self.watching = true;
            me.send_after(after, move || StoreMessage::Internal(Internal(InternalKind::Watch(number))));
        }
    }
}
