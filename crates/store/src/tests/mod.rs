//! All tests of the store, except the sweep of system calls: `kth_call.rs` beside this is the root of another binary, which shares
//! `workload` and `promises`. The cases that every disk must pass are `quorate_testkit::store_suite`; the actor is tested in
//! `crates/quorate/tests/quorate/log_store.rs`.

mod crash;
mod epochs;
mod files;
mod formats;
mod founding;
mod lists;
mod newer;
mod preflight;
mod promises;
mod refusals;
mod room;
mod rules;
mod snapshots;
mod space_lines;
mod votes;

mod workload;
