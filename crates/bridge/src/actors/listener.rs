//! The Listener: accepts connections and hands them to the Bridge.
//!
//! - Owns: its accepting task. The socket belongs to `Core`, so its restart never meets "address in use".
//! - Hears: [`ListenerMessage`].
//! - Never: reads from a connection; the handshake is the Session's.
//! - A crash loses nothing: connections wait in the socket's backlog. The Bridge starts it again.
//! - Bound: `sessions_max` permits; without one a connection is closed at once and logged.

use super::bridge::{BridgeMessage, Inlet};
use crate::core::Core;
use crate::net::Acceptor;
use crate::task::OwnedTask;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// After a failed accept (no file descriptors, say) a pause, or the loop would burn the CPU.
const ACCEPT_PAUSE_MS: u64 = 50;

pub(crate) struct Listener;

pub(crate) struct Arguments {
    pub(crate) core: Arc<Core>,
    pub(crate) acceptor: Arc<dyn Acceptor>,
    pub(crate) bridge: ActorRef<BridgeMessage>,
}

/// What the Listener hears.
pub(crate) enum ListenerMessage {
    /// From its task, which never ends by itself: it panicked.
    TaskLost,
    /// From [`panic_in`](super::panic_in): panic, as a bug would.
    Panic,
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
        Ok(OwnedTask::spawn_telling(myself, accept_loop(arguments), |()| ListenerMessage::TaskLost, lost))
    }

    async fn handle(
        &self,
        _myself: ActorRef<ListenerMessage>,
        message: ListenerMessage,
        _state: &mut OwnedTask,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ListenerMessage::Panic => panic!("told to panic"),
            ListenerMessage::TaskLost => Err("the accepting task died".into()),
        }
    }
}

async fn accept_loop(arguments: Arguments) {
    let Arguments { core, acceptor, bridge } = arguments;
    loop {
        match acceptor.accept().await {
            Ok(connection) => {
                let Ok(permit) = core.permits.clone().try_acquire_owned() else {
                    tracing::warn!(
                        address = %connection.address, sessions_max = core.options.sessions_max,
                        "connection closed: too many; raise sessions_max or look for clients that do not hang up"
                    );
                    continue;
                };
                if bridge.send_message(BridgeMessage::Accepted(Inlet { connection, permit })).is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "accept failed, trying again; check the limit of open files");
                sleep_until(Instant::now() + Duration::from_millis(ACCEPT_PAUSE_MS)).await;
            }
        }
    }
}
