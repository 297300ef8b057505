//! What a Session brings for a group: one batch per socket read, sent along the route without a hop through Group.

use bytes::Bytes;
use quorate_bridge::{Inbound, ReplyPort};
use quorate_core::{Common, Proposal};
use ractor::MessagingErr::SendErr;

use crate::applier::ApplierMessage;
use crate::error::{ProposeError, QueryError};
use crate::group::{
    Condition, Consistency, GroupMessage, LeaderRoute, ProposalPort, QueryPort, RoleRef, Route,
};
use crate::machine::Envelope;
use crate::role::{LeaderMessage, RoleMessage, Submission};
use crate::wire::{GroupProtocol, Request, Response};

/// Sends a batch on its way. While no role runs, Raft messages are dropped and callers are told so; the group itself
/// is never gone, for whoever restarts will be reached by the same name.
pub(crate) fn deliver(route: &Route, batch: Vec<Inbound<GroupProtocol>>) {
    for Inbound { from, message, reply } in batch {
        match (message, reply) {
            (Request::Raft(message), _) => {
                // The handshake says who is at the other end; a message in another's name is not that node's word.
                if message.from.as_str() == from.node {
                    route.tell_role(Common::Message(message));
                }
            }
            (Request::Propose { payload }, Some(reply)) => {
                propose_from_afar(route, payload, reply);
            }
            (Request::Query { query, consistency }, Some(port)) => {
                ask(route, consistency, QueryPort::Remote { query, port });
            }
            (Request::Faulted { node, index }, _) => {
                if let Some(group) = &route.group
                    && node.as_str() == from.node
                {
                    let _ = group.cast(GroupMessage::PeerFaulted { peer: node, index });
                }
            }
            // A call sent as a cast has nobody to answer.
            (Request::Propose { .. } | Request::Query { .. }, None) => {}
        }
    }
}

/// A proposal that came as bytes. What is no command envelope of this build never enters the log: there, every replica
/// would have to stop at it.
fn propose_from_afar(route: &Route, payload: Bytes, reply: ReplyPort<Response>) {
    let port = ProposalPort::Remote(reply);
    if let Err(error) = Envelope::decode(&payload) {
        port.fail(ProposeError::Unencodable { detail: error.to_string() });
        return;
    }
    if let Condition::Stopped(_) = &route.condition {
        // The caller's own node goes on: it waits for the next leader.
        port.fail(ProposeError::not_ready("the leader's node is stopping"));
        return;
    }
    propose(route, Submission { proposal: Proposal::new(payload), port });
}

/// To the leader here, or refused: a forwarded proposal is never forwarded again.
pub(crate) fn propose(route: &Route, submission: Submission) {
    if let Condition::Stopped(detail) = &route.condition {
        submission.port.fail(ProposeError::Stopped { detail: detail.clone() });
        return;
    }
    let LeaderRoute::Here(leader) = &route.leader else {
        submission.port.fail(ProposeError::not_ready("this replica does not lead"));
        return;
    };
    // Without an applier its port would be dropped as soon as the command has its index: unknown, for nothing.
    if route.applier.is_none() {
        submission.port.fail(ProposeError::not_ready("the state machine of this replica is being restarted"));
        return;
    }
    // Given back, it never reached a role: whoever holds it refuses it.
    if let Err(SendErr(LeaderMessage::Propose(back))) = leader.cast(LeaderMessage::Propose(submission)) {
        back.port.fail(ProposeError::not_ready("the replica changed its role"));
    }
}

/// To the role for a read index, or straight to the applier.
pub(crate) fn ask(route: &Route, consistency: Consistency, port: QueryPort) {
    if let Some(index) = route.fault_here {
        port.fail(QueryError::Faulted { index });
        return;
    }
    let gone = || QueryError::NotReady { detail: "the replica is being restarted".into() };
    match (consistency, &route.role, &route.applier) {
        (Consistency::Stale, _, Some(applier)) => {
            let index = quorate_core::Index::ZERO;
            if let Err(SendErr(ApplierMessage::Query { port, .. })) =
                applier.cast(ApplierMessage::Query { index, port })
            {
                port.fail(gone());
            }
        }
        (Consistency::Linearizable, Some(RoleRef::Leader(leader)), _) => {
            if let Err(SendErr(LeaderMessage::Read(port))) = leader.cast(LeaderMessage::Read(port)) {
                port.fail(gone());
            }
        }
        (Consistency::Linearizable, Some(RoleRef::Follower(role) | RoleRef::Candidate(role)), _) => {
            if let Err(SendErr(RoleMessage::Read(port))) = role.cast(RoleMessage::Read(port)) {
                port.fail(gone());
            }
        }
        (Consistency::Linearizable | Consistency::Stale, _, _) => port.fail(gone()),
    }
}
