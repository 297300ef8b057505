//! SIGTERM and Ctrl-C: the first ends in order, the second at once.

use std::io;

use crate::serve::Ended;

/// Listens from its making on.
#[derive(Debug)]
pub(crate) struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    #[cfg(unix)]
    pub(crate) fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    #[cfg(not(unix))]
    #[expect(clippy::unnecessary_wraps, reason = "it may fail elsewhere")]
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {})
    }

    /// The next one.
    #[cfg(unix)]
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// The next one.
    #[cfg(not(unix))]
    pub(crate) async fn next(&mut self) {
        drop(tokio::signal::ctrl_c().await);
    }
}

/// Waits for the end of what runs, or for a signal, upon which it is told to end in order; a second one does not wait.
pub(crate) async fn until_signal(
    ended: impl Future<Output = Ended>,
    shutdown: impl Future<Output = ()>,
    again: impl Future<Output = Ended>,
) -> Ended {
    let mut signals = Signals::listen().expect("a process may listen for its signals");
    tokio::select! {
        ended = ended => return ended,
        () = signals.next() => {}
    }
    tracing::info!("told to end; a second signal ends at once");
    let in_order = async {
        shutdown.await;
        again.await
    };
    tokio::select! {
        ended = in_order => ended,
        () = signals.next() => Ended::Forced,
    }
}
