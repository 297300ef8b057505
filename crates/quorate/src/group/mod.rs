//! One Raft group on one node: the switchboard, its route, and what applications hold of it.

mod actor;
mod facade;
mod faults;
mod handle;
mod inbound;
mod log;
mod port;
mod route;

pub(crate) use actor::{GroupActor, GroupMessage, GroupStart};
pub(crate) use facade::Facade;
pub use facade::FacadeMessage;
pub use handle::{Consistency, GroupHandle, GroupStatus};
pub(crate) use handle::{Inner as HandleInner, status};
pub(crate) use inbound::deliver;
pub(crate) use log::LOOK_BYTES_MAX;
pub use log::LogEntry;
pub use port::Applied;
pub(crate) use port::{ProposalPort, QueryPort, TypedPort, TypedQuery};
pub(crate) use route::{Condition, LeaderRoute, RoleRef, Route, RouteReceiver, RouteSender};
