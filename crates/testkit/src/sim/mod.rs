//! Whole clusters in simulated time, on one thread, drawn from one seed.
//!
//! A [`Simulation`] runs real nodes: their actors, their bridge with its frames and timeouts, their log store. Below them
//! are a simulated network ([turmoil](https://docs.rs/turmoil)), [simulated disks](quorate::store::SimDisk) and a clock
//! that moves only when there is nothing left to do, so that a minute of elections takes a second. A script holds the
//! [`Cluster`]: it proposes and asks, partitions and heals, crashes and restarts, and asserts. **The same seed gives the
//! same run, event by event**, so a failure is run again by its seed alone.
//!
//! ```
//! use std::time::Duration;
//! use quorate::Consistency;
//! use quorate::machine::{Add, Counter, Total};
//! use quorate_testkit::sim::{GROUP, Simulation};
//!
//! let report = Simulation::new(1).nodes(3).run(Counter::default, async |cluster| {
//!     let old = cluster.wait_for_leader(GROUP, Duration::from_secs(10)).await;
//!     cluster.isolate(old);
//!     let new = cluster.wait_for_other_leader(GROUP, old, Duration::from_secs(10)).await;
//!     assert_eq!(cluster.propose(new, Add(5)).await.expect("a majority is left"), 5);
//!     cluster.heal();
//!     cluster.query(old, Total, Consistency::Linearizable).await.expect("it finds the new leader")
//! });
//! assert_eq!(report.value, 5);
//! ```
//!
//! It is not: a test of fjall, of real TCP, of threads (there is one), or of anything that asks the system for the time or
//! for chance. `docs/testkit.md` says more.

mod cluster;
mod faults;
mod host;
mod kernel;
mod life;
mod machine;
mod net;
mod pipe;
mod process;
mod seeds;
mod simulation;
mod threads;
mod trace;
mod world;

pub use cluster::{Cluster, MonotonicClock, NotDone, START_MAX};
pub use faults::{MachineCall, MachineFaults};
pub use host::NodeState;
pub use machine::FaultyMachine;
/// The only source of chance in a simulation: numbers that depend on a seed alone.
pub use quorate_core::SplitMix64 as Draw;
pub use seeds::seeds;
pub use simulation::{GROUP, Report, Simulation};
