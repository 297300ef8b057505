//! Carries out what the log store's actor gathered: on the I/O thread, or inline in simulation. Owned above the actor, so
//! that a restarted actor finds epochs, sequences and the disk as they were (`safety.md` 9).
//!
//! Order: the writes between two barriers (any request but `Persist` and reads) are one batch, then come the reads. So a
//! `Load` sees every write before it and none after, and a read never splits a batch.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use quorate_core::{Epoch, GroupId, Persist, Sequence};

use super::event::{FatalSink, StoreEvent, StoreFatal, StoreSink};
use super::install::Install;
use super::request::{Answer, PeerSource, StoreRequest};
use super::space::SpaceGauge;
use super::work::WorkGauge;
use super::write::GroupWrite;
use crate::disk::Backlog;
use crate::error::{GroupError, StoreError};
use crate::space::{Resource, Shortage, Space};
use crate::store::Store;

/// Counters and gauges of the store, for metrics.
#[derive(Debug, Default)]
pub struct StoreStats {
    /// Requests waiting in the actor.
    pub queued_requests: AtomicU64,
    /// Bytes of entries waiting in the actor.
    pub queued_bytes: AtomicU64,
    /// Batches written to disk.
    pub batches: AtomicU64,
    /// Entries written to disk.
    pub entries: AtomicU64,
    /// How long a job takes, in microseconds: the last one, or half of what an earlier one took if that is more.
    pub job_us: AtomicU64,
    /// Writes dropped because their epoch was over, or their sequence left a gap.
    pub dropped: AtomicU64,
}

/// What the thread and the handle share.
pub(crate) struct Shared {
    failed: AtomicBool,
    fatal: FatalSink,
    pub(super) stats: StoreStats,
    pub(super) space: SpaceGauge,
    pub(super) backlog: Arc<Backlog>,
    pub(super) work: WorkGauge,
}

impl Shared {
    pub(crate) fn new(fatal: FatalSink, backlog: Arc<Backlog>) -> Self {
        let (stats, space) = (StoreStats::default(), SpaceGauge::new());
        let work = WorkGauge::new();
        Self { failed: AtomicBool::new(false), fatal, stats, space, backlog, work }
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }

    /// Reports the failure, once; from then on nothing is answered.
    pub(super) fn fail(&self, why: StoreFatal) {
        if !self.failed.swap(true, Ordering::SeqCst) {
            (self.fatal)(why);
        }
    }
}

/// The role that writes to a group: the one whose load began the current epoch.
struct RoleWriter {
    epoch: Epoch,
    sink: StoreSink,
    /// The last sequence of this epoch that is on disk.
    persisted: Sequence,
}

/// A `Persist` that waits for its batch.
struct Write {
    group: GroupId,
    epoch: Epoch,
    persist: Persist,
}

/// The store with the role that writes to each group.
pub(crate) struct Engine {
    store: Store,
    roles: BTreeMap<GroupId, RoleWriter>,
    /// What the disk has too little of, while the roles are told that it is full.
    full: Option<Resource>,
    /// Whether the last attempt to measure free space failed.
    unmeasured: bool,
    shared: Arc<Shared>,
}

impl Engine {
    pub(crate) fn new(store: Store, shared: Arc<Shared>) -> Self {
        let measured = store.space().ok();
        let full = measured.filter(|space| space.is_full()).map(Space::short_of);
        if let Some(space) = measured {
            shared.space.set(space, full.is_some());
        }
        Self { store, roles: BTreeMap::new(), full, unmeasured: false, shared }
    }

    /// Carries out everything, in order. After a failure nothing is answered: replies are dropped.
    pub(crate) fn execute(&mut self, requests: Vec<StoreRequest>) {
        if self.shared.has_failed() {
            return;
        }
        if let Err(error) = self.run(requests) {
            self.shared.fail(StoreFatal::Failed(Arc::new(error)));
        }
    }

    /// Whether the anchor is behind, or dead rows wait to be freed.
    pub(super) fn is_behind(&self) -> bool {
        self.store.is_anchor_behind() || self.store.has_dead_runs()
    }

    /// Brings the anchor up to date and frees dead rows.
    pub(crate) fn settle(&mut self) {
        if self.shared.has_failed() {
            return;
        }
        if let Err(error) = self.store.settle_anchor().and_then(|()| self.store.reclaim()) {
            self.shared.fail(StoreFatal::Failed(Arc::new(error)));
            return;
        }
        self.watch_space();
    }

    /// Checks that what is written goes to the files that the next start will read.
    pub(super) fn watch_files(&mut self) {
        if self.shared.has_failed() {
            return;
        }
        if let Err(error) = self.store.check_in_place() {
            self.shared.fail(StoreFatal::Failed(Arc::new(error)));
        }
    }

    /// Inline only: how long the next job is delayed, `None` while the disk is stalled.
    pub(super) fn pace(&mut self) -> Option<Duration> {
        self.store.disk.pace()
    }

    /// Inline only: whether a settle timer is needed. A thread checks the space by itself.
    pub(super) fn wants_settling(&self) -> bool {
        self.is_behind() || self.full.is_some()
    }

    /// Inline only, where waiting for the disk would block the whole simulation.
    pub(super) fn settle_unless_stalled(&mut self) {
        if self.pace().is_some() {
            self.settle();
        }
    }

    /// Tells every role when free space falls below the reserve or rises above it. A gauge that cannot be read ends nothing: what
    /// was last known holds, and it is read again at the next look.
    pub(super) fn watch_space(&mut self) {
        let measured = self.store.space();
        if self.unmeasured != measured.is_err() {
            self.unmeasured = !self.unmeasured;
            let (node, full) = (&self.store.identity().node, self.full.is_some());
            match &measured {
                Ok(_) => tracing::info!(%node, "free space measured again"),
                Err(error) => tracing::warn!(%node, %error, full, "free space not measured, last value kept"),
            }
        }
        let Ok(space) = measured else { return };
        let has_room = if self.full.is_some() { space.has_room_again() } else { !space.is_full() };
        let full = (!has_room).then(|| space.short_of());
        self.shared.space.set(space, full.is_some());
        let before = std::mem::replace(&mut self.full, full);
        if full.is_some() != before.is_some() {
            if let Some(resource) = full.or(before) {
                self.log_crossing(space, resource);
            }
            for role in self.roles.values() {
                self.tell(&role.sink, StoreEvent::DiskFull(full.is_some()));
            }
        }
    }

    /// One line each way, with what there was too little of: what an operator sees of a full disk beside the refusals.
    fn log_crossing(&self, space: Space, resource: Resource) {
        let node = &self.store.identity().node;
        let Shortage { free, reserve, again, .. } = space.shortage_of(resource);
        if self.full.is_some() {
            tracing::warn!(%node, %resource, free, reserve, again, "disk below its reserve, this node takes no more entries");
        } else {
            tracing::info!(%node, %resource, free, reserve, "disk has room again");
        }
    }

    fn run(&mut self, requests: Vec<StoreRequest>) -> Result<(), StoreError> {
        let mut writes = Vec::new();
        let mut reads = Vec::new();
        for request in requests {
            match request {
                StoreRequest::Persist { group, epoch, persist } => {
                    let installs = persist.install.is_some();
                    if installs {
                        self.segment(&mut writes, &mut reads)?;
                    }
                    writes.push(Write { group, epoch, persist });
                    if installs {
                        self.segment(&mut writes, &mut reads)?;
                    }
                }
                read if read.is_read() => reads.push(read),
                barrier => {
                    self.segment(&mut writes, &mut reads)?;
                    self.carry_out(barrier)?;
                }
            }
        }
        self.segment(&mut writes, &mut reads)
    }

    fn segment(&mut self, writes: &mut Vec<Write>, reads: &mut Vec<StoreRequest>) -> Result<(), StoreError> {
        self.write_batch(std::mem::take(writes))?;
        reads.drain(..).try_for_each(|read| self.carry_out(read))
    }

    /// Writes one batch. A sequence that is on disk is told again; one that leaves a gap, or of another epoch, is dropped.
    fn write_batch(&mut self, writes: Vec<Write>) -> Result<(), StoreError> {
        let mut reached: BTreeMap<GroupId, Sequence> = BTreeMap::new();
        let mut batch = Vec::new();
        let mut entries = 0;
        for Write { group, epoch, persist } in writes {
            let Some(role) = self.roles.get(&group).filter(|role| role.epoch == epoch) else {
                self.shared.stats.dropped.fetch_add(1, Ordering::Relaxed);
                continue;
            };
            let before = reached.get(&group).copied().unwrap_or(role.persisted);
            if persist.sequence <= before {
                reached.entry(group).or_insert(before);
            } else if persist.sequence == before.next() {
                reached.insert(group, persist.sequence);
                entries += persist.entries.len();
                let Persist { hard_state, truncate_from, entries, install, .. } = persist;
                let hard_state = hard_state.into();
                if let Some(base) = install {
                    // Alone in its batch: see `run`.
                    self.store.install(group, &Install { base: *base, hard_state })?;
                } else {
                    batch.push(GroupWrite { group, hard_state, truncate_from, entries });
                }
            } else {
                self.shared.stats.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
        if !batch.is_empty() {
            self.store.write(batch)?;
            self.shared.stats.batches.fetch_add(1, Ordering::Relaxed);
            self.shared.stats.entries.fetch_add(entries as u64, Ordering::Relaxed);
        }
        for (group, sequence) in reached {
            let role = self.roles.get_mut(&group).expect("found above");
            role.persisted = sequence;
            let event = StoreEvent::Persisted { group, epoch: role.epoch, sequence };
            if !self.shared.has_failed() {
                (role.sink)(event);
            }
        }
        Ok(())
    }

    fn carry_out(&mut self, request: StoreRequest) -> Result<(), StoreError> {
        match request {
            StoreRequest::Persist { .. } => unreachable!("`run` gathers the writes"),
            StoreRequest::Read { group, epoch, from, through, bytes_max, reply } => {
                let current = self.check_epoch(group, epoch);
                self.answer_unless_fatal(
                    reply,
                    current.and_then(|()| self.store.read(group, from, through, bytes_max)),
                )
            }
            StoreRequest::Locate { group, epoch, index, reply } => {
                let current = self.check_epoch(group, epoch);
                self.answer_unless_fatal(reply, current.and_then(|()| self.store.locate(group, index)))
            }
            StoreRequest::OpenGroup { name, founding, reply } => {
                match self.store.open_group(&name, &founding) {
                    Err(GroupError::Store(error)) if error.is_fatal() => return Err(error),
                    result => self.send(reply, result),
                }
                Ok(())
            }
            StoreRequest::Load { group, epoch, tail_bytes_max, sink, reply } => {
                if self.roles.get(&group).is_some_and(|role| role.epoch >= epoch) {
                    return self.answer_unless_fatal(reply, Err(StoreError::Stale { group }));
                }
                let loaded = self.store.load(group, tail_bytes_max);
                if loaded.is_ok() {
                    if self.full.is_some() {
                        self.tell(&sink, StoreEvent::DiskFull(true));
                    }
                    self.roles.insert(group, RoleWriter { epoch, sink, persisted: Sequence::ZERO });
                }
                self.answer_unless_fatal(reply, loaded)
            }
            StoreRequest::Compact { group, epoch, through, reply } => {
                let current = self.check_epoch(group, epoch);
                let done = current.and_then(|()| self.store.compact(group, through));
                self.answer_unless_fatal(reply, done)
            }
            StoreRequest::RecordPeer { peer, incarnation, source, reply } => {
                let done = match source {
                    PeerSource::ItDialled => self.store.record_peer(&peer, incarnation, false),
                    PeerSource::ItAdmitted => self.store.record_admission(&peer, incarnation),
                    PeerSource::Membership => self.store.record_peer(&peer, incarnation, true),
                };
                self.answer_unless_fatal(reply, done)
            }
        }
    }

    fn check_epoch(&self, group: GroupId, epoch: Epoch) -> Result<(), StoreError> {
        match self.roles.get(&group) {
            Some(role) if role.epoch == epoch => Ok(()),
            Some(_) | None => Err(StoreError::Stale { group }),
        }
    }

    /// A fatal error is never an answer: the reply is dropped and the store stops.
    fn answer_unless_fatal<T>(
        &self,
        reply: Answer<T>,
        result: Result<T, StoreError>,
    ) -> Result<(), StoreError> {
        match result {
            Err(error) if error.is_fatal() => Err(error),
            result => {
                self.send(reply, result);
                Ok(())
            }
        }
    }

    fn send<T, E>(&self, reply: Answer<T, E>, result: Result<T, E>) {
        if !self.shared.has_failed() {
            reply.send(result);
        }
    }

    fn tell(&self, sink: &StoreSink, event: StoreEvent) {
        if !self.shared.has_failed() {
            sink(event);
        }
    }
}
