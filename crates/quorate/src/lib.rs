//! WIP.
pub mod machine;
