//! One Raft group on one node: the switchboard that its messages go through, and the supervisor of its role and applier.
//!
//! - `door`: what the bridge delivers for the group.
//! - `completion`: what the log store completed for it.
//! - `faults`: which nodes' machines faulted.
//! - `state`: what the actor owns, and the route it publishes.
//! - `leader_log`: what the log says of roles and leaders.
//! - `log_lines`: its lines.
//! - `roles`, `appliers`, `snapshots`: how the role, the applier and the snapshotter are started, lost and restarted.
//! - `actor`: the actor.

pub(crate) mod actor;
mod appliers;
mod completion;
pub(crate) mod door;
mod faults;
mod leader_log;
mod log_lines;
mod roles;
mod snapshots;
pub(crate) mod state;
