//! The door of a group: what a Session delivers for it, one batch per socket read, sent on along the route without a hop
//! through Group.
//!
//! While no role runs, Raft messages are dropped and callers are refused. The name stays exposed: whatever is restarted
//! is reached by the same name.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use quorate_bridge::{Exposed, Inbound, PeerInfo, PeerKind, ReplyPort};
use quorate_core::{Proposal, RoleEvent};

use crate::error::{NotReadyReason, ProposeError};
use crate::machine::Envelope;
use crate::messages::group::GroupMessage;
use crate::messages::role::Submission;
use crate::ports::{ProposalPort, QueryPort};
use crate::protocol::{GroupProtocol, Request, Response};
use crate::role::codec::{ConsensusError, decode_message};
use crate::route::{Condition, Route};
use crate::route_watch::RouteReceiver;

/// What the bridge exposes under the group's name.
pub(crate) fn open_door(routes: RouteReceiver) -> Exposed {
    let unreadable = AtomicU64::new(0);
    Exposed::sink::<GroupProtocol>(move |batch| {
        let route = routes.borrow().clone();
        receive_batch(&route, batch, &unreadable);
        Ok(())
    })
}

/// Sends each message of a batch on its way.
fn receive_batch(route: &Route, batch: Vec<Inbound<GroupProtocol>>, unreadable: &AtomicU64) {
    for Inbound { from, message, reply } in batch {
        match (message, reply) {
            // Only peers agree with each other: what a client sends is not even decoded.
            (Request::Consensus { .. }, _) if from.kind != PeerKind::Peer => {}
            (Request::Consensus { protocol, message }, _) => match decode_message(protocol, &message) {
                // The handshake established the sender. A message that names another node is dropped.
                Ok(message) if message.from.as_str() == from.node => {
                    route.tell_role(RoleEvent::Message(message));
                }
                Ok(_) => {}
                Err(error) => report_unreadable(&from, &error, unreadable),
            },
            (Request::Propose { payload }, Some(reply)) => receive_proposal(route, payload, reply),
            (Request::Query { query, consistency }, Some(port)) => {
                route.send_query(consistency, QueryPort::Remote { query, port });
            }
            (Request::Members, Some(port)) => {
                let (leader, members) = (route.leader_id.clone(), route.members.to_vec());
                drop(port.send(&Response::Members { leader, members }));
            }
            (Request::Faulted { node, index }, _) => {
                if node.as_str() == from.node {
                    route.tell_group(GroupMessage::PeerFaulted { peer: node, index });
                }
            }
            // A call that was sent as a cast has no port to answer.
            (Request::Propose { .. } | Request::Query { .. } | Request::Members, None) => {}
        }
    }
}

/// Logs the first, second, fourth, eighth .. message that cannot be read: a peer of another build sends one per heartbeat, and
/// this runs on the connection's reading task. Control characters in the error, which repeats the peer's bytes, are escaped.
fn report_unreadable(from: &PeerInfo, error: &ConsensusError, unreadable: &AtomicU64) {
    let dropped = unreadable.fetch_add(1, Ordering::Relaxed) + 1;
    if dropped.is_power_of_two() {
        let error = error.to_string();
        tracing::warn!(from = from.node, dropped, error = %error.escape_debug(), "dropped messages that cannot be read");
    }
}

/// Sends a proposal that came as bytes to the leader on this node. A payload that is not a command envelope of this build
/// is refused: in the log, every replica would have to stop at it.
fn receive_proposal(route: &Route, payload: Bytes, reply: ReplyPort<Response>) {
    let port = ProposalPort::Remote(reply);
    if let Err(error) = Envelope::decode(&payload) {
        port.fail(ProposeError::Unencodable { detail: error.to_string() });
        return;
    }
    if let Condition::Stopped(_) = &route.condition {
        // *Not ready* and not *stopped*: the caller's own node goes on, and waits for the next leader.
        port.fail(ProposeError::not_ready(NotReadyReason::Stopping));
        return;
    }
    route.send_proposal(Submission { proposal: Proposal::new(payload), port });
}
