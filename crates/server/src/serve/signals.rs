//! SIGTERM, SIGHUP and Ctrl-C: the first ends in order, a second SIGTERM or Ctrl-C at once.
//!
//! One that comes within 200 ms is no second order but part of the first: `timeout` and some supervisors signal their child and then
//! its process group.
//!
//! SIGHUP comes when a terminal goes away, often twice: from the system and from the shell. So a second one means no more than the
//! first. A node reads no settings again, so there is nothing else that it could mean; where the
//! process was started with it ignored (`nohup`), it stays ignored.
//!
//! They are listened for before the start: a first process of a container (PID 1) is not ended by a signal that it does not listen for.

use std::pin::pin;
use std::time::Duration;

use quorate::NodeFailure;

use tokio::time::Instant;

use super::error::ServeError;

/// A signal that comes so soon after the first is part of it.
const SAME_ORDER: Duration = Duration::from_millis(200);

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

/// What a signal means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Received {
    /// To end.
    Order,
    /// The terminal is gone.
    HangUp,
}

/// The signals that end a process, received since this was made.
#[derive(Debug)]
pub struct Signals {
    /// When the first one came.
    first: Option<Instant>,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    /// Unless it is ignored.
    #[cfg(unix)]
    hang_up: Option<tokio::signal::unix::Signal>,
}

impl Signals {
    /// Listens from now on, in a runtime of tokio. A write beyond the limit of file sizes is an error from now on, and no signal that
    /// ends the process without a word (SIGXFSZ).
    #[cfg(unix)]
    pub fn listen() -> Result<Self, ServeError> {
        use tokio::signal::unix::{SignalKind, signal};
        let listen = |kind| signal(kind).map_err(|source| ServeError::Signals { source });
        let hang_up = SignalKind::hangup();
        warn_of_blocked();
        // No one waits for it: that it is handled is enough.
        drop(listen(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?);
        Ok(Self {
            first: None,
            // Before it listens: that would end the ignoring.
            hang_up: (!is_ignored(hang_up.as_raw_value())).then(|| listen(hang_up)).transpose()?,
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    /// Listens from now on, in a runtime of tokio.
    #[cfg(not(unix))]
    #[expect(clippy::unnecessary_wraps, reason = "it may fail elsewhere")]
    pub fn listen() -> Result<Self, ServeError> {
        Ok(Self { first: None })
    }

    /// Waits for a start. A signal meanwhile lets it come to its end, since a disk is not left in the middle of a write without need;
    /// what was started is then told to end by [`Running::until`](super::Running::until). A second one is the error: it waits for nothing.
    pub async fn during<T>(&mut self, start: impl Future<Output = T>) -> Result<T, Ended> {
        let mut start = pin!(start);
        tokio::select! {
            started = &mut start => return Ok(started),
            () = self.first() => {}
        }
        tracing::info!(
            "ending after a signal, once the start is through; a second SIGTERM or Ctrl-C ends at once"
        );
        tokio::select! {
            started = start => Ok(started),
            () = self.second_order() => Err(Ended::Forced),
        }
    }

    async fn first(&mut self) {
        self.next().await;
        self.first = Some(Instant::now());
    }

    /// Waits for a second order: no hang-up, and no part of the first.
    async fn second_order(&mut self) {
        while self.next().await == Received::HangUp
            || self.first.is_some_and(|first| first.elapsed() < SAME_ORDER)
        {}
    }

    /// Waits for the next signal.
    #[cfg(unix)]
    async fn next(&mut self) -> Received {
        let hang_up = async {
            match &mut self.hang_up {
                Some(signal) => drop(signal.recv().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => Received::Order,
            _ = self.interrupt.recv() => Received::Order,
            () = hang_up => Received::HangUp,
        }
    }

    /// Waits for the next signal.
    #[cfg(not(unix))]
    async fn next(&mut self) -> Received {
        drop(tokio::signal::ctrl_c().await);
        Received::Order
    }
}

/// A signal that the parent process had blocked stays blocked, and to unblock it takes code that is not safe.
#[cfg(unix)]
fn warn_of_blocked() {
    use rustix::process::Signal;
    for (name, signal) in [("SIGTERM", Signal::TERM), ("SIGINT", Signal::INT)] {
        if is_in("SigBlk:", signal.as_raw()) {
            tracing::warn!(
                "{name} is blocked by what started this process, and never arrives: unblock it there"
            );
        }
    }
}

/// Whether this process ignores a signal, as the system says; where it does not say so, the answer is no.
#[cfg(unix)]
fn is_ignored(signal: std::ffi::c_int) -> bool {
    is_in("SigIgn:", signal)
}

#[cfg(unix)]
fn is_in(mask: &str, signal: std::ffi::c_int) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    is_in_mask(&status, mask, signal)
}

/// The line is a mask in hexadecimal digits; signal 1 is its lowest bit.
#[cfg(unix)]
fn is_in_mask(status: &str, mask: &str, signal: std::ffi::c_int) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix(mask));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    mask.checked_shr((signal - 1).unsigned_abs()).is_some_and(|rest| rest & 1 == 1)
}

/// Waits for `ended`. A signal, also one that came during the start, runs `shutdown` and then waits for `again`; a second one ends both waits at once, unless it is a
/// hang-up.
pub(crate) async fn until_signal(
    mut signals: Signals,
    ended: impl Future<Output = Ended>,
    shutdown: impl Future<Output = ()>,
    again: impl Future<Output = Ended>,
) -> Ended {
    if signals.first.is_none() {
        tokio::select! {
            ended = ended => return ended,
            () = signals.first() => {}
        }
        tracing::info!("ending after a signal; a second SIGTERM or Ctrl-C ends at once");
    }
    let in_order = async {
        shutdown.await;
        again.await
    };
    tokio::select! {
        ended = in_order => ended,
        () = signals.second_order() => Ended::Forced,
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn an_ignored_or_blocked_signal_is_read_from_its_mask() {
        let status = "Name:\tquorate\nSigBlk:\t0000000000000001\nSigIgn:\t0000000000001001\n";
        let is_ignored = |signal| is_in_mask(status, "SigIgn:", signal);
        assert!(is_ignored(1) && is_ignored(13) && !is_ignored(15));
        assert!(is_in_mask(status, "SigBlk:", 1) && !is_in_mask(status, "SigBlk:", 13));
        assert!(!is_in_mask("", "SigIgn:", 1));
    }
}
