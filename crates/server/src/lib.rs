//! What the binary `quorate` runs: a node with one group, [`GROUP`], whose [`machine::Store`] holds keys and counters,
//! and a REST API in front of it.
//!
//! - [`serve()`]: one node of a cluster, with its API. [`dev()`]: a whole cluster in one process.
//! - [`rest`]: the API: [`router()`] is what answers, [`openapi()`] its description, made from the handlers.
//! - [`machine`]: what is replicated.
//!
//! It decides nothing about consensus, and keeps nothing: a crash loses requests under way, whose callers then do not
//! know the outcome, and nothing else.

pub mod dev;
pub mod machine;
pub mod rest;
pub mod serve;

pub use dev::{DevOptions, RunningDev, dev};
pub use rest::{AppState, openapi, router};
pub use serve::{ApiOptions, Ended, Listed, Running, ServeError, ServeOptions, serve};

/// The group that the server runs.
pub const GROUP: &str = "main";
