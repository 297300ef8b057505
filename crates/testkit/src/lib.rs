//! Test tools for quorate.

pub mod store_suite;
