//! The route: where the messages of a group go. Group publishes it on every change; handles and inbound
//! connections send along it without a hop through Group. What is sent along a stale route to a role that ended comes back to Group; a closed
//! mailbox is an error to the sender, which still holds the port and refuses.
//!
//! Stage 1 of 7, Proposed: `send_proposals` is the last function before the leader's mailbox.

use std::sync::Arc;

use quorate_bridge::RemoteRef;
use quorate_core::{Epoch, NodeId, RoleEvent, Term};
use ractor::ActorRef;
use ractor::MessagingErr::SendErr;

use crate::error::{ChangeError, NotReadyReason, ProposeError, QueryError};
use crate::gauge::Gauge;
use crate::members::{MembersAnswer, MembersCall};
use crate::messages::applier::{ApplierMessage, ApplierRef};
use crate::messages::group::{GroupMessage, GroupRef};
use crate::messages::members::MembersPort;
use crate::messages::role::{LeaderMessage, RoleRef, Submission};
use crate::messages::snapshotter::{SnapshotterMessage, SnapshotterRef};
use crate::ports::QueryPort;
use crate::protocol::{Consistency, GroupProtocol, MemberAddress};
use crate::replay::ReplayMark;

/// Why a stale query is not answered yet.
const NOT_REPLAYED: &str = "this node has not heard from a leader since its start how much of its log was committed; ask another node";

/// Which actor takes proposals.
#[derive(Debug, Clone)]
pub(crate) enum LeaderRoute {
    /// The leader is on this node.
    Here(ActorRef<LeaderMessage>),
    /// The leader is on another node.
    There(RemoteRef<GroupProtocol>),
    /// No leader is known.
    Unknown,
}

/// Whether the group takes proposals at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Condition {
    /// It does.
    Open,
    /// The machine faulted at this index on a majority of the nodes.
    Faulted(u64),
    /// The node is stopping or has stopped.
    Stopped(String),
}

/// Where messages go. Cheap to clone: handles do so for every call.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    pub(crate) condition: Condition,
    pub(crate) epoch: Epoch,
    pub(crate) group: Option<GroupRef>,
    pub(crate) role: Option<RoleRef>,
    pub(crate) applier: Option<ApplierRef>,
    pub(crate) snapshotter: Option<SnapshotterRef>,
    /// What the applier shows of itself.
    pub(crate) gauge: Option<Arc<Gauge>>,
    /// The index at which this node's own machine faulted.
    pub(crate) fault_here: Option<u64>,
    pub(crate) replay: Arc<ReplayMark>,
    /// Why this replica takes no more entries, or its machine none.
    pub(crate) halted: Option<Arc<str>>,
    pub(crate) leader: LeaderRoute,
    pub(crate) leader_id: Option<NodeId>,
    /// The members in force, for clients that ask for them; none before the log is loaded.
    pub(crate) members: Arc<[MemberAddress]>,
    pub(crate) term: Term,
    pub(crate) role_restarts: u64,
    pub(crate) applier_restarts: u64,
}

impl Route {
    /// Without any address: before a group has started.
    pub(crate) fn empty() -> Self {
        Self {
            condition: Condition::Open,
            epoch: Epoch::ZERO,
            group: None,
            role: None,
            applier: None,
            snapshotter: None,
            gauge: None,
            fault_here: None,
            replay: Arc::default(),
            halted: None,
            leader: LeaderRoute::Unknown,
            leader_id: None,
            members: Arc::default(),
            term: Term::ZERO,
            role_restarts: 0,
            applier_restarts: 0,
        }
    }

    /// What the machine of this node ended with, if it is down at that entry. Empty otherwise.
    pub(crate) fn why_faulted(&self, index: u64) -> String {
        let here = self.halted.as_deref().filter(|_| self.fault_here == Some(index));
        here.unwrap_or_default().to_owned()
    }

    /// Removes every address, until Group publishes again.
    pub(crate) fn clear(&mut self) {
        (self.group, self.role, self.applier, self.snapshotter) = (None, None, None, None);
        self.leader = LeaderRoute::Unknown;
    }

    /// Tells Group. While it is being restarted the message is lost: Group asks for what it needs when it starts.
    pub(crate) fn tell_group(&self, message: GroupMessage) {
        if let Some(group) = &self.group {
            let _ = group.cast(message);
        }
    }

    /// Tells the snapshotter. While it is being restarted the message is lost: who asks it asks again.
    pub(crate) fn tell_snapshotter(&self, message: SnapshotterMessage) {
        if let Some(snapshotter) = &self.snapshotter {
            let _ = snapshotter.cast(message);
        }
    }

    /// Tells the role, or Group where the route is stale. If neither runs, the message is lost with the actor it was for.
    pub(crate) fn tell_role(&self, event: RoleEvent) {
        self.tell_role_of(None, event);
    }

    /// As `tell_role`, and only if `epoch` is the current one.
    pub(crate) fn tell_role_of(&self, epoch: Option<Epoch>, event: RoleEvent) {
        if epoch.is_some_and(|epoch| epoch != self.epoch) {
            return;
        }
        let undelivered = match &self.role {
            Some(role) => role.tell(event),
            None => Err(event),
        };
        if let Err(event) = undelivered {
            self.tell_group(GroupMessage::ForRole { epoch, event });
        }
    }

    /// Sends proposals to the leader's mailbox on this node, or refuses them: a forwarded proposal is never forwarded
    /// again.
    pub(crate) fn send_proposals(&self, submissions: Vec<Submission>) {
        let refuse = |submissions: Vec<Submission>, error: &ProposeError| {
            for submission in submissions {
                submission.port.fail(error.clone());
            }
        };
        if let Condition::Stopped(detail) = &self.condition {
            return refuse(submissions, &ProposeError::Stopped { detail: detail.clone() });
        }
        // A client that is told less asks until its deadline.
        if let Condition::Faulted(index) = self.condition {
            let detail = self.why_faulted(index);
            return refuse(submissions, &ProposeError::Faulted { index, detail });
        }
        let LeaderRoute::Here(leader) = &self.leader else {
            return refuse(submissions, &ProposeError::not_ready(NotReadyReason::NotLeader));
        };
        // Without an applier the ports would be dropped as soon as the commands have their index, and the callers told
        // *unknown*. Refused now, they may retry.
        if self.applier.is_none() {
            return refuse(submissions, &ProposeError::not_ready(NotReadyReason::MachineRestarting));
        }
        // A message that comes back never reached the role, so its sender refuses it.
        if let Err(SendErr(LeaderMessage::Propose(back))) = leader.cast(LeaderMessage::Propose(submissions)) {
            refuse(back, &ProposeError::not_ready(NotReadyReason::RoleChanged));
        }
    }

    /// Sends a call about the members to the leader on this node, or says that it is not here.
    pub(crate) fn ask_of_members(&self, call: MembersCall, port: MembersPort) {
        let refuse = |port: MembersPort, error| port.send(MembersAnswer::NotChanged(error));
        if let Condition::Stopped(detail) = &self.condition {
            return refuse(port, ChangeError::Stopped { detail: detail.clone() });
        }
        let not_leader = ChangeError::NotLeader { leader: self.leader_id.clone() };
        let LeaderRoute::Here(leader) = &self.leader else { return refuse(port, not_leader) };
        if let Err(SendErr(LeaderMessage::Members(_, port))) = leader.cast(LeaderMessage::Members(call, port))
        {
            refuse(port, not_leader);
        }
    }

    /// Sends linearizable queries to the role, which obtains one read index for them all, and stale ones to the applier, which
    /// answers as soon as it is not behind what this node has known to be committed.
    pub(crate) fn send_queries(&self, consistency: Consistency, ports: Vec<QueryPort>) {
        let refuse = |ports: Vec<QueryPort>, error: &QueryError| {
            for port in ports {
                port.fail(error.clone());
            }
        };
        if let Some(index) = self.fault_here {
            return refuse(ports, &QueryError::Faulted { index, detail: self.why_faulted(index) });
        }
        // They would wait for entries that never come.
        if let (Consistency::Linearizable, Some(reason)) = (consistency, &self.halted) {
            return refuse(ports, &QueryError::not_ready(&**reason));
        }
        let undelivered = match (consistency, &self.role, &self.applier) {
            (Consistency::Stale, _, Some(applier)) => {
                let Some(index) = self.replay.floor() else {
                    return refuse(ports, &QueryError::not_ready(NOT_REPLAYED));
                };
                match applier.cast(ApplierMessage::Queries { index, ports }) {
                    Err(SendErr(ApplierMessage::Queries { ports, .. })) => Err(ports),
                    _ => Ok(()),
                }
            }
            (Consistency::Linearizable, Some(role), _) => role.read(ports),
            (Consistency::Linearizable | Consistency::Stale, _, _) => Err(ports),
        };
        if let Err(ports) = undelivered {
            refuse(ports, &QueryError::not_ready("the replica is being restarted"));
        }
    }
}
