//! What the binary `quorate` runs: a node with one group, [`GROUP`], whose [`machine::DataMachine`] holds keys and counters,
//! and a REST API in front of it.
//!
//! - [`serve()`]: one node of a cluster, with its API. [`dev()`]: a whole cluster in one process.
//! - [`api`]: the REST API: [`router()`] is what answers, [`openapi()`] its description, made from the handlers.
//! - [`machine`]: what is replicated. [`http`]: the client of such an API. [`address`]: `host:port`. [`descriptors`]: the limit
//!   of open files.
//!
//! It decides nothing about consensus, and keeps nothing: a crash loses requests under way, whose callers then do not
//! know the outcome, and nothing else.

// They panic where nothing can be written.
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod address;
pub mod api;
pub mod descriptors;
pub mod dev;
pub mod http;
pub mod machine;
pub mod serve;

pub use address::Listed;
pub use api::{ApiOptions, AppState, openapi, router};
pub use dev::{DevOptions, RunningDev, dev};
pub use machine::GROUP;
pub use quorate::Restored;
pub use serve::{Ended, RestoreError, Running, ServeError, ServeOptions, Signals, restore, serve};
