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
/// Strangers decide how often connections fail, so there is at most one line in this time; it carries the count.
const LOG_EVERY_MS: u64 = 10_000;

/// Limits how often an event is logged, however often it happens.
#[derive(Debug, Default)]
struct LogLimit {
    at: Option<Instant>,
    times: u64,
}

impl LogLimit {
    /// Counts the event. If a line is due: how often it happened since the last one.
    fn due(&mut self) -> Option<u64> {
        self.times += 1;
        let now = Instant::now();
        if self.at.is_some_and(|at| now.duration_since(at) < Duration::from_millis(LOG_EVERY_MS)) {
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
    let (mut pause_ms, mut failed, mut full) = (ACCEPT_PAUSE_MS, LogLimit::default(), LogLimit::default());
    loop {
        match acceptor.accept().await {
            Ok(stream) => {
                pause_ms = ACCEPT_PAUSE_MS;
                let Ok(permit) = permits.clone().try_acquire_owned() else {
                    if let Some(times) = full.due() {
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
                if let Some(times) = failed.due() {
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
    async fn an_event_is_logged_once_per_interval_with_its_count() {
        let mut limit = LogLimit::default();
        assert_eq!((limit.due(), limit.due(), limit.due()), (Some(1), None, None));
        tokio::time::advance(Duration::from_millis(LOG_EVERY_MS)).await;
        assert_eq!((limit.due(), limit.due()), (Some(3), None));
    }
}
