//! The applier: stages 6 and 7 of 7, Applied and Replied; from the commit index to the caller.
//!
//! - `actor`: the actor.
//! - `job`: one turn of the machine on a worker thread.
//! - `since`: what was applied since the last snapshot.
//! - `waiters`: the ports of proposals that have an index.
//! - `work`: what a worker thread does with the machine.

pub(crate) mod actor;
mod job;
mod since;
mod waiters;
mod work;
