//! All tests of the store but those in a process of their own (`tests/kth_call`). The cases every disk must pass are
//! `quorate_testkit::store_suite`; the actor is tested in `crates/quorate/tests/store_actor.rs`.

mod crash;
mod epochs;
mod files;
mod formats;
mod lists;
mod newer;
mod preflight;
mod promises;
mod refusals;
mod room;
mod rules;
mod votes;

mod workload;
