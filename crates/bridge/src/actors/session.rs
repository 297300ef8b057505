//! A Session: one inbound connection, from handshake to end.
//!
//! - Owns: the connection's tasks, and its place among `sessions_max`.
//! - Hears: [`SessionMessage`] from its task.
//! - Asks: admission, in its task.
//! - Never: answers for an exposed actor; messages go from the reading task straight to the actors, batched.
//! - A crash loses the connection. Nobody restarts it: the peer's Link connects anew and gets another Session.
//! - Bound: `calls_inbound_max` calls, `monitors_max` names, two messages in fragments, the send queue's bytes.

use super::bridge::Inlet;
use crate::core::Core;
use crate::handshake;
use crate::task::OwnedTask;
use crate::wire::{Side, Wire, serve};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::sync::Arc;

pub(crate) struct Session;

pub(crate) struct Arguments {
    pub(crate) core: Arc<Core>,
    pub(crate) inlet: Inlet,
}

/// What a Session hears.
pub(crate) enum SessionMessage {
    /// From its task: the connection is over, and why.
    Ended { reason: String },
    /// Its task panicked.
    TaskLost,
    /// From [`panic_in`](super::panic_in): panic, as a bug would.
    Panic,
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
        Ok(OwnedTask::spawn_telling(myself, run(arguments), done, || SessionMessage::TaskLost))
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
            SessionMessage::TaskLost => Err("the task of the connection died".into()),
        }
    }
}

/// Takes the wire out of the table of sessions when the task ends, by abort too.
struct SessionUp {
    core: Arc<Core>,
    wire: Arc<Wire>,
}

impl Drop for SessionUp {
    fn drop(&mut self) {
        self.core.session_down(&self.wire);
    }
}

async fn run(arguments: Arguments) -> String {
    let Arguments { core, inlet: Inlet { mut connection, permit: _permit } } = arguments;
    let address = connection.address.clone();
    let admitted = match handshake::accept(&core, &mut connection).await {
        Ok(admitted) => admitted,
        Err(error) => {
            core.handshake_failed(&address, &error);
            return error.to_string();
        }
    };
    let wire = Wire::new(admitted.peer, &core.options, core.inbound.clone());
    core.session_up(&wire);
    let _up = SessionUp { core: core.clone(), wire: wire.clone() };
    tracing::info!(node = %wire.peer.node, kind = ?wire.peer.kind, %address, "inbound connection up");
    let reason = serve(core, wire.clone(), connection, admitted.buffer, Side::Acceptor).await;
    tracing::info!(node = %wire.peer.node, %address, %reason, "inbound connection ended");
    reason
}
