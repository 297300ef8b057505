//! `quorate bench`: a closed loop of clients against a running cluster. Each client has one request under way at a time
//! and sends the next when it is answered, so the rate is what the cluster gives, and the latency what one client sees.
//!
//! What it is not: an open loop. A stall shows as few slow requests, not as all that would have come meanwhile.

mod bridge;
mod clean;
mod measure;
mod report;
mod rest;
mod workload;

pub(crate) use self::measure::run;
