//! A simulated disk in use. Failure tests and `single_memory` nodes run on it.
//!
//! Every write is a *step*: a sector, an anchor sync, a batch handed over, a batch synced, a database made or renamed; of a snapshot
//! file a write, a cut, a sync, a rename or a removal, and a sync of the names.
//! [`SimDisk::stop_at`] stops the machine at a step; [`SimDisk::crash`] returns the image that would be found then, with
//! unsynced writes lost, kept or torn. Clones share one disk: a test keeps one while a store owns another.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use quorate_core::SplitMix64;

use super::fate::{Crash, Reached};
use super::image::{Database, Journaled, Rows, SectorState, SimImage, apply};
use crate::disk::{
    Backlog, Batch, Disk, DiskError, Files, Keyspace, Lacking, SECTOR_BYTES, Sector, SnapshotDisk, TornTail,
    Visit,
};
use crate::lock::lock;

/// A disk in use.
#[expect(clippy::struct_excessive_bools, reason = "each is one independent fault that a test switches")]
pub(super) struct State {
    pub(super) image: SimImage,
    /// The rows of the open database.
    view: Option<Rows>,
    /// Bytes of the rows in `view`.
    used: u64,
    steps: u64,
    stop_at: Option<u64>,
    stopped: bool,
    fail_sync_in: Option<u64>,
    sync_failed: bool,
    poisoned: bool,
    pub(super) capacity: u64,
    files: Option<Files>,
    /// Bytes that belong to others.
    foreign: u64,
    /// Reads of the log.
    log_reads: AtomicU64,
    stalled: bool,
    /// Whether a step has begun to wait since.
    held: bool,
    latency: Option<Latency>,
    misdirect: bool,
    unmeasurable: bool,
    /// Bytes of snapshot files that cannot be read.
    pub(super) unread: Range<u64>,
    backlog: Arc<Backlog>,
}

/// How long a job is delayed.
#[derive(Debug, Clone)]
struct Latency {
    min_ms: u64,
    max_ms: u64,
    random: SplitMix64,
}

impl Latency {
    fn draw(&mut self) -> Duration {
        Duration::from_millis(self.random.range(self.min_ms, self.max_ms))
    }
}

/// A handle on a simulated disk; clones share it.
#[derive(Clone)]
pub struct SimDisk {
    state: Arc<(Mutex<State>, Condvar)>,
}

impl std::fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimDisk").field("steps", &self.steps()).finish_non_exhaustive()
    }
}

impl Default for SimDisk {
    fn default() -> Self {
        Self::from_image(SimImage::default())
    }
}

impl SimDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// A disk that holds this image.
    pub fn from_image(image: SimImage) -> Self {
        let state = State {
            image,
            view: None,
            used: 0,
            steps: 0,
            stop_at: None,
            stopped: false,
            fail_sync_in: None,
            sync_failed: false,
            poisoned: false,
            capacity: 1 << 40,
            files: None,
            foreign: 0,
            log_reads: AtomicU64::new(0),
            stalled: false,
            held: false,
            latency: None,
            misdirect: false,
            unmeasurable: false,
            unread: 0..0,
            backlog: Arc::default(),
        };
        Self { state: Arc::new((Mutex::new(state), Condvar::new())) }
    }

    /// Number of steps so far.
    pub fn steps(&self) -> u64 {
        self.lock().steps
    }

    /// The machine stops before this step is synced: that step's write is pending, and everything after it fails.
    pub fn stop_at(&self, step: u64) {
        self.lock().stop_at = Some(step);
    }

    /// Whether the machine has stopped.
    pub fn has_stopped(&self) -> bool {
        self.lock().stopped
    }

    /// The sync after `syncs` more fails (zero: the next one). The disk is poisoned from then on.
    pub fn fail_sync_in(&self, syncs: u64) {
        self.lock().fail_sync_in = Some(syncs);
    }

    /// Whether a sync was made to fail.
    pub fn sync_failed(&self) -> bool {
        self.lock().sync_failed
    }

    /// Sets how many bytes the disk holds.
    pub fn set_capacity(&self, bytes: u64) {
        self.lock().capacity = bytes;
    }

    /// Sets how many files may still be made, of 65,536.
    pub fn set_free_files(&self, free: u64) {
        self.lock().files = Some(Files { free, total: 65_536 });
    }

    /// Sets how many bytes of the volume are used by others: they come and go.
    pub fn set_foreign_bytes(&self, bytes: u64) {
        self.lock().foreign = bytes;
    }

    /// How often rows of the log were read, opening included.
    pub fn log_reads(&self) -> u64 {
        self.lock().log_reads.load(Ordering::Relaxed)
    }

    /// While set, free space cannot be measured.
    pub fn set_unmeasurable(&self, unmeasurable: bool) {
        self.lock().unmeasurable = unmeasurable;
    }

    /// These bytes of every snapshot file cannot be read, until others are set: the disk fails, and the file may be whole.
    pub fn set_snapshots_unread(&self, bytes: Range<u64>) {
        self.lock().unread = bytes;
    }

    /// While stalled, every write waits: an I/O thread blocks in the call, an inline store defers its job.
    pub fn stall(&self, stalled: bool) {
        let mut state = self.lock();
        (state.stalled, state.held) = (stalled, false);
        drop(state);
        self.state.1.notify_all();
    }

    /// Whether a write waits since the disk was stalled.
    pub fn holds_a_write(&self) -> bool {
        self.lock().held
    }

    /// For an inline store: each job is delayed by `min_ms` to `max_ms` ms, drawn with `seed`. A delayed job is lost with its
    /// actor, as is everything in the memory of a machine that stops.
    pub fn set_latency_ms(&self, min_ms: u64, max_ms: u64, seed: u64) {
        self.lock().latency =
            Some(Latency { min_ms, max_ms: max_ms.max(min_ms), random: SplitMix64::from_state(seed) });
    }

    /// The next sector written goes to the sector after it.
    pub fn misdirect_next_sector(&self) {
        self.lock().misdirect = true;
    }

    /// Number of writes that a crash could lose now: sectors, and the last batch.
    pub fn unsynced(&self) -> usize {
        self.lock().image.unsynced()
    }

    /// The image that would be found if the machine (or only the process) stopped now.
    pub fn crash(&self, crash: Crash) -> SimImage {
        let mut image = self.lock().image.clone();
        image.crash(crash);
        image
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state.0)
    }

    /// Begins a step beside the I/O thread: a stall holds that thread alone.
    pub(super) fn step_beside(&self) -> Result<MutexGuard<'_, State>, DiskError> {
        let mut state = self.lock();
        state.count_step()?;
        Ok(state)
    }

    /// Begins a step. Waits while the disk is stalled.
    fn step(&self) -> Result<MutexGuard<'_, State>, DiskError> {
        let mut state = self.lock();
        while state.stalled {
            state.held = true;
            state = self.state.1.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.count_step()?;
        Ok(state)
    }
}

impl State {
    fn count_step(&mut self) -> Result<(), DiskError> {
        if self.stopped {
            return Err(stopped());
        }
        self.steps += 1;
        Ok(())
    }

    /// Fails if the machine stops at the current step.
    pub(super) fn may_stop(&mut self) -> Result<(), DiskError> {
        if self.stop_at == Some(self.steps) {
            self.stopped = true;
            return Err(stopped());
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), DiskError> {
        if self.poisoned {
            return Err(poisoned());
        }
        let synced = self.sync_beside();
        self.poisoned = synced.is_err();
        synced
    }

    /// A sync that poisons nothing if it fails.
    pub(super) fn sync_beside(&mut self) -> Result<(), DiskError> {
        match self.fail_sync_in {
            Some(0) => {
                self.fail_sync_in = None;
                self.sync_failed = true;
                let source = std::io::Error::other("the simulated disk failed a sync");
                Err(DiskError::Io { action: "sync", place: PLACE.to_owned(), source })
            }
            Some(more) => {
                self.fail_sync_in = Some(more - 1);
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn sync_database(&mut self) -> Result<(), DiskError> {
        let synced = self.sync();
        if let Some(database) = &mut self.image.database {
            database.synced(synced.is_ok());
        }
        synced
    }

    pub(super) fn used(&self) -> u64 {
        self.used + self.image.ballast + self.image.snapshots.bytes() + self.foreign
    }

    fn set_view(&mut self, view: Rows) {
        self.used = view.iter().map(|((_, key), value)| (key.len() + value.len()) as u64).sum();
        self.view = Some(view);
    }

    fn view(&self) -> Result<&Rows, DiskError> {
        self.view.as_ref().ok_or_else(|| DiskError::Damaged {
            place: PLACE.to_owned(),
            detail: "the database is not open".to_owned(),
        })
    }
}

pub(super) const PLACE: &str = "the simulated disk";

fn stopped() -> DiskError {
    let source = std::io::Error::other("the simulated machine has stopped");
    DiskError::Io { action: "use", place: PLACE.to_owned(), source }
}

fn poisoned() -> DiskError {
    DiskError::Poisoned { place: PLACE.to_owned() }
}

impl Disk for SimDisk {
    fn place(&self) -> String {
        PLACE.to_owned()
    }

    fn anchor_exists(&self) -> Result<bool, DiskError> {
        Ok(self.lock().image.anchor.is_some())
    }

    fn create_anchor(&mut self, sectors: &[Sector]) -> Result<(), DiskError> {
        let mut state = self.step()?;
        state.may_stop()?;
        let whole = sectors
            .iter()
            .enumerate()
            .map(|(at, sector)| (at as u64, SectorState { durable: Some(Box::new(*sector)), cached: None }));
        state.image.anchor = Some(whole.collect());
        Ok(())
    }

    fn read_sector(&self, sector: u64) -> Result<Box<Sector>, DiskError> {
        let state = self.lock();
        let found = state.image.anchor.as_ref().and_then(|sectors| sectors.get(&sector));
        let cached = found.and_then(|state| state.cached.as_ref()).map(|(bytes, _)| bytes);
        let bytes = cached.or(found.and_then(|state| state.durable.as_ref()));
        Ok(bytes.cloned().unwrap_or_else(|| Box::new([0; SECTOR_BYTES])))
    }

    fn write_sector(&mut self, sector: u64, bytes: &Sector) -> Result<(), DiskError> {
        let mut state = self.step()?;
        let at = if std::mem::take(&mut state.misdirect) { sector + 1 } else { sector };
        let anchor = state.image.anchor.get_or_insert_default();
        anchor.entry(at).or_default().cached = Some((Box::new(*bytes), Reached::Dirty));
        state.may_stop()
    }

    fn sync_anchor(&mut self) -> Result<(), DiskError> {
        let mut state = self.step()?;
        state.may_stop()?;
        let synced = state.sync();
        for sector in state.image.anchor.iter_mut().flat_map(BTreeMap::values_mut) {
            sector.synced(synced.is_ok());
        }
        synced
    }

    fn database_exists(&self) -> Result<bool, DiskError> {
        Ok(self.lock().image.database.is_some())
    }

    fn create_database(&mut self) -> Result<(), DiskError> {
        let mut state = self.step()?;
        state.may_stop()?;
        state.image.database = Some(Database::default());
        state.set_view(Rows::new());
        Ok(())
    }

    fn open_database(&mut self) -> Result<Option<TornTail>, DiskError> {
        let mut state = self.step()?;
        state.may_stop()?;
        let database = state.image.database.as_mut().ok_or_else(stopped)?;
        let place = "its journal".to_owned();
        if let Some(at) = database.journal.iter().position(|entry| entry.rotten) {
            let detail = format!("batch {at} of {} does not match its checksum", database.journal.len());
            return Err(DiskError::Damaged { place, detail });
        }
        // As the preflight does on real files: the last batch is written again, the same bytes.
        if let Some(last) = database.journal.last_mut().filter(|last| last.reached != Reached::Disk) {
            last.reached = Reached::Dirty;
            state.sync_database()?;
        }
        let database = state.image.database.as_mut().ok_or_else(stopped)?;
        let torn = database.torn.take().map(|cut_bytes| TornTail {
            journal: place,
            kept_bytes: database.journal.iter().map(|entry| entry.batch.bytes() as u64).sum(),
            cut_bytes,
        });
        let mut rows = database.base.clone();
        for entry in &database.journal {
            apply(&mut rows, &entry.batch);
        }
        state.set_view(rows);
        Ok(torn)
    }

    fn set_database_aside(&mut self) -> Result<String, DiskError> {
        let mut state = self.step()?;
        state.may_stop()?;
        state.image.database = None;
        state.view = None;
        state.image.aside += 1;
        Ok(format!("{PLACE}, database {}", state.image.aside))
    }

    fn delete_unused_database(&mut self) -> Result<bool, DiskError> {
        let mut state = self.step()?;
        state.may_stop()?;
        let is_unused = |database: &Database| database.base.is_empty() && database.journal.len() <= 1;
        if !state.image.database.as_ref().is_none_or(is_unused) {
            return Ok(false);
        }
        state.image.database = None;
        state.view = None;
        Ok(true)
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), DiskError> {
        let mut state = self.step()?;
        if state.poisoned {
            return Err(poisoned());
        }
        if state.used() + batch.bytes() as u64 > state.capacity {
            state.poisoned = true;
            return Err(DiskError::Full { place: PLACE.to_owned(), what: Lacking::Bytes });
        }
        let entry = Journaled { batch: batch.clone(), reached: Reached::Dirty, rotten: false };
        state.image.database.as_mut().ok_or_else(stopped)?.journal.push(entry);
        state.may_stop()?;
        drop(state);
        let mut state = self.step()?;
        state.may_stop()?;
        state.sync_database()?;
        if let Some(database) = &mut state.image.database {
            database.fold();
        }
        let (added, removed) = apply(state.view.get_or_insert_default(), batch);
        state.used = state.used + added - removed;
        Ok(())
    }

    fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Bytes>, DiskError> {
        Ok(self.lock().view()?.get(&(keyspace, key.to_vec())).cloned())
    }

    fn scan(&self, keyspace: Keyspace, from: &[u8], visit: &mut Visit<'_>) -> Result<(), DiskError> {
        let state = self.lock();
        if keyspace == Keyspace::Log {
            state.log_reads.fetch_add(1, Ordering::Relaxed);
        }
        for ((of, key), value) in state.view()?.range((keyspace, from.to_vec())..) {
            if *of != keyspace || visit(key, value.clone()) == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }

    fn drop_range(&mut self, keyspace: Keyspace, from: &[u8], to: &[u8]) -> Result<(), DiskError> {
        let mut state = self.step()?;
        state.may_stop()?;
        let stays = |(of, key): &(Keyspace, Vec<u8>)| {
            *of != keyspace || key.as_slice() < from || key.as_slice() >= to
        };
        // Rows still in the journal come back after reopening, as with fjall's memtables.
        if let Some(database) = &mut state.image.database {
            database.base.retain(|key, _| stays(key));
        }
        let mut view = state.view.take().unwrap_or_default();
        view.retain(|key, _| stays(key));
        state.set_view(view);
        Ok(())
    }

    fn backlog(&self) -> Arc<Backlog> {
        self.lock().backlog.clone()
    }

    fn free_bytes(&self) -> Result<u64, DiskError> {
        let state = self.lock();
        if state.unmeasurable {
            let place = "the simulated disk".to_owned();
            let source = std::io::ErrorKind::Interrupted.into();
            return Err(DiskError::Io { action: "measure", place, source });
        }
        Ok(state.capacity.saturating_sub(state.used()))
    }

    fn total_bytes(&self) -> Result<u64, DiskError> {
        Ok(self.lock().capacity)
    }

    fn files(&self) -> Result<Option<Files>, DiskError> {
        Ok(self.lock().files)
    }

    fn ballast_bytes(&self) -> Result<u64, DiskError> {
        Ok(self.lock().image.ballast)
    }

    fn set_ballast(&mut self, bytes: u64) -> Result<(), DiskError> {
        let mut state = self.step()?;
        state.may_stop()?;
        state.image.ballast = bytes;
        Ok(())
    }

    fn snapshots(&self) -> Arc<dyn SnapshotDisk> {
        Arc::new(self.clone())
    }

    fn pace(&mut self) -> Option<Duration> {
        let mut state = self.lock();
        if state.stalled {
            return None;
        }
        Some(state.latency.as_mut().map_or(Duration::ZERO, Latency::draw))
    }
}
