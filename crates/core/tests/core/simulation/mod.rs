//! A deterministic, seeded simulation of a cluster: safety under attack, then liveness after everything heals.
//!
//! Every replica is the shipped role code; the network, the disks, the appliers, the callers and the attacks around it are
//! simulated in one queue of events in simulated time. All chance comes from the seed. After every step the [`invariants`]
//! hold or the run stops; then everything heals and the cluster must elect, commit new proposals on every node and answer
//! every read within a bound. Links, machines, disks and their space may be slow, narrow or full meanwhile ([`strain`]), and
//! in the last phase, in which nothing breaks, some of them are: then leadership must stay and callers be served ([`quiet`]).
//!
//! `QUORATE_SEED=n` runs that seed (with `QUORATE_TRACE=1` every event is printed), `QUORATE_SEEDS=n` asks for more
//! seeds than the few hundred of a normal run, `QUORATE_FIRST=n` begins at another one. `QUORATE_UNTIL_FAILURE=1` ends at the
//! first seed that fails and looks at nothing else: that is how `.ci/mutants` asks whether seeds catch a broken rule.

mod applier;
mod builds;
mod callers;
mod carrier;
mod clients;
mod closing;
mod cluster;
mod coverage;
mod founding;
mod healing;
mod invariants;
mod link;
mod machine;
mod members;
mod nemesis;
mod network;
mod options;
mod process;
mod quiet;
mod run;
mod snapshots;
mod storage;
mod strain;

use std::time::Duration;

use coverage::Coverage;
use nemesis::Attack;
use quiet::Quiet;
use run::run;

/// Events that a few hundred runs must have met, otherwise they prove little.
const SOMETIMES: [&str; 64] = [
    "TimeoutNow",
    "ReadIndexReply",
    "a machine is restored for a while",
    "a machine took an election timeout",
    "a queue that takes an election timeout",
    "a read of the log took an election timeout",
    "a sync took half an election timeout",
    "a write waited for a busy store",
    "all disks full",
    "conflict below memory",
    "change begun",
    "change ended",
    "change refused",
    "connection closed by the leader",
    "control displaced by newer control",
    "an old build is upgraded",
    "crash inside a step",
    "crash with unsynced entries",
    "elected",
    "elected before an election timeout",
    "entries for a machine read from disk",
    "entries for a machine that is restored",
    "entries for a peer read from disk",
    "entries of a newer kind at an old build",
    "entries refused by a full queue",
    "for good Cut",
    "for good Deaf",
    "for good Down",
    "for good Mute",
    "for good Stalled",
    "leader role reloaded",
    "leader with a stalled disk gave way",
    "log forgotten",
    "log replaced by a snapshot",
    "log read from disk",
    "machine made of a snapshot",
    "newer command at an old leader",
    "peer without space",
    "progress without a minority",
    "queries that take time",
    "recovered",
    "removed, and knows",
    "room at a majority again",
    "a membership from the log",
    "refused NoSpace",
    "refused NoSpaceAtPeers",
    "refused TooLarge",
    "refused Transferring",
    "refused Unapplied",
    "refused Uncommitted",
    "refused by a busy store",
    "seven voters",
    "snapshot damaged",
    "snapshot fetched",
    "snapshot offered",
    "snapshot published",
    "space at the mark",
    "suffix lost",
    "superseded",
    "the others need the slow one",
    "sync failed",
    "torn write",
    "transfer failed",
    "truncation",
];
/// What some of two thousand must have met, as many as `.ci/soak` runs at a time.
const RARELY: [&str; 4] = [
    "snapshot wanted of anyone",
    "for good Old",
    "snapshot looked for elsewhere",
    "told that it has no vote",
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
    let until_failure = std::env::var_os("QUORATE_UNTIL_FAILURE").is_some();
    let (mut coverage, mut events, mut acks, mut reads) = (Coverage::default(), 0, 0, 0);
    let mut simulated = Duration::ZERO;
    let mut failures: Vec<u64> = Vec::new();
    for seed in first..first + count {
        // Every seed is run, so that the summary shows whether a failure is rare.
        let Ok(report) = std::panic::catch_unwind(|| run(seed, false)) else {
            assert!(!until_failure, "seed {seed} failed, the first from {first} on");
            failures.push(seed);
            continue;
        };
        coverage.merge(&report.coverage);
        events += report.events;
        acks += report.acks;
        reads += report.reads;
        simulated += Duration::from_micros(report.simulated);
    }
    let (faults, hours) = (coverage.faults(), simulated.as_secs_f64() / 3_600.0);
    eprintln!(
        "core simulation: seeds={first}..{} failed={} simulated_hours={hours:.2} events={events} proposals={acks} \
         reads={reads} faults={faults}",
        first + count,
        failures.len()
    );
    eprintln!("{coverage}");
    let attacks = Attack::ALL
        .iter()
        .chain(&Attack::STRAINS)
        .chain(&Attack::OF_SNAPSHOTS)
        .map(|attack| format!("attack {attack:?}"));
    let quiet = Quiet::ALL.iter().chain(&Quiet::BUILDS).map(|quiet| format!("quiet {quiet:?}"));
    let sometimes = SOMETIMES.iter().map(ToString::to_string).chain(attacks).chain(quiet);
    let rarely = RARELY.iter().map(ToString::to_string).filter(|_| count >= 2_000);
    for what in sometimes.chain(rarely).filter(|_| count >= 300 && !until_failure) {
        assert!(coverage.of(&what) > 0, "no run of {count} met: {what}");
    }
    assert!(failures.is_empty(), "{} of {count} seeds failed: {failures:?}", failures.len());
}

#[test]
fn one_seed_is_one_run() {
    for seed in [1, 2, 3] {
        assert_eq!(run(seed, false).digest, run(seed, false).digest, "seed {seed} ran in two ways");
    }
}
