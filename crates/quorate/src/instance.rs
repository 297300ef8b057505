//! Tells nodes and clients of one name in one process apart: ractor's registry is one per process.

use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};

static INSTANCES: AtomicU64 = AtomicU64::new(1);

/// `name` with a number that is unique in this process.
pub(crate) fn unique_name(name: impl Display) -> String {
    format!("{name}#{}", INSTANCES.fetch_add(1, Ordering::Relaxed))
}
