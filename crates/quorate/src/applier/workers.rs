//! Where appliers run: on a few threads of the node's own, so that a machine that computes or waits holds one of them and
//! nothing else: heartbeats, votes, acknowledgements and other groups go on (`docs/decisions/0025-apply-threads.md`).
//!
//! Owned by the node's thread, above all actors. Bound: the number of threads; what waits for one waits in its mailbox.

use std::future::poll_fn;
use std::io;
use std::pin::pin;

use tokio::runtime::{Builder, Handle, Runtime};

/// Threads that are started if the setting names no number: so many, or one for each core if these are fewer.
const THREADS: usize = 4;

/// With one thread, one slow machine would hold all of them.
const THREADS_LEAST: usize = 2;

/// The runtime on which a node's appliers run.
pub(crate) struct WorkerThreads(Runtime);

impl WorkerThreads {
    /// `threads` is the setting: zero leaves the number to this.
    pub(crate) fn start(node: &str, threads: usize) -> io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = if threads == 0 { cores.clamp(THREADS_LEAST, THREADS) } else { threads };
        let name = format!("{node}/apply");
        Builder::new_multi_thread().worker_threads(threads).thread_name(name).build().map(Self)
    }

    pub(crate) fn workers(&self) -> Workers {
        Workers::Own(self.0.handle().clone())
    }

    /// Does not wait for a machine that does not return: its node has ended, and nothing it answers is heard.
    pub(crate) fn end(self) {
        self.0.shutdown_background();
    }
}

/// Where a group's applier is started.
#[derive(Debug, Clone)]
pub(crate) enum Workers {
    /// On threads of the node's own.
    Own(Handle),
    /// On the runtime of the node's other actors: a simulation is one thread.
    Caller,
}

impl Workers {
    /// Starts an actor so that what it spawns, its own task above all, runs here. The start itself is carried out by the
    /// caller: it must not wait for a thread, for machines may hold all of them.
    pub(crate) async fn start<T>(&self, start: impl Future<Output = T>) -> T {
        let mut start = pin!(start);
        match self {
            Self::Own(handle) => {
                poll_fn(|cx| {
                    let _entered = handle.enter();
                    start.as_mut().poll(cx)
                })
                .await
            }
            Self::Caller => start.await,
        }
    }
}
