//! The whole runtime in simulated time: real actors, bridge and timers, simulated network and disks, clients that are
//! recorded. Safety under attack, then liveness after the mending; at the end histories are linearizable, machines alike,
//! additions counted once, permits back.
//!
//! `QUORATE_SEED=n` runs that seed (with `QUORATE_TRACE=1` every event is printed), `QUORATE_SEEDS=n` asks for more seeds
//! than those of a normal run, `QUORATE_FIRST=n` begins at another one. `QUORATE_UNTIL_FAILURE=1` ends at the first seed that
//! fails and looks at nothing else: that is how `.ci/mutants` asks whether seeds catch a broken rule.

mod attack;
mod clients;
mod coverage;
mod crowd;
mod groups;
mod harm_disk;
mod harm_machine;
mod harm_members;
mod nemesis;
mod observer;
mod options;
mod run;
mod sessions;
mod settled;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use attack::Attack;
use coverage::{Coverage, Met};
use options::{Options, Sabotage};
use quorate_testkit::sim::seeds;
use run::{run, run_with};

const REPLAY: &str = "cargo test -p quorate-testkit --test testkit -- --nocapture many_seeds";
/// Seeds of a normal run.
const SEEDS: u64 = 60;

/// What these must have met, or they prove little.
const SOMETIMES: &[&str] = &[
    "unknown",
    "refused",
    "replied read",
    "replied write",
    "replied cas",
    "replied delete",
    "replied outside",
    "unknown outside",
    "added after retries",
    "leadership handed over",
    "node stopped by its disk",
    "stopped inside a write",
    "unsynced Lost",
    "unsynced Kept",
    "unsynced Torn",
    "unsynced Mixed",
    "unsynced Process",
    "Kill applier",
    "refused as busy",
    "refused without space",
    "disk at the mark",
    "all disks at the mark",
    "entries read back from disk",
    "recovering after damage",
    "whole again after damage",
    "machine at one command for a second",
    "machine far behind",
    "log without its beginning",
    "machine down at an entry",
    "machine down at restore",
    "acknowledged beside a machine that is down",
    "process paused",
    "permits exhausted",
    "client of many without a place",
    "replied newer command",
    "newer command refused by an old leader",
    "replica stopped at a newer command",
    "more clients than are remembered",
    "command sent again is remembered",
    "command sent again, its session expired",
    "disk lost",
    "member: Replace",
    "member: Remove",
    "member: Demote",
    "member: Promote",
    "member: refused",
    "ten groups",
];

/// What so many runs as CI does may miss by chance: it is asked of more.
const SELDOM: &[&str] = &[
    "slow Query",
    "slow Apply",
    "slow Restore",
    "leader at one command for a second",
    "Panic leader",
    "Panic log-store",
    "Stop node",
    "quiet minute without an election",
];

/// So many.
const MANY_SEEDS: u64 = 300;

/// Every kind of actor that has a name was ended in the midst of things.
const ACTORS: [&str; 14] = [
    "applier",
    "bridge",
    "candidate",
    "follower",
    "group",
    "joiner",
    "leader",
    "link",
    "listener",
    "log-store",
    "node",
    "replicator",
    "session",
    "snapshotter",
];

fn is_set(name: &str) -> bool {
    std::env::var(name).is_ok()
}

thread_local! {
    /// Panics that no test ordered, of the simulation on this thread.
    static PANICS: Cell<u64> = const { Cell::new(0) };
}

/// Actors that are told to panic do so by the hundred. Any other panic is a bug, although it costs but its actor.
fn quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if panic.payload().downcast_ref::<&str>() != Some(&"told to panic") {
                PANICS.set(PANICS.get() + 1);
                loud(panic);
            }
        }));
    });
}

/// What some of the seeds have shown.
#[derive(Default)]
struct Sum {
    met: Met,
    simulated: Duration,
    checked: usize,
    added: i64,
    outcomes: [usize; 3],
    digest: u64,
    failures: Vec<u64>,
}

/// Per cent.
fn share(outcomes: [usize; 3], which: usize) -> usize {
    100 * outcomes[which] / outcomes.iter().sum::<usize>().max(1)
}

fn add(sum: &mut [usize; 3], more: [usize; 3]) {
    sum.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
}

/// Runs seeds as long as `next` is below `end`. Every seed is run, so that one look shows whether a fault is rare; unless
/// one failure is all that is asked for.
fn run_some(next: &AtomicU64, end: u64) -> Sum {
    let until_failure = is_set("QUORATE_UNTIL_FAILURE");
    let keep = is_set("QUORATE_SEED") && is_set("QUORATE_TRACE");
    let (coverage, mut sum) = (Coverage::default(), Sum::default());
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end {
            break;
        }
        let report = catch_unwind(AssertUnwindSafe(|| run(seed, keep)));
        let Some(report) = report.ok().filter(|_| PANICS.replace(0) == 0) else {
            PANICS.set(0);
            eprintln!("seed {seed} failed, or an actor panicked that was not told to");
            sum.failures.push(seed);
            if until_failure {
                next.store(end, Ordering::Relaxed);
            }
            continue;
        };
        report.trace.iter().for_each(|line| eprintln!("{line}"));
        coverage.merge(report.value.coverage.met());
        sum.simulated += report.simulated;
        sum.digest ^= report.digest.rotate_left((seed % 64) as u32);
        sum.checked += report.value.checked;
        sum.added += report.value.added;
        add(&mut sum.outcomes, report.value.outcomes);
    }
    Sum { met: coverage.met(), ..sum }
}

/// A simulation is one thread; each core has one.
#[test]
fn many_seeds_are_linearizable_and_make_progress() {
    quiet();
    let seeds = seeds(SEEDS);
    let until_failure = is_set("QUORATE_UNTIL_FAILURE");
    let (coverage, mut simulated, mut checked, mut added) = (Coverage::default(), Duration::ZERO, 0, 0);
    let mut outcomes = [0; 3];
    let mut failures: Vec<u64> = Vec::new();
    let mut digest = 0;
    let next = AtomicU64::new(seeds.start);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let sums: Vec<Sum> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(|| run_some(&next, seeds.end))).collect();
        running.into_iter().map(|thread| thread.join().expect("panics of a run are caught")).collect()
    });
    for sum in sums {
        coverage.merge(sum.met);
        simulated += sum.simulated;
        digest ^= sum.digest;
        checked += sum.checked;
        added += sum.added;
        add(&mut outcomes, sum.outcomes);
        failures.extend(sum.failures);
    }
    failures.sort_unstable();
    let (count, first) = (seeds.end - seeds.start, seeds.start);
    println!(
        "runtime simulation: {count} seeds from {first}, {} simulated s, {checked} operations checked, \
         of all {} % replied to, {} % unknown, {} % refused, {added} additions counted, {}{} attacks, {} failures, digest {digest:016x}; {}",
        simulated.as_secs(),
        share(outcomes, 0),
        share(outcomes, 1),
        share(outcomes, 2),
        coverage.longest(),
        coverage.attacks(),
        failures.len(),
        coverage.line()
    );
    let attacks = Attack::ALL.iter().map(|attack| format!("attack {attack:?}"));
    for what in
        SOMETIMES.iter().map(ToString::to_string).chain(attacks).filter(|_| count >= SEEDS && !until_failure)
    {
        assert!(coverage.of(&what) > 0, "no run of {count} met: {what}");
    }
    for what in SELDOM.iter().filter(|_| count >= MANY_SEEDS && !until_failure) {
        assert!(coverage.of(what) > 0, "no run of {count} met: {what}");
    }
    for actor in ACTORS.iter().filter(|_| count >= SEEDS && !until_failure) {
        let ended = ["Panic", "Kill", "Stop"].map(|how| coverage.of(&format!("{how} {actor}")));
        assert!(ended.iter().sum::<u64>() > 0, "no run of {count} ended the {actor}");
    }
    assert!(failures.is_empty(), "{} of {count} seeds failed: {failures:?}", failures.len());
}

#[test]
fn one_seed_is_one_run() {
    if is_set("QUORATE_SEED") {
        return;
    }
    quiet();
    for seed in [3, 4, 7] {
        let (first, again) = (run(seed, true), run(seed, true));
        for (at, (a, b)) in first.trace.iter().zip(&again.trace).enumerate() {
            assert_eq!(a, b, "seed {seed} ran in two ways from event {at} on");
        }
        assert_eq!((first.events, first.digest), (again.events, again.digest), "seed {seed} ran in two ways");
    }
}

/// Runs seeds with faulty clients until a check fails; returns its message.
fn caught(sabotage: Sabotage) -> String {
    quiet();
    let failure = (0..20).find_map(|seed| {
        let options = Options { sabotage: Some(sabotage), nodes: 3, ..Options::draw(seed) };
        catch_unwind(AssertUnwindSafe(|| run_with(seed, options, false))).err()
    });
    let panic = failure.unwrap_or_else(|| panic!("{sabotage:?} was caught by no seed of twenty"));
    panic.downcast_ref::<String>().cloned().expect("a message")
}

#[test]
fn stale_reads_are_caught() {
    if !is_set("QUORATE_SEED") {
        let said = caught(Sabotage::StaleReads);
        assert!(said.contains("linearizable"), "{said}");
    }
}

#[test]
fn retries_without_a_key_are_caught() {
    if !is_set("QUORATE_SEED") {
        let said = caught(Sabotage::KeylessRetries);
        assert!(said.contains("counts once"), "{said}");
    }
}
