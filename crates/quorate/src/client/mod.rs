//! Speaks the bridge from outside a cluster: finds the leader, and retries under a client session.
//!
//! Theory of operation. A client dials every address it was given. The first node that answers tells it the members and their
//! addresses; it dials those, too, and asks again after a failure, so one address is enough and may be lost later. It asks
//! the node that answered last; if that node does not lead or cannot be reached, it asks the leader, if one is named, or
//! the next. Every proposal under way has a
//! client session of its own (`docs/safety.md` 12), taken from a pool, so a retry after *unknown* takes effect once. A
//! command that was unknown once stays unknown: a later refusal of it says nothing about the earlier attempt.
//!
//! It never: promises *refused* for what may yet happen, retries [`RemoteGroup::propose_without_session`] after *unknown*, keeps
//! anything on disk. A crash of the client loses its sessions; commands without an answer stay unknown.
//!
//! Bound: [`ClientOptions::in_flight_max`] calls of one client; above it, callers wait for their turn or deadline.
//!
//! - `connection`: the client: its links, and how it learns the members.
//! - `membership`: what a process that is to join asks.
//! - `nodes`: which nodes it knows, and whose turn it is.
//! - `one_cluster`: the cluster that it talks to, and no other.
//! - `session_pool`: the client sessions that are free.
//! - `calls`: how a proposal or query is tried on one node after the other.
//! - `remote_group`: the typed handle.

mod calls;
mod connection;
mod membership;
mod nodes;
mod one_cluster;
mod remote_group;
mod session_pool;

pub(crate) use calls::GroupCalls;
pub use connection::{Client, ClientError, ClientOptions};
pub use remote_group::RemoteGroup;
