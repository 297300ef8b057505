//! A task that belongs to an actor: it ends when its owner's state is dropped, and its owner is told when it ends,
//! by panic too.

use ractor::{ActorRef, Message};
use std::future::Future;
use tokio::task::JoinHandle;

/// Aborts the task on drop; kept in the owning actor's state (or in the task that owns this one).
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

    /// Lets the task run to its end, which must be bounded by itself.
    pub(crate) fn detach(mut self) {
        self.0.take();
    }

    /// Runs `work` and casts its result to `owner`; `lost` is cast instead if the task panics or is aborted.
    pub(crate) fn spawn_telling<M: Message, T: Send + 'static>(
        owner: ActorRef<M>,
        work: impl Future<Output = T> + Send + 'static,
        done: impl FnOnce(T) -> M + Send + 'static,
        lost: impl FnOnce() -> M + Send + 'static,
    ) -> Self {
        Self::spawn(async move {
            let mut tell = Tell { owner, lost: Some(lost) };
            let result = work.await;
            tell.lost = None;
            // A dead owner has no use for the result.
            let _ = tell.owner.send_message(done(result));
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

struct Tell<M: Message, L: FnOnce() -> M> {
    owner: ActorRef<M>,
    lost: Option<L>,
}

impl<M: Message, L: FnOnce() -> M> Drop for Tell<M, L> {
    fn drop(&mut self) {
        if let Some(lost) = self.lost.take() {
            let _ = self.owner.send_message(lost());
        }
    }
}
