//! The runtime's actors through its public API: one binary for all of them.

mod answers;
mod log_store;
