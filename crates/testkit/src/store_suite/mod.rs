//! The store suite: what a [`Disk`](quorate::store::Disk) must do so that the store above it keeps its promises.
//!
//! To test another disk, make a [`Storage`] for it and call [`run`]; ours runs it on fjall and on the simulated
//! disk. Nothing here damages anything: what damage does is tested where the promises are made.
//!
//! ```
//! use quorate::store::{Crash, Disk, SimDisk};
//! use quorate_testkit::store_suite::{self, Storage};
//!
//! struct Simulated(SimDisk);
//!
//! impl Storage for Simulated {
//!     fn disk(&mut self) -> Box<dyn Disk> {
//!         self.0 = SimDisk::from_image(self.0.crash(Crash::Lost));
//!         Box::new(self.0.clone())
//!     }
//! }
//!
//! store_suite::run(&mut || Box::new(Simulated(SimDisk::new())));
//! ```

mod cases;
mod disk;
mod groups;
mod log;
mod model;
mod script;
mod storage;

pub use self::cases::{CASES, Case, run};
pub use self::model::random_history;
pub use self::script::{Script, entries, founding, hard, options};
pub use self::storage::{Factory, Storage};
