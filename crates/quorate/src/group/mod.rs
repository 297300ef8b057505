//! One Raft group on one node: the switchboard that its messages go through, and the supervisor of its role and applier.
//!
//! - `door`: what the bridge delivers for the group.
//! - `completion`: what the log store completed for it.
//! - `faults`: which nodes' machines faulted.
//! - `state`: what the actor owns, and the route it publishes.
//! - `leader_log`: what the log says of roles and leaders.
//! - `log_lines`: its lines.
//! - `roles`, `appliers`: how the role and the applier are started, lost and restarted.
//! - `actor`: the actor.

pub(crate) mod actor;
mod appliers;
mod completion;
pub(crate) mod door;
mod faults;
mod leader_log;
mod log_lines;
mod roles;
pub(crate) mod state;
