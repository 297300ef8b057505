//! A task with an owner: it is aborted when the owner's state is dropped, and the owner is told when it ends, even by
//! a panic.

use ractor::{ActorRef, Message};
use std::future::Future;
use tokio::task::JoinHandle;

/// Aborts the task on drop. Kept in the owning actor's state, or in the task that owns this one.
pub(crate) struct OwnedTask(Option<JoinHandle<()>>);

impl OwnedTask {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that spawns: every task here is owned and aborted on drop"
    )]
    pub(crate) fn spawn(work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(Some(tokio::spawn(work)))
    }

    /// Aborts the task and waits until what it held is dropped.
    pub(crate) async fn end(mut self) {
        if let Some(task) = self.0.take() {
            task.abort();
            let _ = task.await;
        }
    }

    /// Runs `work` and casts `done` of its result to `owner`; casts `lost` instead if the task panics or is aborted.
    pub(crate) fn spawn_reporting<M: Message, T: Send + 'static>(
        owner: ActorRef<M>,
        work: impl Future<Output = T> + Send + 'static,
        done: impl FnOnce(T) -> M + Send + 'static,
        lost: impl FnOnce() -> M + Send + 'static,
    ) -> Self {
        Self::spawn(async move {
            let mut report = ReportLost { owner, lost: Some(lost) };
            let result = work.await;
            report.lost = None;
            // A dead owner has no use for the result.
            let _ = report.owner.send_message(done(result));
        })
    }
}

impl Drop for OwnedTask {
    fn drop(&mut self) {
        if let Some(task) = self.0.take() {
            task.abort();
        }
    }
}

struct ReportLost<M: Message, L: FnOnce() -> M> {
    owner: ActorRef<M>,
    lost: Option<L>,
}

impl<M: Message, L: FnOnce() -> M> Drop for ReportLost<M, L> {
    fn drop(&mut self) {
        if let Some(lost) = self.lost.take() {
            let _ = self.owner.send_message(lost());
        }
    }
}
