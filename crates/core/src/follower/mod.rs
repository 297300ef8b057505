//! The follower: answers votes, appends what the leader sends, campaigns when it hears no leader.
//!
//! A learner is a follower that is no voter of the membership in force. A follower whose disk lost entries is
//! *Recovering*, one whose store is away is *Awaiting*, one that some founding member would not recognise is *Founding*, and one that the membership does not name is *Outside*
//! ([`Standing`](crate::Standing)); there is no further role, so the model check sees all of it.

mod append;
mod early;
mod reads;
mod recover;
mod role;
mod vote;

pub use role::{Follower, FollowerEvent};
