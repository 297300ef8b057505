//! The tokio runtime of one command. Where the system gives no thread, tokio panics, or waits without an end for one; so
//! that is tried first, and is a message.

use std::ffi::OsStr;
use std::io;
use std::num::NonZero;
use std::sync::Mutex;
use std::thread;

use tokio::runtime::Builder;

use super::exit::{Exit, Failure};

/// Tokio's own variable; it panics at a wrong value.
const WORKERS_VARIABLE: &str = "TOKIO_WORKER_THREADS";
/// More are a mistake: each has a stack.
const WORKERS_MAX: usize = 1024;
/// For what blocks, for example looking up a name.
const BLOCKING: usize = 1;

/// What to do where the system gives no thread.
pub(crate) const MORE_THREADS: &str =
    "raise the limit of threads (ulimit -u, or pids of the container) or of memory";

/// The threads of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Threads {
    /// The command's own.
    One,
    /// One for each core, or as `TOKIO_WORKER_THREADS` says.
    PerCore,
}

/// Runs a command to its end. Threads that still block, in a DNS lookup for example, are not waited for.
pub(crate) fn run(threads: Threads, work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let (mut builder, started) = match threads {
        Threads::One => (Builder::new_current_thread(), BLOCKING),
        Threads::PerCore => {
            let workers = workers(std::env::var_os(WORKERS_VARIABLE).as_deref())?;
            let mut builder = Builder::new_multi_thread();
            builder.worker_threads(workers);
            (builder, workers + BLOCKING)
        }
    };
    try_threads(started)
        .map_err(|error| cannot_start(&format!("the threads it needs ({started}): {error}")))?;
    let runtime =
        builder.enable_all().build().map_err(|error| Failure::failed(format!("cannot start: {error}")))?;
    let ended = runtime.block_on(work);
    runtime.shutdown_background();
    ended
}

/// That the system gives no thread.
pub(crate) fn cannot_start(what: &str) -> Failure {
    Failure::failed(format!("cannot start {what}; {MORE_THREADS}"))
}

/// How many threads run tasks.
fn workers(given: Option<&OsStr>) -> Result<usize, Failure> {
    let Some(given) = given else { return Ok(thread::available_parallelism().map_or(1, NonZero::get)) };
    let workers = given.to_str().and_then(|text| text.parse().ok());
    workers.filter(|workers| (1..=WORKERS_MAX).contains(workers)).ok_or_else(|| {
        let remedy = format!("give a number from 1 to {WORKERS_MAX}, or unset it");
        Failure::usage(format!("{WORKERS_VARIABLE} is {}: {remedy}", given.display()))
    })
}

/// Starts so many threads at once, and ends them.
fn try_threads(count: usize) -> io::Result<()> {
    let gate = Mutex::new(());
    thread::scope(|scope| {
        let closed = gate.lock();
        let wait = || drop(gate.lock());
        let started = (0..count).try_for_each(|_| thread::Builder::new().spawn_scoped(scope, wait).map(drop));
        drop(closed);
        started
    })
}

/// The same, but Ctrl-C ends it with an exit code of its own and this message.
pub(crate) fn run_until_interrupted(
    threads: Threads,
    work: impl Future<Output = Result<(), Failure>>,
    message: &str,
) -> Result<(), Failure> {
    run(threads, async {
        tokio::select! {
            ended = work => ended,
            Ok(()) = tokio::signal::ctrl_c() => Err(Failure::new(Exit::Interrupted, message)),
        }
    })
}

/// Runs a client command to its end, or until it is interrupted.
pub(crate) fn block_on(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let message = "interrupted; a write under way may have happened";
    run_until_interrupted(Threads::One, work, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_threads_is_one_or_its_mistake_is_named() {
        assert_eq!(workers(Some(OsStr::new("3"))), Ok(3));
        assert!(workers(None).is_ok_and(|workers| workers > 0));
        for wrong in ["", "0", "many", "-1", "1025"] {
            let failure = workers(Some(OsStr::new(wrong))).expect_err("refused");
            assert_eq!(failure.exit, Exit::Usage);
            assert!(failure.message.contains(WORKERS_VARIABLE), "{failure}");
        }
    }
}
