//! The route: where the messages of a group go right now. The group's actor publishes it on every change; handles and
//! Sessions send along it without a hop through the group. A stale route loses nothing that may not be lost: what is
//! sent to a role that ended comes back to the group, and a role that is gone is an error to the sender.
//!
//! The channel is owned above the group's actor, so handles live through its restarts.

use quorate_bridge::RemoteRef;
use quorate_core::{Common, Epoch, NodeId, Term};
use ractor::ActorRef;
use tokio::sync::watch;

use crate::applier::ApplierMessage;
use crate::group::GroupMessage;
use crate::role::{LeaderMessage, RoleMessage};
use crate::wire::GroupProtocol;

/// The role actor of the moment.
#[derive(Debug, Clone)]
pub(crate) enum RoleRef {
    Follower(ActorRef<RoleMessage>),
    Candidate(ActorRef<RoleMessage>),
    Leader(ActorRef<LeaderMessage>),
}

impl RoleRef {
    /// Tells the role; gives the event back if its mailbox is closed.
    pub(crate) fn tell(&self, common: Common) -> Result<(), Common> {
        use ractor::MessagingErr::SendErr;
        match self {
            Self::Follower(actor) | Self::Candidate(actor) => match actor.cast(RoleMessage::Common(common)) {
                Err(SendErr(RoleMessage::Common(common))) => Err(common),
                _ => Ok(()),
            },
            Self::Leader(actor) => match actor.cast(LeaderMessage::Common(common)) {
                Err(SendErr(LeaderMessage::Common(common))) => Err(common),
                _ => Ok(()),
            },
        }
    }

    pub(crate) fn cell(&self) -> ractor::ActorCell {
        match self {
            Self::Follower(actor) | Self::Candidate(actor) => actor.get_cell(),
            Self::Leader(actor) => actor.get_cell(),
        }
    }
}

/// Who takes proposals.
#[derive(Debug, Clone)]
pub(crate) enum LeaderRoute {
    /// The leader is here.
    Here(ActorRef<LeaderMessage>),
    /// The leader is on another node.
    There(RemoteRef<GroupProtocol>),
    /// None is known.
    Nobody,
}

/// Whether the group takes anything at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Condition {
    /// It does.
    Open,
    /// The machine faulted at this index on a majority of the nodes.
    Faulted(u64),
    /// The node is stopping, or has stopped.
    Stopped(String),
}

/// Where messages go. Cheap to clone: handles do so for every call.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    pub(crate) condition: Condition,
    pub(crate) epoch: Epoch,
    pub(crate) group: Option<ActorRef<GroupMessage>>,
    pub(crate) role: Option<RoleRef>,
    pub(crate) applier: Option<ActorRef<ApplierMessage>>,
    /// The index at which this node's own machine faulted.
    pub(crate) fault_here: Option<u64>,
    pub(crate) leader: LeaderRoute,
    pub(crate) leader_id: Option<NodeId>,
    pub(crate) term: Term,
    pub(crate) role_restarts: u64,
    pub(crate) applier_restarts: u64,
}

impl Route {
    pub(crate) fn nowhere() -> Self {
        Self {
            condition: Condition::Open,
            epoch: Epoch::ZERO,
            group: None,
            role: None,
            applier: None,
            fault_here: None,
            leader: LeaderRoute::Nobody,
            leader_id: None,
            term: Term::ZERO,
            role_restarts: 0,
            applier_restarts: 0,
        }
    }

    /// Tells the role, or the group where the route is stale. What reaches neither is lost with the actor it was for.
    pub(crate) fn tell_role(&self, common: Common) {
        self.tell_role_of(None, common);
    }

    /// The same, for what counts in one epoch only.
    pub(crate) fn tell_role_of(&self, epoch: Option<Epoch>, common: Common) {
        if epoch.is_some_and(|epoch| epoch != self.epoch) {
            return;
        }
        let left = match &self.role {
            Some(role) => role.tell(common),
            None => Err(common),
        };
        if let (Err(common), Some(group)) = (left, &self.group) {
            let _ = group.cast(GroupMessage::ForRole { epoch, common });
        }
    }
}

pub(crate) type RouteReceiver = watch::Receiver<Route>;
pub(crate) type RouteSender = watch::Sender<Route>;
