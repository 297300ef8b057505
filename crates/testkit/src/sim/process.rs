//! A node's process: a runtime of its own, which the driver gives time, step by step, or none while it is paused.
//!
//! turmoil gives every host its time in every step. So the node is not a task of turmoil's host, which has the sockets
//! ([`kernel`](super::kernel)), but of a runtime beside it: a process that is paused misses steps, and nothing of it runs,
//! while connections stay open and bytes arrive, as after SIGSTOP. When it goes on, its clock has gone on, or has stood
//! still with it. Everything is on one thread, in a fixed order.

use std::future::Future;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::task::LocalSet;

/// What of a process ends with it. Dropped between two steps, in the order of the fields: actors before what scripts do.
pub(super) struct Process {
    runtime: Runtime,
    local: LocalSet,
    is_new: bool,
}

impl Process {
    /// A process that does this once it is given time.
    pub(super) fn new(main: impl Future<Output = ()> + 'static) -> Self {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
        let local = LocalSet::new();
        drop(local.spawn_local(main));
        Self {
            runtime: runtime.expect("a runtime without I/O asks nothing of the system"),
            local,
            is_new: true,
        }
    }

    /// The process runs for this long, after its clock jumped ahead by `jump`.
    pub(super) fn run(&mut self, span: Duration, jump: Duration) {
        let is_new = std::mem::take(&mut self.is_new);
        self.runtime.block_on(self.local.run_until(pass(span, jump, is_new)));
    }
}

#[expect(clippy::disallowed_methods, reason = "simulated time: no real time passes")]
async fn pass(span: Duration, jump: Duration, is_new: bool) {
    if is_new {
        // Timers are rounded to milliseconds: the clock begins at a whole one.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    if !jump.is_zero() {
        tokio::time::advance(jump).await;
    }
    tokio::time::sleep(span).await;
}
