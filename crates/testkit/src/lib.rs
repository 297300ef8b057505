//! Test tools for quorate.

pub mod history;
pub mod store_suite;
