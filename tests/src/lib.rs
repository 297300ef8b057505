//! What the tests that cross crates share. The binaries are `in_process` (nodes inside the test), `processes` (the real binary)
//! and `meta` (code and pages beside each other).

pub mod cluster;
pub mod cuts;
pub mod files;
pub mod servers;
pub mod skip;
pub mod wait;
