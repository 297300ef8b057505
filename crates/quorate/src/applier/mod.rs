//! The applier: stages 6 and 7 of 7, Applied and Replied; from the commit index to the caller.
//!
//! - `actor`: the actor.
//! - `held`: the replies of a job that have not left yet.
//! - `host`: the state machine behind `dyn`, and the reply to its proposer.
//! - `job`: one turn of the machine on a worker thread.
//! - `waiters`: the ports of proposals that have an index.
//! - `work`: what a worker thread does with the machine.
//! - `workers`: the threads on which machines run.

pub(crate) mod actor;
pub(crate) mod held;
pub(crate) mod host;
pub(crate) mod job;
mod waiters;
mod work;
pub(crate) mod workers;
