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

/// Pause after a failed accept (no file descriptors, say), so that the loop does not spin.
const ACCEPT_PAUSE_MS: u64 = 50;

/// The Listener's task.
pub(crate) async fn accept_loop(
    acceptor: Arc<dyn Acceptor>,
    permits: Arc<Semaphore>,
    sessions_max: usize,
    bridge: ActorRef<BridgeMessage>,
) -> String {
    loop {
        match acceptor.accept().await {
            Ok(stream) => {
                let Ok(permit) = permits.clone().try_acquire_owned() else {
                    tracing::warn!(
                        address = %stream.address, sessions_max,
                        "connection closed: too many; raise sessions_max or look for clients that do not hang up"
                    );
                    continue;
                };
                if bridge.send_message(BridgeMessage::Accepted { stream, permit }).is_err() {
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
