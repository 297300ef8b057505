//! SIGTERM and Ctrl-C: the first ends in order, the second at once.

use quorate::NodeFailure;

use super::error::ServeError;

/// How a served node ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// By request, in order.
    Stopped,
    /// By itself, without a failure that it could name: its own task was lost.
    Unasked,
    /// By a second request, without waiting.
    Forced,
    /// By a failure of its own.
    Failed(NodeFailure),
}

/// The signals that end a process, received since this was made.
#[derive(Debug)]
pub(crate) struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    #[cfg(unix)]
    pub(crate) fn listen() -> Result<Self, ServeError> {
        use tokio::signal::unix::{SignalKind, signal};
        let listen = |kind| signal(kind).map_err(|source| ServeError::Signals { source });
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    #[cfg(not(unix))]
    #[expect(clippy::unnecessary_wraps, reason = "it may fail elsewhere")]
    pub(crate) fn listen() -> Result<Self, ServeError> {
        Ok(Self {})
    }

    /// Waits for the next signal.
    #[cfg(unix)]
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Waits for the next signal.
    #[cfg(not(unix))]
    pub(crate) async fn next(&mut self) {
        drop(tokio::signal::ctrl_c().await);
    }
}

/// Waits for `ended`. A signal runs `shutdown` and then waits for `again`; a second signal ends both waits at once.
pub(crate) async fn until_signal(
    mut signals: Signals,
    ended: impl Future<Output = Ended>,
    shutdown: impl Future<Output = ()>,
    again: impl Future<Output = Ended>,
) -> Ended {
    tokio::select! {
        ended = ended => return ended,
        () = signals.next() => {}
    }
    tracing::info!("ending after a signal; a second one ends at once");
    let in_order = async {
        shutdown.await;
        again.await
    };
    tokio::select! {
        ended = in_order => ended,
        () = signals.next() => Ended::Forced,
    }
}
