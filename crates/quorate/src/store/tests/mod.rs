//! Tests that need the inside of the store. The cases every disk must pass are `quorate_testkit::store_suite`; real
//! files, bytes and the actor are tested in `crates/quorate/tests/store_*.rs`.

mod crash;
mod epochs;
mod lists;
mod newer;
mod preflight;
mod promises;
mod refusals;
mod room;
mod rules;
mod votes;

mod workload;
