//! Why the members were not changed, or not told.

use quorate_core::{ChangeRefusal, NodeId};
use serde::{Deserialize, Serialize};

use super::Outcome;

/// Why the members were not changed, or not told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ChangeError {
    /// The leader refused it: nothing entered the log.
    #[error("{0}")]
    Refused(ChangeRefusal),
    /// No leader took it before the deadline.
    #[error("no leader took it for {waited_ms} ms: {detail}; retry")]
    NoLeader {
        /// What was found at the last attempt.
        detail: String,
        /// How long one was waited for, in milliseconds.
        waited_ms: u64,
    },
    /// The node that was asked does not lead.
    #[error("the node that was asked does not lead{}", leader.as_ref().map(|leader| format!("; {leader} does")).unwrap_or_default())]
    NotLeader {
        /// Who does, if that node knows it.
        leader: Option<NodeId>,
    },
    /// No process waits to take the place of this member.
    #[error(
        "no process waits to take the place of {node}: start one under that name with an empty data directory, told to join; it \
         asks the leader every second"
    )]
    NoJoiner {
        /// The member.
        node: NodeId,
    },
    /// A member runs a build that follows a change and does not end it.
    #[error("{} of an earlier build, which does not end a change of the members: upgrade first", of(nodes))]
    OldBuild {
        /// The members.
        nodes: Vec<String>,
    },
    /// The address is not `host:port`, or too long.
    #[error("address {address:?} of {node} is not host:port, for example 10.0.0.1:7000")]
    Address {
        /// The member.
        node: NodeId,
        /// The address as given.
        address: String,
    },
    /// Another member has the address.
    #[error("{address} is the address of {other}: every member needs one of its own")]
    AddressTaken {
        /// The address.
        address: String,
        /// The member that has it.
        other: NodeId,
    },
    /// The node that was asked does not have this group open.
    #[error("node {node} has not opened group {group}; check the name, or open it there too")]
    NoSuchGroup {
        /// The group.
        group: String,
        /// The node.
        node: String,
    },
    /// The leader's build does not know the call.
    #[error("the leader cannot read the call: {detail}; upgrade it")]
    Unreadable {
        /// What it says.
        detail: String,
    },
    /// The node is stopping or has stopped.
    #[error("node stopped: {detail}")]
    Stopped {
        /// The reason.
        detail: String,
    },
    /// It may have happened or may yet happen: look at the members.
    #[error("unknown whether the members changed: {detail}; look at them before you ask again")]
    Unknown {
        /// What happened.
        detail: String,
    },
}

fn of(nodes: &[String]) -> String {
    let is = if nodes.len() == 1 { "is" } else { "are" };
    format!("{} {is}", nodes.join(", "))
}

impl ChangeError {
    /// Whether it was refused or is unknown. Looking at the members is refused, whatever happens: it changes nothing.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Refused(_)
            | Self::NoLeader { .. }
            | Self::NotLeader { .. }
            | Self::NoJoiner { .. }
            | Self::OldBuild { .. }
            | Self::Address { .. }
            | Self::AddressTaken { .. }
            | Self::NoSuchGroup { .. }
            | Self::Unreadable { .. }
            | Self::Stopped { .. } => Outcome::Refused,
            Self::Unknown { .. } => Outcome::Unknown,
        }
    }
}
