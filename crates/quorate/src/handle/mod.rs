//! What an application holds of a group.
//!
//! - `group`: the handle: typed proposals and queries.
//! - `retry`: how a proposal or query finds its way, and is tried again.
//! - `facade`: an actor that stands for the group in the application's own tree.
//! - `log`: the log as people read it.
//! - `members`: who the members are, and changes of them.
//! - `status`: where the group stands on this node.
//! - `transfer`: leadership handed over on request.

pub(crate) mod facade;
pub(crate) mod group;
pub(crate) mod log;
pub(crate) mod members;
pub(crate) mod retry;
pub(crate) mod snapshot;
pub(crate) mod status;
pub(crate) mod transfer;
