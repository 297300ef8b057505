//! The roles as actors: thin shells around `quorate_core`. A message becomes an event, the step's effects become
//! casts; no decision of the protocol is taken here.
//!
//! **A role is an actor, and a change of role is a change of actor.** The role that ends gives its state to Group by
//! value and stays until its mailbox is empty, passing on what still arrives; Group starts the next role with that
//! state. A role that *panics* is a Raft node that restarted: Group reloads what is on disk under a new epoch
//! (`docs/safety.md` 9).
//!
//! - `start`: starts the role actors. It and `codec` are the two places that know which protocol a group runs.
//! - `codec`: their messages as bytes.
//! - `leader`, `waiting` (follower and candidate), `replicator`: the actors.
//! - `members`, `joiners`: what a leader does about calls concerning the members, and about processes that ask to be taken in.
//! - `runner`: what the roles have in common.
//! - `outbound`: their messages to peers.
//! - `timer`: one timer per actor.

pub(crate) mod codec;
mod joiners;
mod leader;
mod members;
mod outbound;
mod replicator;
mod runner;
pub(crate) mod start;
mod timer;
mod waiting;
