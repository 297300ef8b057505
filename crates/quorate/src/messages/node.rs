//! What Node hears.

use std::sync::Arc;

use quorate_bridge::LinkEvent;
use quorate_core::GroupId;
use quorate_store::GroupError as StoreGroupError;
use ractor::ActorRef;
use tokio::sync::oneshot;

use crate::failure::GroupError;
use crate::host::machine::MachineFactory;
use crate::route_watch::RouteReceiver;

/// The address of a node's root supervisor.
pub(crate) type NodeRef = ActorRef<NodeMessage>;

/// A group to be opened.
pub(crate) struct OpenGroup {
    pub(crate) name: String,
    pub(crate) machine: Arc<dyn MachineFactory>,
    pub(crate) reply: oneshot::Sender<Result<RouteReceiver, GroupError>>,
}

/// What Node hears.
pub(crate) enum NodeMessage {
    /// From the handle: open this group.
    Open(OpenGroup),
    /// From the log store: the group has its record.
    Opened { open: OpenGroup, result: Result<GroupId, StoreGroupError> },
    /// From the bridge: a link rose, fell or was refused.
    Link(LinkEvent),
    /// From its own timer: start this child again.
    Restart(ChildKind),
    /// From tests and `quorate actors stop --panic`: panic, as a bug would.
    Panic,
}

/// Node's children.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ChildKind {
    LogStore,
    Bridge,
    Joiner,
    Group(String),
}

impl std::fmt::Display for ChildKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::LogStore => f.write_str("log-store"),
            Self::Bridge => f.write_str("bridge"),
            Self::Joiner => f.write_str("joiner"),
            Self::Group(name) => write!(f, "group/{name}"),
        }
    }
}
