//! The Listener: accepts connections and hands them to the Bridge.
//!
//! - Owns: its accepting task, and which connections have not said yet who they are. The socket lives above it, so a restarted Listener never finds its own address in use.
//! - Hears: `TaskMessage`: the end of its task, which ends only with the Bridge.
//! - Asks: nothing.
//! - Never: reads from a connection; the handshake is the Session's.
//! - A crash loses nothing: connections wait in the socket's backlog. The Bridge restarts it.
//! - Bound: `handshakes_max` connections whose handshake is not over. A further one ends the oldest of them: who says
//!   nothing gives way to who comes, so that strangers cannot keep a member out.

use super::messages::BridgeMessage;
use crate::net::Acceptor;
use ractor::ActorRef;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
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
    handshakes_max: usize,
    bridge: ActorRef<BridgeMessage>,
) -> String {
    let (mut pause_ms, mut failed) = (ACCEPT_PAUSE_MS, LogLimit::default());
    let mut unknown = Unknown::new(handshakes_max);
    loop {
        match acceptor.accept().await {
            Ok(stream) => {
                pause_ms = ACCEPT_PAUSE_MS;
                let gives_way = unknown.admit();
                if bridge.send_message(BridgeMessage::Accepted { stream, gives_way }).is_err() {
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

/// Connections that have not said who they are, the oldest first. A Session drops its receiver when it knows.
struct Unknown {
    oldest_first: VecDeque<oneshot::Sender<()>>,
    max: usize,
}

impl Unknown {
    fn new(max: usize) -> Self {
        Self { oldest_first: VecDeque::new(), max }
    }

    /// A place for one more; what it returns resolves when that one has to give way.
    fn admit(&mut self) -> oneshot::Receiver<()> {
        if self.oldest_first.len() >= self.max {
            self.oldest_first.retain(|place| !place.is_closed());
        }
        if self.oldest_first.len() >= self.max {
            // Dropped: its Session hears that.
            self.oldest_first.pop_front();
        }
        let (place, gives_way) = oneshot::channel();
        self.oldest_first.push_back(place);
        gives_way
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_without_a_name_gives_way_and_who_has_one_stays() {
        let mut unknown = Unknown::new(2);
        let (mut first, second) = (unknown.admit(), unknown.admit());
        drop(second);
        let mut third = unknown.admit();
        assert!(matches!(first.try_recv(), Err(oneshot::error::TryRecvError::Empty)), "second was done");
        let mut fourth = unknown.admit();
        assert!(matches!(first.try_recv(), Err(oneshot::error::TryRecvError::Closed)), "the oldest");
        for stays in [&mut third, &mut fourth] {
            assert!(matches!(stays.try_recv(), Err(oneshot::error::TryRecvError::Empty)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_is_logged_once_per_interval_with_its_count() {
        let mut limit = LogLimit::default();
        assert_eq!((limit.due(), limit.due(), limit.due()), (Some(1), None, None));
        tokio::time::advance(Duration::from_millis(LOG_EVERY_MS)).await;
        assert_eq!((limit.due(), limit.due()), (Some(3), None));
    }
}
