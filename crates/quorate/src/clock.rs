//! The only place that reads a clock or the system's randomness. Monotonic time is tokio's, so that a simulation can
//! hold it; the wall clock stamps entries and decides nothing, and a simulation gives its own.

use std::sync::Arc;

use quorate_core::Time;
use tokio::time::Instant;

/// Milliseconds since 1970, by whatever clock the node was given.
pub(crate) type WallClock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// A node's clocks: microseconds since the node started, and the wall's.
#[derive(Clone)]
pub(crate) struct Clock {
    origin: Instant,
    wall: Option<WallClock>,
}

impl Clock {
    /// `wall` in place of the system's, if given.
    pub(crate) fn start(wall: Option<WallClock>) -> Self {
        Self { origin: Instant::now(), wall }
    }

    pub(crate) fn now(&self) -> Time {
        Time(u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// Milliseconds since 1970; zero if that lies before.
    pub(crate) fn wall_ms(&self) -> u64 {
        self.wall.as_ref().map_or_else(system_wall_ms, |wall| wall())
    }
}

/// Milliseconds since 1970 by the system's clock, which may be wrong.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub fn system_wall_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |span| u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}

/// A number no one can guess the next of, from the system: seeds a node whose builder was given none.
pub(crate) fn entropy() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}
