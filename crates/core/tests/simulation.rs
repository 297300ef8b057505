//! Seeded simulation of the core: safety under attack, then liveness after the healing.
//!
//! `QUORATE_SEED=n` runs that seed (with `QUORATE_TRACE=1` every event is printed), `QUORATE_SEEDS=n` asks for more
//! seeds than the few hundred of a normal run, `QUORATE_FIRST=n` begins at another one.

mod sim;

use sim::coverage::Coverage;
use sim::run::run;

/// What a few hundred runs must have met, or they prove little.
const SOMETIMES: [&str; 16] = [
    "TimeoutNow",
    "ReadIndexReply",
    "crash inside a step",
    "crash with unsynced entries",
    "conflict below memory",
    "leader role reloaded",
    "leader with a stalled disk gave way",
    "log read from disk",
    "peer without space",
    "recovered",
    "refused NoSpace",
    "refused Transferring",
    "suffix lost",
    "superseded",
    "transfer failed",
    "truncation",
];

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

#[test]
fn one_seed() {
    let Some(seed) = number("QUORATE_SEED") else { return };
    let report = run(seed, number("QUORATE_TRACE").is_some());
    eprintln!("{report:#?}");
}

#[test]
fn many_seeds_keep_every_invariant_and_make_progress() {
    if number("QUORATE_SEED").is_some() {
        return;
    }
    let (first, count) = (number("QUORATE_FIRST").unwrap_or(0), number("QUORATE_SEEDS").unwrap_or(300));
    let (mut coverage, mut events, mut acks, mut reads) = (Coverage::default(), 0, 0, 0);
    let mut failures: Vec<u64> = Vec::new();
    for seed in first..first + count {
        // Every seed is run, so that one look shows whether a fault is rare.
        let Ok(report) = std::panic::catch_unwind(|| run(seed, false)) else {
            failures.push(seed);
            continue;
        };
        coverage.merge(&report.coverage);
        events += report.events;
        acks += report.acks;
        reads += report.reads;
    }
    eprintln!("{count} seeds from {first}: {events} events, {acks} proposals acknowledged, {reads} reads");
    eprintln!("{:#?}", coverage.counts);
    for what in SOMETIMES.iter().filter(|_| count >= 300) {
        assert!(coverage.of(what) > 0, "no run of {count} met: {what}");
    }
    assert!(failures.is_empty(), "{} of {count} seeds failed: {failures:?}", failures.len());
}

#[test]
fn one_seed_is_one_run() {
    for seed in [1, 2, 3] {
        assert_eq!(run(seed, false).digest, run(seed, false).digest, "seed {seed} ran in two ways");
    }
}
