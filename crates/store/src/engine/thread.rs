//! The I/O thread and the handle on it. Node starts it, owns it above the log store's actor, and stops it last.
//!
//! Owns the thread, and through it the store and the epochs. Hears jobs of one actor at a time, in order. Does one
//! batch and one sync per job; brings the anchor up to date when idle for [`IDLE`] or [`ANCHOR_LAG_MAX`] behind. Never
//! retries, or answers after a failure. A crash of the actor loses nothing here; a panic of this thread is fatal.
//! Bound: one job in progress, and at most one attach waiting per restart of the actor.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::event::{FatalSink, StoreFatal};
use super::execute::{Engine, Shared, StoreStats};
use super::request::StoreRequest;
use super::work::now;
use crate::disk::DiskError;
use crate::error::StoreError;
use crate::lock::lock;
use crate::snapshot::Snapshots;
use crate::space::Space;
use crate::store::{Identity, Store};

/// How long a group's row in the anchor may lag behind its log (`safety.md` 3).
pub const ANCHOR_LAG_MAX: Duration = Duration::from_millis(20);

/// After this long without work the thread brings the anchor up to date.
const IDLE: Duration = Duration::from_millis(5);
/// How long a thread that is to end may take for its current job.
const STOP_WAIT: Duration = Duration::from_secs(10);
/// How often free space is checked while nothing is written.
const SPACE_INTERVAL: Duration = Duration::from_millis(500);
/// How often the files are checked to be the ones that were opened; the database itself is at each batch.
const FILES_INTERVAL: Duration = Duration::from_secs(1);

/// What the thread tells the actor in front of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The thread is idle and knows the actor of this store epoch.
    Attached(u64),
    /// The thread has finished this job.
    Done(u64),
}

/// Where [`Progress`] goes. Called on the I/O thread: it must only hand it on.
pub type ProgressSink = Arc<dyn Fn(Progress) + Send + Sync>;

enum ThreadMessage {
    Attach { store_epoch: u64, actor: ProgressSink },
    Job { number: u64, requests: Vec<StoreRequest>, actor: ProgressSink },
    Stop,
}

enum Mode {
    /// `ended` is disconnected once the thread has closed the disk.
    Thread {
        thread: Mutex<Sender<ThreadMessage>>,
        ended: Mutex<Option<Receiver<()>>>,
    },
    Inline {
        engine: Mutex<Option<Box<Engine>>>,
    },
}

struct Inner {
    mode: Mode,
    shared: Arc<Shared>,
    store_epoch: AtomicU64,
    deadline: Duration,
    identity: Identity,
    snapshots: Snapshots,
}

/// A handle on the store, its disk and its epochs; every restart of the log store's actor gets a clone.
#[derive(Clone)]
pub struct StoreHandle(Arc<Inner>);

impl std::fmt::Debug for StoreHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreHandle").field("identity", &self.0.identity).finish_non_exhaustive()
    }
}

/// The state of a job after it was handed over.
#[derive(Debug)]
pub enum Submitted {
    /// It is done.
    Done,
    /// The thread works on it; [`Progress::Done`] follows.
    InProgress,
    /// Inline, on a slow simulated disk: the actor keeps the job and hands it over again after this delay.
    Deferred(Vec<StoreRequest>, Duration),
}

/// How often a stalled simulated disk is checked.
const STALL_LOOK: Duration = Duration::from_millis(5);

/// Starts the I/O thread.
#[derive(Debug)]
pub struct StoreThread;

impl StoreThread {
    /// Takes the store and starts its thread. `fatal` is called at most once, from the I/O thread or the actor, when
    /// the disk failed or has been silent for `deadline` (minutes: storage may stall for a while).
    pub fn start(store: Store, deadline: Duration, fatal: FatalSink) -> Result<StoreHandle, DiskError> {
        let (identity, snapshots) = (store.identity().clone(), store.snapshots());
        let shared = Arc::new(Shared::new(fatal, store.disk.backlog()));
        let engine = Engine::new(store, Arc::clone(&shared));
        let (thread, inbox) = channel();
        let name = format!("{}/io", identity.node);
        let of_thread = Arc::clone(&shared);
        let (runs, ended) = channel();
        let spawned = std::thread::Builder::new().name(name.clone()).spawn(move || {
            let work = std::panic::AssertUnwindSafe(|| run(engine, &inbox, &of_thread));
            if std::panic::catch_unwind(work).is_err() {
                let place = "the I/O thread, which panicked,".to_owned();
                of_thread.fail(StoreFatal::Failed(Arc::new(DiskError::Poisoned { place }.into())));
            }
            drop(runs);
        });
        spawned.map_err(|source| DiskError::Io { action: "start thread", place: name, source })?;
        let mode = Mode::Thread { thread: Mutex::new(thread), ended: Mutex::new(Some(ended)) };
        Ok(StoreHandle::new(mode, shared, deadline, (identity, snapshots)))
    }

    /// Simulation: no thread; every job is carried out by the caller. `deadline` as for [`start`](Self::start), for a
    /// simulated disk that stalls.
    pub fn inline(store: Store, deadline: Duration, fatal: FatalSink) -> StoreHandle {
        let (identity, snapshots) = (store.identity().clone(), store.snapshots());
        let shared = Arc::new(Shared::new(fatal, store.disk.backlog()));
        let engine = Box::new(Engine::new(store, Arc::clone(&shared)));
        let mode = Mode::Inline { engine: Mutex::new(Some(engine)) };
        StoreHandle::new(mode, shared, deadline, (identity, snapshots))
    }
}

impl StoreHandle {
    fn new(
        mode: Mode,
        shared: Arc<Shared>,
        deadline: Duration,
        (identity, snapshots): (Identity, Snapshots),
    ) -> Self {
        Self(Arc::new(Inner { mode, shared, store_epoch: AtomicU64::new(0), deadline, identity, snapshots }))
    }

    /// Whose disk it is.
    pub fn identity(&self) -> &Identity {
        &self.0.identity
    }

    /// The snapshot files of the node's directory: used by another thread than the store's, which never waits for them. They stay
    /// usable after [`stop`](Self::stop), which unlocks the directory: end what writes them before.
    pub fn snapshots(&self) -> Snapshots {
        self.0.snapshots.clone()
    }

    /// The store's counters.
    pub fn stats(&self) -> &StoreStats {
        &self.0.shared.stats
    }

    /// How full the disk was when it was measured last.
    pub fn space(&self) -> Space {
        self.0.shared.space.get()
    }

    /// Whether roles were told last that the disk is full.
    pub fn is_full(&self) -> bool {
        self.0.shared.space.is_full()
    }

    /// Whether the store has failed permanently.
    pub fn has_failed(&self) -> bool {
        self.0.shared.has_failed()
    }

    /// Ends the thread after its current job, brings the anchor up to date and closes the disk. Blocks: call it where
    /// blocking is allowed, after the actor has stopped. Later requests are dropped. A thread that hangs in its disk is
    /// waited for as long as it may be silent, at most ten seconds; then the store has failed, for no one else watches it any
    /// more.
    pub fn stop(&self) {
        match &self.0.mode {
            Mode::Thread { thread, ended } => {
                // Fails only if the thread has ended already.
                let _ = lock(thread).send(ThreadMessage::Stop);
                let ended = lock(ended).take();
                // A failed thread may hang in a call that never returns: it is not waited for.
                if let Some(ended) = ended.filter(|_| !self.has_failed())
                    && ended.recv_timeout(self.0.deadline.min(STOP_WAIT)) == Err(RecvTimeoutError::Timeout)
                {
                    self.fail_silent(self.0.deadline.min(STOP_WAIT));
                }
            }
            Mode::Inline { engine } => {
                if let Some(mut engine) = lock(engine).take() {
                    engine.settle_unless_stalled();
                }
            }
        }
    }

    /// The actor's watch: the thread has been silent for this long, beyond its deadline. The store ends.
    pub fn fail_silent(&self, silent: Duration) {
        self.0.shared.fail(StoreFatal::Silent(silent));
    }

    /// How long the thread has been at the work in progress; `None` while it waits for some, and where there is no thread.
    pub fn busy_for(&self) -> Option<Duration> {
        self.0.shared.work.busy_for()
    }

    /// How long the thread may be silent.
    pub fn deadline(&self) -> Duration {
        self.0.deadline
    }

    /// Progress steps of compaction while a commit waits; any change shows that the disk is alive.
    pub fn signs_of_life(&self) -> u64 {
        self.0.shared.backlog.steps()
    }

    /// Whether a commit has waited for such work for a while.
    pub fn waits_for_room(&self) -> bool {
        self.0.shared.backlog.is_waiting()
    }

    /// Whether there is no thread, and jobs are carried out by the caller.
    pub fn is_inline(&self) -> bool {
        matches!(self.0.mode, Mode::Inline { .. })
    }

    /// Announces a new actor, which may hand over jobs once [`Progress::Attached`] comes, when the thread is idle. Returns its
    /// store epoch.
    pub fn attach(&self, actor: &ProgressSink) -> u64 {
        let store_epoch = self.0.store_epoch.fetch_add(1, Ordering::SeqCst) + 1;
        match &self.0.mode {
            Mode::Thread { thread, .. } => {
                self.send(thread, ThreadMessage::Attach { store_epoch, actor: Arc::clone(actor) });
            }
            Mode::Inline { .. } => {
                actor(Progress::Attached(store_epoch));
            }
        }
        store_epoch
    }

    /// Hands over a job. `number` comes back in [`Progress::Done`].
    pub fn submit(&self, number: u64, requests: Vec<StoreRequest>, actor: &ProgressSink) -> Submitted {
        match &self.0.mode {
            Mode::Thread { thread, .. } => {
                self.send(thread, ThreadMessage::Job { number, requests, actor: Arc::clone(actor) });
                Submitted::InProgress
            }
            Mode::Inline { engine } => match lock(engine).as_mut() {
                Some(engine) => match engine.pace() {
                    Some(Duration::ZERO) => {
                        engine.execute(requests);
                        Submitted::Done
                    }
                    pace => Submitted::Deferred(requests, pace.unwrap_or(STALL_LOOK)),
                },
                None => Submitted::Done,
            },
        }
    }

    /// Inline only: hands over a deferred job again; deferred once more while the disk is stalled.
    pub fn submit_late(&self, requests: Vec<StoreRequest>) -> Submitted {
        match &self.0.mode {
            Mode::Thread { .. } => Submitted::Done,
            Mode::Inline { engine } => match lock(engine).as_mut() {
                Some(engine) => {
                    if engine.pace().is_none() {
                        return Submitted::Deferred(requests, STALL_LOOK);
                    }
                    engine.execute(requests);
                    Submitted::Done
                }
                None => Submitted::Done,
            },
        }
    }

    /// Inline only: whether a settle timer is needed.
    pub fn inline_behind(&self) -> bool {
        match &self.0.mode {
            Mode::Thread { .. } => false,
            Mode::Inline { engine } => lock(engine).as_ref().is_some_and(|engine| engine.wants_settling()),
        }
    }

    /// Inline only: brings the anchor up to date, unless the disk is stalled.
    pub fn inline_settle(&self) {
        match &self.0.mode {
            Mode::Thread { .. } => {}
            Mode::Inline { engine } => {
                if let Some(engine) = lock(engine).as_mut() {
                    engine.settle_unless_stalled();
                }
            }
        }
    }

    fn send(&self, thread: &Mutex<Sender<ThreadMessage>>, message: ThreadMessage) {
        if lock(thread).send(message).is_err() && !self.has_failed() {
            self.0.shared.fail(StoreFatal::Failed(Arc::new(StoreError::Failed)));
        }
    }
}

fn run(mut engine: Engine, inbox: &Receiver<ThreadMessage>, shared: &Shared) {
    let mut behind_since: Option<Instant> = None;
    let mut settled = now();
    let mut checked = now();
    loop {
        let wait = behind_since.map_or(SPACE_INTERVAL, |_| IDLE);
        match inbox.recv_timeout(wait) {
            Ok(ThreadMessage::Attach { store_epoch, actor }) => {
                actor(Progress::Attached(store_epoch));
            }
            Ok(ThreadMessage::Job { number, requests, actor }) => {
                shared.work.during(|| engine.execute(requests));
                if !shared.has_failed() {
                    actor(Progress::Done(number));
                }
            }
            Err(RecvTimeoutError::Timeout) => {
                shared.work.during(|| engine.settle());
                (behind_since, settled) = (None, now());
            }
            Ok(ThreadMessage::Stop) | Err(RecvTimeoutError::Disconnected) => {
                shared.work.during(|| engine.settle());
                return;
            }
        }
        let lags = engine.is_behind()
            && now().duration_since(*behind_since.get_or_insert_with(now)) >= ANCHOR_LAG_MAX;
        // Also under jobs without a pause, so that roles hear soon that space is back.
        if lags || now().duration_since(settled) >= SPACE_INTERVAL {
            shared.work.during(|| engine.settle());
            (behind_since, settled) = (None, now());
        }
        if !engine.is_behind() {
            behind_since = None;
        }
        if now().duration_since(checked) >= FILES_INTERVAL {
            shared.work.during(|| engine.watch_files());
            checked = now();
        }
    }
}
