//! A Session: one inbound connection, from handshake to end.
//!
//! - Owns: the connection's tasks, and its place among `sessions_max`.
//! - Hears: [`SessionMessage`] from its task.
//! - Asks: admission, in its task.
//! - Never: answers for an exposed actor; messages go from the reading task straight to the actors, batched.
//! - A crash loses the connection. It is not restarted: the peer's Link reconnects and gets another Session.
//! - Bound: `calls_inbound_max` calls, `monitors_max` names, two incomplete messages, the send queue's bytes.

use super::messages::SessionMessage;
use crate::connection::{Admitted, Connection, Handshake, InboundConnections, Limits, Stream};
use crate::endpoint::{Exposures, serve_inbound};
use crate::task::OwnedTask;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

pub(crate) struct Session;

pub(crate) struct Arguments {
    pub(crate) stream: Stream,
    pub(crate) permit: OwnedSemaphorePermit,
    pub(crate) limits: Limits,
    pub(crate) handshake: Arc<Handshake>,
    pub(crate) inbound: Arc<InboundConnections>,
    pub(crate) exposures: Arc<Exposures>,
}

impl Actor for Session {
    type Msg = SessionMessage;
    type State = OwnedTask;
    type Arguments = Arguments;

    async fn pre_start(
        &self,
        myself: ActorRef<SessionMessage>,
        arguments: Arguments,
    ) -> Result<OwnedTask, ActorProcessingErr> {
        let done = |reason| SessionMessage::Ended { reason };
        Ok(OwnedTask::spawn_reporting(myself, run(arguments), done, || SessionMessage::TaskLost))
    }

    async fn handle(
        &self,
        myself: ActorRef<SessionMessage>,
        message: SessionMessage,
        _state: &mut OwnedTask,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            SessionMessage::Ended { reason } => {
                myself.stop(Some(reason));
                Ok(())
            }
            SessionMessage::Panic => panic!("told to panic"),
            SessionMessage::TaskLost => Err("the task of the connection panicked".into()),
        }
    }
}

/// One connection from handshake to end; returns the reason.
async fn run(arguments: Arguments) -> String {
    let Arguments { mut stream, permit: _permit, limits, handshake, inbound, exposures } = arguments;
    let address = stream.address.clone();
    let Admitted { peer, buffer } = match handshake.accept(&mut stream).await {
        Ok(admitted) => admitted,
        Err(error) => {
            inbound.handshake_failed(&address, &error);
            return error.to_string();
        }
    };
    let connection = Connection::new(peer, limits, inbound.counters.clone());
    let _entered = inbound.enter(&connection);
    let peer = connection.peer.clone();
    tracing::info!(node = %peer.node, kind = ?peer.kind, %address, "inbound connection up");
    let reason = serve_inbound(exposures, connection, stream, buffer).await;
    tracing::info!(node = %peer.node, %address, %reason, "inbound connection ended");
    reason
}
