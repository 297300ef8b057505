//! Which seeds a test runs, and how a failing one is run again.

use super::trace::Trace;

/// The seeds that a test runs: `count` of them from zero, unless the environment says otherwise. `QUORATE_SEED=n` is that
/// one alone, `QUORATE_SEEDS=n` asks for more or fewer, `QUORATE_FIRST=n` begins at another one.
///
/// # Panics
///
/// If one of these is set and no number.
pub fn seeds(count: u64) -> std::ops::Range<u64> {
    if let Some(seed) = number("QUORATE_SEED") {
        return seed..seed + 1;
    }
    let first = number("QUORATE_FIRST").unwrap_or(0);
    first..first + number("QUORATE_SEEDS").unwrap_or(count)
}

fn number(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is {value:?}, it must be a number")))
}

/// Says, whatever panicked, how to see it again; and shows the trace, if it was kept.
#[derive(Debug)]
pub(super) struct Replay {
    pub(super) seed: u64,
    pub(super) command: String,
    pub(super) trace: Trace,
}

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { seed, command, trace } = self;
            trace.take_lines().iter().for_each(|line| eprintln!("{line}"));
            eprintln!("\nsimulation of seed {seed} failed, replay: QUORATE_SEED={seed} {command}\n");
        }
    }
}
