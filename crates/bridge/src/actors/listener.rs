//! The Listener: accepts connections and hands them to the Bridge.
//!
//! - Owns: its accepting task. The socket lives above it, so a restarted Listener never finds its own address in use.
//! - Hears: [`ListenerMessage`].
//! - Asks: nothing.
//! - Never: reads from a connection; the handshake is the Session's.
//! - A crash loses nothing: connections wait in the socket's backlog. The Bridge restarts it.
//! - Bound: `sessions_max` permits; a connection without one is closed at once and logged.

use super::messages::{BridgeMessage, ListenerMessage};
use crate::connection::Acceptor;
use crate::task::OwnedTask;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until};

/// Pause after a failed accept (no file descriptors, say), so that the loop does not spin.
const ACCEPT_PAUSE_MS: u64 = 50;

pub(crate) struct Listener;

pub(crate) struct Arguments {
    pub(crate) acceptor: Arc<dyn Acceptor>,
    pub(crate) permits: Arc<Semaphore>,
    pub(crate) sessions_max: usize,
    pub(crate) bridge: ActorRef<BridgeMessage>,
}

impl Actor for Listener {
    type Msg = ListenerMessage;
    type State = OwnedTask;
    type Arguments = Arguments;

    async fn pre_start(
        &self,
        myself: ActorRef<ListenerMessage>,
        arguments: Arguments,
    ) -> Result<OwnedTask, ActorProcessingErr> {
        let lost = || ListenerMessage::TaskLost;
        Ok(OwnedTask::spawn_reporting(myself, accept_loop(arguments), |()| ListenerMessage::TaskLost, lost))
    }

    async fn handle(
        &self,
        _myself: ActorRef<ListenerMessage>,
        message: ListenerMessage,
        _state: &mut OwnedTask,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ListenerMessage::Panic => panic!("told to panic"),
            ListenerMessage::TaskLost => Err("the accepting task panicked".into()),
        }
    }
}

async fn accept_loop(arguments: Arguments) {
    let Arguments { acceptor, permits, sessions_max, bridge } = arguments;
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
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "accept failed, retrying; check the limit of open files");
                sleep_until(Instant::now() + Duration::from_millis(ACCEPT_PAUSE_MS)).await;
            }
        }
    }
}
