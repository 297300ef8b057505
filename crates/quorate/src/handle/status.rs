//! Where a group stands on this node.

use std::pin::Pin;

use quorate_core::NodeId;
use ractor::RactorErr;
use serde::{Deserialize, Serialize};

use crate::messages::group::GroupMessage;
use crate::messages::role::RoleStatus;
use crate::route::{Condition, Route};

/// How long Group is waited for, in milliseconds: less than a peer waits for a node's status.
const INSPECT_MS_MAX: u64 = 800;

/// Where a group stands on this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupStatus {
    /// The group's name.
    pub group: String,
    /// This node's id.
    pub node: String,
    /// The leader, if this node knows one.
    pub leader: Option<String>,
    /// The term in which that leader was heard of.
    pub term: u64,
    /// How long the state machine of this node has been at the present command, in milliseconds; absent while it is at none.
    #[serde(default)]
    pub applying_for_ms: Option<u64>,
    /// The actors of the group did not answer within 800 ms: their thread hangs, or has far too much to do.
    #[serde(default)]
    pub silent: bool,
    /// The role; absent while it is being restarted, and while it is silent.
    pub role: Option<RoleStatus>,
    /// The entry at which this node's machine faulted.
    pub fault_here: Option<u64>,
    /// Why this node's replica takes no more entries, or its machine none: with the entry, and for one of a newer build its version or
    /// kind and what to do. After a panic or a failed restore: bring a machine without the mistake, and start the node again.
    #[serde(default)]
    pub halted: Option<String>,
    /// The entry at which a majority's machines faulted.
    pub faulted: Option<u64>,
    /// Restarts of the role from disk since the group was opened.
    pub role_restarts: u64,
    /// Restarts of the applier since the group was opened.
    pub applier_restarts: u64,
}

/// In a box, so that it is compiled with this crate.
pub(crate) fn status<'a>(
    group: &'a str,
    node: &'a NodeId,
    route: Route,
) -> Pin<Box<dyn Future<Output = GroupStatus> + Send + 'a>> {
    Box::pin(async move {
        let (mut role, silent) = match &route.group {
            Some(actor) => match ractor::call_t!(actor, GroupMessage::Inspect, INSPECT_MS_MAX) {
                Ok(role) => (Some(role), false),
                Err(error) => (None, matches!(error, RactorErr::Timeout)),
            },
            None => (None, false),
        };
        // Whose command was answered finds it applied, although the role has not heard of it yet.
        if let Some((role, gauge)) = role.as_mut().zip(route.gauge.as_ref()) {
            role.applied = role.applied.max(gauge.applied().0);
        }
        let faulted = match route.condition {
            Condition::Faulted(index) => Some(index),
            Condition::Open | Condition::Stopped(_) => None,
        };
        let applying = route.gauge.as_ref().and_then(|gauge| gauge.applying_for());
        let applying_for_ms = applying.map(|span| u64::try_from(span.as_millis()).unwrap_or(u64::MAX));
        GroupStatus {
            group: group.to_owned(),
            node: node.to_string(),
            leader: route.leader_id.as_ref().map(ToString::to_string),
            term: route.term.0,
            applying_for_ms,
            silent,
            role,
            fault_here: route.fault_here,
            halted: route.halted.as_deref().map(str::to_owned),
            faulted,
            role_restarts: route.role_restarts,
            applier_restarts: route.applier_restarts,
        }
    })
}
