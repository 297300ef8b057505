//! Bugs that other engines shipped (`docs/known-bugs.md`), each shown not to be here.

mod compacted;
mod election;
mod log;
mod members;
mod reads;
mod removed;
mod snapshots;
