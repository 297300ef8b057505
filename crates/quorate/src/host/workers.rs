//! Where state machines run: on a few threads of the node's own, so that a machine that computes or waits holds one of them
//! and nothing else: heartbeats, votes, acknowledgements and other groups go on (`docs/decisions/0025-apply-threads.md`).
//!
//! Owned by the node's thread, above all actors. An applier has at most one job here, so what waits is at most one job for
//! each group, taken in order. One thread is woken for a job and one for its result: with a runtime of several threads each
//! would wake another one to look for more, and that costs more than most commands. Bound: the number of threads.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::lock::lock;
use crate::machine::caught;

/// Threads that are started if the setting names no number: so many, or one for each core if these are fewer.
const THREADS: usize = 4;

/// With one thread, one slow machine would hold all of them.
const THREADS_LEAST: usize = 2;

/// What a state machine is lent for: a batch of entries, queries, or its being restored.
pub type MachineJob = Box<dyn FnOnce() + Send>;

/// Runs the jobs of state machines in place of a node's threads: for simulation, where a machine takes simulated time.
pub trait MachineThreads: Send + Sync {
    /// Begins this job of the machine of a group, now or later, and does not wait for it. A group has one job at a time. A job
    /// that is dropped tells its caller that the node has ended.
    fn run(&self, group: &str, job: MachineJob);
}

/// Waiting jobs and idle threads.
struct Queue {
    state: Mutex<State>,
    /// One for each thread: the one that is woken is chosen.
    wakes: Vec<Condvar>,
}

struct State {
    /// Only while no thread is idle.
    jobs: VecDeque<MachineJob>,
    /// For each thread the job it is woken for.
    given: Vec<Option<MachineJob>>,
    /// The last one became idle last, and is taken first: a machine that runs alone stays on one thread, whose caches and
    /// memory know it.
    idle: Vec<usize>,
    ended: bool,
}

impl Queue {
    fn new(threads: usize) -> Self {
        let given = (0..threads).map(|_| None).collect();
        let state = State { jobs: VecDeque::new(), given, idle: Vec::new(), ended: false };
        Self { state: Mutex::new(state), wakes: (0..threads).map(|_| Condvar::new()).collect() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// The next job for this thread; `None` once the node has ended.
    fn next(&self, thread: usize) -> Option<MachineJob> {
        let mut state = self.lock();
        if state.ended {
            return None;
        }
        if let Some(job) = state.jobs.pop_front() {
            return Some(job);
        }
        state.idle.push(thread);
        let waits = |state: &mut State| state.given[thread].is_none() && !state.ended;
        let waited = self.wakes[thread].wait_while(state, waits);
        waited.unwrap_or_else(PoisonError::into_inner).given[thread].take()
    }

    fn push(&self, job: MachineJob) {
        let mut state = self.lock();
        if state.ended {
            // Its caller is told by its being dropped.
            return;
        }
        let Some(thread) = state.idle.pop() else { return state.jobs.push_back(job) };
        state.given[thread] = Some(job);
        drop(state);
        self.wakes[thread].notify_one();
    }

    fn end(&self) {
        // What waits is dropped outside the lock: it is the application's.
        let mut state = self.lock();
        state.ended = true;
        let rest = std::mem::take(&mut state.jobs);
        drop(state);
        self.wakes.iter().for_each(Condvar::notify_one);
        drop(rest);
    }
}

/// The threads on which a node's state machines run.
pub(crate) struct WorkerThreads(Arc<Queue>);

impl WorkerThreads {
    /// For state machines. `threads` is the setting: zero leaves the number to this.
    pub(crate) fn for_machines(node: &str, threads: usize) -> io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = if threads == 0 { cores.clamp(THREADS_LEAST, THREADS) } else { threads };
        Self::start(node, "apply", threads)
    }

    /// For the files of snapshots: one that is written for long does not keep peers from theirs.
    pub(crate) fn for_snapshots(node: &str) -> io::Result<Self> {
        Self::start(node, "snapshot", 2)
    }

    fn start(node: &str, what: &str, threads: usize) -> io::Result<Self> {
        let queue = Arc::new(Queue::new(threads));
        let started = Self(queue.clone());
        for at in 0..threads {
            let queue = queue.clone();
            let work = move || {
                while let Some(job) = queue.next(at) {
                    job();
                }
            };
            // Those that were started end with `started`.
            std::thread::Builder::new().name(format!("{node}/{what}-{at}")).spawn(work)?;
        }
        Ok(started)
    }

    pub(crate) fn workers(&self) -> Workers {
        Workers::Own(Threads(self.0.clone()))
    }
}

/// Does not wait for a machine that does not return: its node has ended, and nothing it answers is heard.
impl Drop for WorkerThreads {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Where a group's machine runs.
#[derive(Clone)]
pub(crate) enum Workers {
    /// On threads of the node's own.
    Own(Threads),
    /// Where the builder was told to, under the name of the group.
    Given(Arc<dyn MachineThreads>, Arc<str>),
    /// On the thread of the node's actors: a simulation is one thread.
    Caller,
}

#[derive(Clone)]
pub(crate) struct Threads(Arc<Queue>);

impl Workers {
    /// The same, for the machine of this group.
    pub(crate) fn of_group(&self, group: &str) -> Self {
        match self {
            Self::Given(threads, _) => Self::Given(threads.clone(), group.into()),
            Self::Own(_) | Self::Caller => self.clone(),
        }
    }

    /// Runs a job and gives what it returned; `Err` is the message of its panic, or says that the node has ended. A job that
    /// is no longer waited for runs to its end.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, String> {
        let (done, result) = oneshot::channel();
        let job: MachineJob = Box::new(move || {
            let result = caught(job);
            // It is dropped here if no one waits for it any more, and a machine's destructor may panic.
            drop(caught(move || drop(done.send(result))));
        });
        match self {
            Self::Own(Threads(queue)) => queue.push(job),
            Self::Given(threads, group) => threads.run(group, job),
            Self::Caller => job(),
        }
        result.await.unwrap_or_else(|_| Err("the node has ended".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With two threads, a job that waits holds one; others are done, and one that panics costs nothing else.
    #[tokio::test]
    async fn a_job_that_waits_holds_one_thread_and_a_panic_ends_none() {
        let threads = WorkerThreads::for_machines("node", 2).expect("they start");
        let workers = threads.workers();
        let (open, waits) = std::sync::mpsc::channel::<()>();
        let slow = workers.run(move || waits.recv().is_ok());
        let mut slow = std::pin::pin!(slow);
        let first = std::future::poll_fn(|cx| std::task::Poll::Ready(slow.as_mut().poll(cx).is_pending()));
        assert!(first.await, "it waits");
        for at in 0..100 {
            assert_eq!(workers.run(move || at).await, Ok(at));
            let panicked: Result<(), _> = workers.run(|| panic!("as told")).await;
            assert_eq!(panicked, Err("as told".to_owned()));
        }
        open.send(()).expect("it waits for it");
        assert_eq!(slow.await, Ok(true));
        drop(threads);
        assert!(workers.run(|| ()).await.is_err(), "no thread is left");
    }

    struct Panics;

    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("in the destructor of a machine");
        }
    }

    /// An applier was killed while its machine was in a job: what the job returns is dropped on the worker thread.
    #[tokio::test]
    async fn a_result_that_no_one_waits_for_ends_no_thread() {
        let threads = WorkerThreads::for_machines("node", 2).expect("they start");
        let workers = threads.workers();
        for _ in 0..4 {
            let (open, waits) = std::sync::mpsc::channel::<()>();
            let mut given_up = Box::pin(workers.run(move || {
                let _ = waits.recv();
                Panics
            }));
            let first =
                std::future::poll_fn(|cx| std::task::Poll::Ready(given_up.as_mut().poll(cx).is_pending()));
            assert!(first.await, "it waits");
            drop((given_up, open));
        }
        assert_eq!(workers.run(|| 7).await, Ok(7), "every thread is still there");
    }
}
