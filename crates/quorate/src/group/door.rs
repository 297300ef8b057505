//! The door of a group: what an inbound connection delivers for it, one batch per socket read, sent on along the
//! route without a hop through Group: the commands of a batch as one message, and its queries as another.
//!
//! While no role runs, Raft messages are dropped and callers are refused. The name stays exposed: whatever is restarted
//! is reached by the same name.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use quorate_bridge::{Exposed, Inbound, PeerInfo, PeerKind, ReplyPort};
use quorate_core::{GroupId, Hash, Index, Message, Position, Proposal, RoleEvent, Term};

use crate::error::{NotReadyReason, ProposeError};
use crate::host::machine::MachineFactory;
use crate::members::MembersCall;
use crate::messages::group::GroupMessage;
use crate::messages::members::MembersPort;
use crate::messages::role::Submission;
use crate::messages::snapshotter::{PartPort, PartWanted, SnapshotterMessage};
use crate::ports::{ProposalPort, QueryPort};
use crate::protocol::{Consistency, GroupProtocol, Request, Response};
use crate::role::codec::{ConsensusError, decode_message};
use crate::roster::Roster;
use crate::route::{Condition, Route};
use crate::route_watch::RouteReceiver;

/// What the bridge exposes under the group's name.
pub(crate) fn open_door(
    routes: RouteReceiver,
    (group, roster): (GroupId, Arc<Roster>),
    machine: Arc<dyn MachineFactory>,
) -> Exposed {
    let door = Door {
        group,
        roster,
        machine,
        unreadable: AtomicU64::new(0),
        entries_unreadable: AtomicBool::new(false),
    };
    Exposed::sink::<GroupProtocol>(move |batch| {
        let route = routes.borrow().clone();
        door.receive_batch(&route, batch);
        Ok(())
    })
}

struct Door {
    group: GroupId,
    roster: Arc<Roster>,
    machine: Arc<dyn MachineFactory>,
    /// Messages that could not be read.
    unreadable: AtomicU64,
    /// The newest entries that came could not be read.
    entries_unreadable: AtomicBool,
}

impl Door {
    /// Sends each message of a batch on its way.
    fn receive_batch(&self, route: &Route, batch: Vec<Inbound<GroupProtocol>>) {
        let (mut submissions, mut queries) = (Vec::new(), Vec::new());
        // A batch comes from one connection.
        let first = batch.first().map(|inbound| inbound.from.clone());
        let is_member = first.is_none_or(|from| self.roster.is_of_group(self.group, &from));
        for Inbound { from, message, reply } in batch {
            match (message, reply) {
                // Only peers agree with each other: what a client sends is not even decoded.
                (Request::Consensus { .. }, _) if from.kind != PeerKind::Peer => {}
                // It has the member's name, and is another disk.
                (Request::Consensus { .. } | Request::Faulted { .. }, _) if !is_member => {}
                (Request::Consensus { protocol, message }, _) => match decode_message(protocol, &message) {
                    // The handshake established the sender. A message that names another node is dropped.
                    Ok(message) if message.from.as_str() == from.node => {
                        self.entries_are_readable(route, &message);
                        route.tell_role(RoleEvent::Message(message));
                    }
                    Ok(_) => {}
                    Err(error) => self.report_unreadable(route, &from, &error),
                },
                (Request::Propose { payload }, Some(reply)) => {
                    submissions.extend(self.check_proposal(route, payload, reply));
                }
                (Request::Query { query, consistency: Consistency::Linearizable }, Some(port)) => {
                    queries.push(QueryPort::Remote { query, port });
                }
                (Request::Query { query, consistency: consistency @ Consistency::Stale }, Some(port)) => {
                    route.send_queries(consistency, vec![QueryPort::Remote { query, port }]);
                }
                (Request::SnapshotPart { index, term, chain, least, offset }, Some(reply)) => {
                    if from.kind == PeerKind::Peer {
                        let at = position(index, term, &chain);
                        let wanted = PartWanted { at, least: Index(least), offset };
                        route.tell_snapshotter(SnapshotterMessage::Part {
                            wanted,
                            reply: PartPort::Peer(reply),
                        });
                    }
                }
                (Request::Membership(call), Some(port)) => hear_of_members(route, &from, call, port),
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
                (
                    Request::Propose { .. }
                    | Request::Query { .. }
                    | Request::SnapshotPart { .. }
                    | Request::Membership(_)
                    | Request::Members,
                    None,
                ) => {}
            }
        }
        if !submissions.is_empty() {
            route.send_proposals(submissions);
        }
        if !queries.is_empty() {
            route.send_queries(Consistency::Linearizable, queries);
        }
    }

    fn entries_are_readable(&self, route: &Route, message: &Message) {
        let has_entries = message.has_entries();
        if has_entries && self.entries_unreadable.swap(false, Ordering::Relaxed) {
            route.tell_group(GroupMessage::EntriesUnreadable(None));
        }
    }

    /// Logs the first, second, fourth, eighth .. message that cannot be read: a peer of another build sends one per heartbeat,
    /// and this runs on the connection's reading task. Control characters in the error, which repeats the peer's bytes, are
    /// escaped. Entries of a newer build halt the replica: its log would lack them for good.
    fn report_unreadable(&self, route: &Route, from: &PeerInfo, error: &ConsensusError) {
        let dropped = self.unreadable.fetch_add(1, Ordering::Relaxed) + 1;
        if error.is_newer() && !self.entries_unreadable.swap(true, Ordering::Relaxed) {
            let reason = format!("{error}; it came from {}", from.node);
            route.tell_group(GroupMessage::EntriesUnreadable(Some(reason)));
        }
        if dropped.is_power_of_two() {
            let error = error.to_string();
            tracing::warn!(from = from.node, dropped, error = %error.escape_debug(), "dropped messages that cannot be read");
        }
    }

    /// A proposal that came as bytes, for the leader on this node. A command that the machine of this build cannot read is
    /// refused: in the log, every replica of this build would have to stop at it.
    fn check_proposal(
        &self,
        route: &Route,
        payload: Bytes,
        reply: ReplyPort<Response>,
    ) -> Option<Submission> {
        let port = ProposalPort::Remote(reply);
        if let Condition::Stopped(_) = &route.condition {
            // *Not ready* and not *stopped*: the caller's own node goes on, and waits for the next leader.
            port.fail(ProposeError::not_ready(NotReadyReason::Stopping));
            return None;
        }
        if let Err(detail) = self.machine.check_command(&payload) {
            port.fail(ProposeError::NotReadHere { detail });
            return None;
        }
        Some(Submission { proposal: Proposal::new(payload), port })
    }
}

/// Only a leader answers; peers and processes that join ask it.
fn hear_of_members(route: &Route, from: &PeerInfo, call: MembersCall, port: ReplyPort<Response>) {
    let is_allowed = match &call {
        MembersCall::View | MembersCall::Join(_) => true,
        MembersCall::Change { .. } => from.kind == PeerKind::Peer,
    };
    if is_allowed {
        let is_peer = from.kind == PeerKind::Peer;
        route.ask_of_members(
            call,
            if is_peer { MembersPort::Remote(port) } else { MembersPort::Client(port) },
        );
    }
}

/// The place that a peer names; none if it names none, or no place.
fn position(index: u64, term: u64, chain: &Bytes) -> Option<Position> {
    let chain = Hash(chain.as_ref().try_into().ok()?);
    Some(Position { index: Index(index), term: Term(term), chain })
}
