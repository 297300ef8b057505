//! The roles as actors: thin shells around `quorate_core`. A message becomes an event, the step's effects become
//! casts; no decision of the protocol is taken here.
//!
//! **A role is an actor, and a change of role is a change of actor.** The role that ends gives its state to Group by
//! value and stays until its mailbox is empty, passing on what still arrives; Group starts the next role with that
//! state. A role that *panics* is a Raft node that restarted: Group reloads what is on disk under a new epoch
//! (`docs/safety.md` 9).

mod context;
mod leader;
mod replicator;
mod runner;
mod timer;
mod waiting;

pub(crate) use context::{GroupContext, StoreRoute};
pub(crate) use leader::{LeaderActor, LeaderMessage, Submission};
pub(crate) use replicator::ReplicatorMessage;
pub(crate) use runner::{Ended, RoleStart};
pub use runner::{MemberStatus, RoleStatus};
pub(crate) use waiting::{CandidateActor, FollowerActor, RoleMessage};
