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

/// Pause after a failed accept (no file descriptors, say), so that the loop does not spin.
const ACCEPT_PAUSE_MS: u64 = 50;

/// The Listener's task.
pub(crate) async fn accept_loop(
    acceptor: Arc<dyn Acceptor>,
    handshakes_max: usize,
    bridge: ActorRef<BridgeMessage>,
) -> String {
    let mut unknown = Unknown::new(handshakes_max);
    loop {
        match acceptor.accept().await {
            Ok(stream) => {
                let gives_way = unknown.admit();
                if bridge.send_message(BridgeMessage::Accepted { stream, gives_way }).is_err() {
                    return "the bridge has ended".into();
                }
            }
            Err(error) => {
                tracing::warn!(%error, "accept failed, retrying; check the limit of open files");
                sleep_until(Instant::now() + Duration::from_millis(ACCEPT_PAUSE_MS)).await;
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
}
