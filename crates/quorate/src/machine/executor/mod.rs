//! Holds a machine, its sessions and their position, and steps them together: entry in, outcome out.
//!
//! Theory of operation. `apply` takes each entry once, in order. A command's session key is looked up first; only a new
//! one reaches the machine. The machine and the application's (de)serialisers run under `catch_unwind`: a panic while a
//! command is applied leaves a machine that may be half-changed, so it is dropped and the executor is *faulted* until it
//! is [restored](Executor::restore) or a snapshot from beyond that entry is [installed](Executor::install).
//!
//! `AssertUnwindSafe` is sound for `apply` because nothing that the closure could leave broken is used again. For a query
//! and a capture, which have `&self`, it rests on the contract that they change nothing; a machine with interior
//! mutability may break that, which no bound on `M` can rule out without forbidding caches. So such a panic is an error
//! to its caller and the machine goes on.
//!
//! - `apply`: the executor: one entry after the other.
//! - `image`: an executor as bytes.
//! - `restore`: out of those bytes, and into them.
//!
//! It never does: I/O, waiting, answering callers. It does not check the hash chain: entries are verified where they
//! arrive and where they are read.

mod apply;
mod error;
mod image;
mod restore;

pub use self::apply::{Executed, Execution, Executor, OnUnreadable};
pub(crate) use self::apply::{Ran, Taken, kept_reply, run_command, run_query};
pub use self::error::{ApplyError, CaptureError, Fault, QueryFailed};
pub use self::image::SnapshotZero;

#[cfg(test)]
mod tests;
