//! The I/O thread and the handle on it. Node starts it, owns it above the log store actor, and stops it last.
//!
//! Owns: the thread, and through it the store and the sessions. Hears: jobs of one actor at a time, in order. Does: one
//! batch and one sync per job; brings the anchor up to date when idle for [`IDLE`] or [`ANCHOR_LAG_MAX`] behind. Never:
//! retries, or answers after a failure. A crash of the actor loses nothing here; a panic of this thread is fatal.
//! Bound: one job under way and at most one attach per restart waiting.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::engine::{Engine, Shared, StoreStats};
use super::error::StoreError;
use super::event::{FatalSink, StoreFatal};
use super::request::StoreRequest;
use super::types::{ANCHOR_LAG_MAX, Identity};
use super::{DiskError, Store};

/// A thread without work for this long brings the anchor up to date.
const IDLE: Duration = Duration::from_millis(5);
/// How often free space is looked at while nothing is written.
const SPACE_INTERVAL: Duration = Duration::from_millis(500);

/// What the thread says to the actor in front of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The thread is idle and knows the actor of this store epoch.
    Attached(u64),
    /// The thread has finished this job.
    Done(u64),
}

/// Where [`Progress`] goes. Called on the I/O thread: it must only hand on.
pub type ProgressSink = Arc<dyn Fn(Progress) + Send + Sync>;

enum Order {
    Attach { store_epoch: u64, actor: ProgressSink },
    Job { number: u64, requests: Vec<StoreRequest>, actor: ProgressSink },
    Stop,
}

enum Mode {
    Thread { orders: Mutex<Sender<Order>>, join: Mutex<Option<std::thread::JoinHandle<()>>> },
    Inline { engine: Mutex<Option<Box<Engine>>> },
}

struct Inner {
    mode: Mode,
    shared: Arc<Shared>,
    store_epoch: AtomicU64,
    deadline: Duration,
    identity: Identity,
}

/// A handle on the store, its disk and its sessions; cloned to every incarnation of the log store actor.
#[derive(Clone)]
pub struct StoreHandle(Arc<Inner>);

impl std::fmt::Debug for StoreHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreHandle").field("identity", &self.0.identity).finish_non_exhaustive()
    }
}

/// What became of a job that was handed over.
#[derive(Debug)]
pub enum Submitted {
    /// It is done.
    Done,
    /// The thread has it; [`Progress::Done`] will say when it is done.
    UnderWay,
    /// Inline, on a simulated disk that takes its time: the actor keeps it and tries again after a while.
    Later(Vec<StoreRequest>, Duration),
}

/// How often a simulated disk that does nothing is looked at.
const STALL_LOOK: Duration = Duration::from_millis(5);

/// Starts the I/O thread.
#[derive(Debug)]
pub struct StoreThread;

impl StoreThread {
    /// Takes the store and starts its thread. `fatal` is called at most once, from the I/O thread or the actor, when
    /// the disk failed or has been silent for `deadline` (10 s is a good one).
    pub fn start(store: Store, deadline: Duration, fatal: FatalSink) -> Result<StoreHandle, DiskError> {
        let identity = store.identity().clone();
        let shared = Arc::new(Shared::new(fatal));
        let engine = Engine::new(store, Arc::clone(&shared));
        let (orders, inbox) = channel();
        let name = format!("{}/io", identity.node);
        let of_thread = Arc::clone(&shared);
        let join = std::thread::Builder::new().name(name.clone()).spawn(move || {
            let work = std::panic::AssertUnwindSafe(|| run(engine, &inbox, &of_thread));
            if std::panic::catch_unwind(work).is_err() {
                let place = "the I/O thread, which panicked,".to_owned();
                of_thread.fail(StoreFatal::Failed(Arc::new(DiskError::Poisoned { place }.into())));
            }
        });
        let join = join.map_err(|source| DiskError::Io { action: "start thread", place: name, source })?;
        let mode = Mode::Thread { orders: Mutex::new(orders), join: Mutex::new(Some(join)) };
        Ok(StoreHandle::new(mode, shared, deadline, identity))
    }

    /// Simulation: no thread; the actor carries out every request while it handles it.
    /// `deadline` as for [`start`](Self::start), for a simulated disk that stalls.
    pub fn inline(store: Store, deadline: Duration, fatal: FatalSink) -> StoreHandle {
        let identity = store.identity().clone();
        let shared = Arc::new(Shared::new(fatal));
        let engine = Box::new(Engine::new(store, Arc::clone(&shared)));
        StoreHandle::new(Mode::Inline { engine: Mutex::new(Some(engine)) }, shared, deadline, identity)
    }
}

impl StoreHandle {
    fn new(mode: Mode, shared: Arc<Shared>, deadline: Duration, identity: Identity) -> Self {
        Self(Arc::new(Inner { mode, shared, store_epoch: AtomicU64::new(0), deadline, identity }))
    }

    /// Whose disk it is.
    pub fn identity(&self) -> &Identity {
        &self.0.identity
    }

    /// What the store counts.
    pub fn stats(&self) -> &StoreStats {
        &self.0.shared.stats
    }

    /// Whether the store has failed for good.
    pub fn has_failed(&self) -> bool {
        self.0.shared.has_failed()
    }

    /// Ends the thread after what it is doing, brings the anchor up to date and closes the disk. Blocks: call it where
    /// blocking is allowed, after the actor has stopped. Requests that come later are dropped.
    pub fn stop(&self) {
        match &self.0.mode {
            Mode::Thread { orders, join } => {
                // A thread that is gone has nothing left to stop.
                let _ = lock(orders).send(Order::Stop);
                let join = lock(join).take();
                // One that failed may hang in a call that never returns; it is left to the end of the process.
                if let Some(join) = join.filter(|_| !self.has_failed()) {
                    let _ = join.join();
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

    /// How long the thread may be silent.
    pub fn deadline(&self) -> Duration {
        self.0.deadline
    }

    /// Whether there is no thread, and jobs are carried out by the caller.
    pub fn is_inline(&self) -> bool {
        matches!(self.0.mode, Mode::Inline { .. })
    }

    /// A new actor: it may hand over work once [`Progress::Attached`] comes back, when the thread is idle.
    pub fn attach(&self, actor: &ProgressSink) -> u64 {
        let store_epoch = self.0.store_epoch.fetch_add(1, Ordering::SeqCst) + 1;
        match &self.0.mode {
            Mode::Thread { orders, .. } => {
                self.order(orders, Order::Attach { store_epoch, actor: Arc::clone(actor) });
            }
            Mode::Inline { .. } => {
                actor(Progress::Attached(store_epoch));
            }
        }
        store_epoch
    }

    /// Hands over a job.
    pub fn submit(&self, number: u64, requests: Vec<StoreRequest>, actor: &ProgressSink) -> Submitted {
        match &self.0.mode {
            Mode::Thread { orders, .. } => {
                self.order(orders, Order::Job { number, requests, actor: Arc::clone(actor) });
                Submitted::UnderWay
            }
            Mode::Inline { engine } => match lock(engine).as_mut() {
                Some(engine) => match engine.pace() {
                    Some(Duration::ZERO) => {
                        engine.execute(requests);
                        Submitted::Done
                    }
                    pace => Submitted::Later(requests, pace.unwrap_or(STALL_LOOK)),
                },
                None => Submitted::Done,
            },
        }
    }

    /// Inline only: a job that had to wait. Given back if the disk does nothing now.
    pub fn submit_late(&self, requests: Vec<StoreRequest>) -> Submitted {
        match &self.0.mode {
            Mode::Thread { .. } => Submitted::Done,
            Mode::Inline { engine } => match lock(engine).as_mut() {
                Some(engine) => {
                    if engine.pace().is_none() {
                        return Submitted::Later(requests, STALL_LOOK);
                    }
                    engine.execute(requests);
                    Submitted::Done
                }
                None => Submitted::Done,
            },
        }
    }

    /// Inline only: whether a settle timer is wanted.
    pub fn inline_behind(&self) -> bool {
        match &self.0.mode {
            Mode::Thread { .. } => false,
            Mode::Inline { engine } => lock(engine).as_ref().is_some_and(|engine| engine.wants_settling()),
        }
    }

    /// Inline only: brings the anchor up to date, unless the disk does nothing.
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

    fn order(&self, orders: &Mutex<Sender<Order>>, order: Order) {
        if lock(orders).send(order).is_err() && !self.has_failed() {
            self.0.shared.fail(StoreFatal::Failed(Arc::new(StoreError::Failed)));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The one clock of the I/O thread, which no simulation sees: it only decides when the anchor is written.
#[expect(
    clippy::disallowed_methods,
    reason = "a real thread beside the paused runtime; simulation is inline"
)]
fn now() -> Instant {
    Instant::now()
}

fn run(mut engine: Engine, inbox: &Receiver<Order>, shared: &Shared) {
    let mut behind_since: Option<Instant> = None;
    let mut settled = now();
    loop {
        let wait = behind_since.map_or(SPACE_INTERVAL, |_| IDLE);
        match inbox.recv_timeout(wait) {
            Ok(Order::Attach { store_epoch, actor }) => {
                actor(Progress::Attached(store_epoch));
            }
            Ok(Order::Job { number, requests, actor }) => {
                engine.execute(requests);
                if !shared.has_failed() {
                    actor(Progress::Done(number));
                }
            }
            Err(RecvTimeoutError::Timeout) => {
                engine.settle();
                (behind_since, settled) = (None, now());
            }
            Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => {
                engine.settle();
                return;
            }
        }
        let lags = engine.is_behind()
            && now().duration_since(*behind_since.get_or_insert_with(now)) >= ANCHOR_LAG_MAX;
        // Also under jobs without a pause: space that is back is to be seen.
        if lags || now().duration_since(settled) >= SPACE_INTERVAL {
            engine.settle();
            (behind_since, settled) = (None, now());
        }
        if !engine.is_behind() {
            behind_since = None;
        }
    }
}
