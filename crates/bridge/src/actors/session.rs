//! A Session: one inbound connection, from handshake to end.
//!
//! - Owns: the connection's tasks, and its place among the connections of its kind.
//! - Hears: `TaskMessage`: the end of its task.
//! - Asks: admission, in its task; tells the Bridge of a peer that is not connected from here.
//! - Never: answers for an exposed actor; messages go from the reading task straight to the actors, batched.
//! - A crash loses the connection. It is not restarted: the peer's Link reconnects and gets another Session.
//! - Bound: `calls_inbound_max` calls, `monitors_max` names, two incomplete messages, the send queue's bytes.

use super::messages::BridgeMessage;
use crate::connection::{Admitted, Connection, Handshake, InboundConnections, say_once_steady};
use crate::endpoint::{Exposures, Peers, serve_inbound};
use crate::identity::PeerKind;
use crate::net::Stream;
use crate::options::BridgeOptions;
use ractor::ActorRef;
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// What a Session works with.
pub(crate) struct Arguments {
    pub(crate) stream: Stream,
    /// Resolves when the handshake has to give way to newer connections.
    pub(crate) gives_way: oneshot::Receiver<()>,
    pub(crate) bridge: ActorRef<BridgeMessage>,
    pub(crate) options: Arc<BridgeOptions>,
    pub(crate) handshake: Arc<Handshake>,
    pub(crate) inbound: Arc<InboundConnections>,
    pub(crate) exposures: Arc<Exposures>,
    pub(crate) peers: Arc<Peers>,
}

/// The Session's task: one connection from handshake to end; returns the reason.
pub(crate) async fn run(arguments: Arguments) -> String {
    let Arguments { mut stream, gives_way, bridge, options, handshake, inbound, exposures, peers } =
        arguments;
    let address = stream.address.clone();
    let Admitted { peer, buffer, place: _place } = match handshake.accept(&mut stream, gives_way).await {
        Ok(admitted) => admitted,
        Err(error) => {
            let is_peer = |node: &str| peers.get(node).is_some_and(|peer| peer.target().is_some());
            inbound.handshake_failed(&address, &error, is_peer);
            return error.to_string();
        }
    };
    let connection = Connection::new(peer, options, inbound.counters.clone());
    handshake.made(&connection);
    let _entered = inbound.enter(&connection);
    let peer = connection.peer.clone();
    if peer.kind == PeerKind::Client {
        // They come and go; a node does not.
        tracing::debug!(%address, "client connected");
        let reason = serve_inbound(exposures, connection, stream, buffer).await;
        tracing::debug!(%address, %reason, "client gone");
        return reason;
    }
    if peers.get(&peer.node).is_some_and(|peer| peer.target().is_some() && peer.current().is_none()) {
        // It was started again, most likely: until it is dialled from here nothing can be sent to it, not even an answer.
        let _ = bridge.send_message(BridgeMessage::PeerHeard { node: peer.node.clone() });
    }
    let (since, (mut told, short_before)) = (Instant::now(), inbound.flaps(&peer.node));
    let say = || tracing::info!(node = %peer.node, kind = peer.kind.name(), %address, short_before, "inbound connection up");
    if told {
        say();
    }
    let serving = serve_inbound(exposures, connection, stream, buffer);
    let reason = say_once_steady(serving, || {
        if !told {
            say();
        }
        told = true;
    })
    .await;
    if told {
        tracing::info!(node = %peer.node, %address, %reason, "inbound connection ended");
    }
    inbound.ended(&peer.node, since.elapsed());
    reason
}
