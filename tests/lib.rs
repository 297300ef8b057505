//! What crosses crates is tested here; each file is one test binary. This library is what they share.

pub mod binary;
pub mod cluster;
pub mod servers;
pub mod skip;
pub mod wait;
