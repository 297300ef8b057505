//! A node: one process's part of a cluster. Owns the data directory, the restart rules and one thread on which all of
//! its consensus actors run.
//!
//! - `error`, `spec`: why a node did not start, and its checked settings.
//! - `founding`: who the members are, by the list given or by the data directory.
//! - `admission`: which peers may connect.
//! - `owner`: what lives above the actors: the store, the bridge's tables, the groups.
//! - `open`: opens the data and binds the bridge.
//! - `actor`, `groups`: Node, the root supervisor, and how it opens a group.
//! - `restore`: a node of a new cluster, made of a snapshot file.
//! - `stop`: how everything is taken down in order.
//! - `lifetime`: the one task above the actors: start, restart of the root supervisor, end.
//! - `inspect`: which actors run, and how to hurt them.
//! - `handle`, `builder`: what an application holds, and how it gets it.

mod actor;
mod admission;
mod builder;
mod error;
mod founding;
mod groups;
mod handle;
mod inspect;
mod joiner;
mod lifetime;
mod open;
mod owner;
mod restore;
mod spec;
mod stop;

pub use builder::NodeBuilder;
pub use error::StartError;
pub use handle::Node;
pub use inspect::{ActorStatus, Injury};
pub use restore::{RestoreFailed, Restored};
