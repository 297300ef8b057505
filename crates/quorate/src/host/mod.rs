//! What hosts a group's state machine: known to whatever opens a group, and to the applier that lends the machine out.
//!
//! - `machine`: the state machine behind `dyn`, and the reply to its proposer.
//! - `held`: the replies of a job that have not left yet.
//! - `workers`: the threads on which machines run.

pub(crate) mod held;
pub(crate) mod machine;
pub(crate) mod workers;
