//! The Listener: accepts connections and hands them to the Bridge.
//!
//! - Owns: its accepting task. The socket lives above it, so a restarted Listener never finds its own address in use.
//! - Hears: `TaskMessage`: the end of its task, which ends only with the Bridge.
//! - Asks: nothing.
//! - Never: reads from a connection; the handshake is the Session's.
//! - A crash loses nothing: connections wait in the socket's backlog. The Bridge restarts it.
//! - Bound: `sessions_max` permits; a connection without one is closed at once and logged.

use super::messages::BridgeMessage;
use crate::net::Acceptor;
use ractor::ActorRef;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until};

/// Pause after a failed accept (no file descriptors, say), so that the loop does not spin; twice as long after each further one.
const ACCEPT_PAUSE_MS: u64 = 50;
/// The longest pause.
const ACCEPT_PAUSE_MS_MAX: u64 = 1_000;
/// Who connects decides how often there is something to log: one line in this time says how often it was.
const SAID_EVERY_MS: u64 = 10_000;

/// Something that is logged now and then, however often it happens.
#[derive(Debug, Default)]
struct Said {
    at: Option<Instant>,
    times: u64,
}

impl Said {
    /// It happened once more; how often since it was logged, if it is to be logged now.
    fn again(&mut self) -> Option<u64> {
        self.times += 1;
        let now = Instant::now();
        if self.at.is_some_and(|at| now.duration_since(at) < Duration::from_millis(SAID_EVERY_MS)) {
            return None;
        }
        self.at = Some(now);
        Some(std::mem::take(&mut self.times))
    }
}

/// The Listener's task.
pub(crate) async fn accept_loop(
    acceptor: Arc<dyn Acceptor>,
    permits: Arc<Semaphore>,
    sessions_max: usize,
    bridge: ActorRef<BridgeMessage>,
) -> String {
    let (mut pause_ms, mut failed, mut full) = (ACCEPT_PAUSE_MS, Said::default(), Said::default());
    loop {
        match acceptor.accept().await {
            Ok(stream) => {
                pause_ms = ACCEPT_PAUSE_MS;
                let Ok(permit) = permits.clone().try_acquire_owned() else {
                    if let Some(times) = full.again() {
                        tracing::warn!(
                            address = %stream.address, sessions_max, times,
                            "connection closed: too many; look for clients that do not hang up"
                        );
                    }
                    continue;
                };
                if bridge.send_message(BridgeMessage::Accepted { stream, permit }).is_err() {
                    return "the bridge has ended".into();
                }
            }
            Err(error) => {
                if let Some(times) = failed.again() {
                    tracing::warn!(%error, times, "accept failed, retrying; check the limit of open files");
                }
                sleep_until(Instant::now() + Duration::from_millis(pause_ms)).await;
                pause_ms = ACCEPT_PAUSE_MS_MAX.min(2 * pause_ms);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_others_cause_is_logged_now_and_then_with_how_often_it_was() {
        let mut said = Said::default();
        assert_eq!((said.again(), said.again(), said.again()), (Some(1), None, None));
        tokio::time::advance(Duration::from_millis(SAID_EVERY_MS)).await;
        assert_eq!((said.again(), said.again()), (Some(3), None));
    }
}
