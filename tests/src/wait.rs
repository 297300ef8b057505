//! Waiting for what must come, on a machine that may stall.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::Instant;

/// How long a test waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks.
const EVERY: Duration = Duration::from_millis(10);

/// Looks until there is an answer, in a test without a runtime; gives it and how long it took.
pub fn until<T>(
    what: &str,
    patience: Duration,
    mut look: impl FnMut() -> Option<T>,
) -> Result<(T, Duration)> {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return Ok((found, start.elapsed()));
        }
        if start.elapsed() > patience {
            bail!("waited {patience:?} for: {what}");
        }
        // No thread unparks it: a pause between two looks, so that looking does not take the processor from the nodes.
        std::thread::park_timeout(EVERY);
    }
}

/// Asks until there is an answer, for [`PATIENCE`] at most.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    let mut every = tokio::time::interval(EVERY);
    loop {
        every.tick().await;
        if let Some(answer) = ask().await {
            return Ok(answer);
        }
        if Instant::now() > deadline {
            bail!("waited {PATIENCE:?} for: {what}");
        }
    }
}
