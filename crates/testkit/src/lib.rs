//! Test tools for quorate, and for your own state machines.
//!
//! - [`assert_deterministic`] and [`assert_snapshot_roundtrip`]: whether a machine keeps its contract.
//! - [`sim`]: whole clusters in simulated time, under partitions, crashes and bad disks, drawn from a seed.
//! - [`history`]: what concurrent clients saw, and whether it is linearizable.
//! - [`store_suite`]: what your own disk has to promise.
//!
//! `docs/testkit.md` says how they are used, and what they do not show.

mod contract;
pub mod history;
mod lock;
pub mod sim;
pub mod store_suite;

pub use contract::{assert_deterministic, assert_snapshot_roundtrip};
