//! Our checker of linearizability against porcupine-rs, which shares no line with it: the verdicts must be the same on
//! every history. The checker is taken in by its sources, so that nothing else of the workspace has to be built.
//!
//! porcupine-rs knows neither unknown nor refused: a refused operation is left out, and one of unknown outcome is given
//! an end after all others and a step that fits every state. Last of all, it is as if it had never been.

#![allow(dead_code, unused_imports, reason = "the checker's sources have more than the comparison needs")]

#[path = "../../src/history/mod.rs"]
mod history;
// The generators say `quorate_testkit::history`, as any user would.
extern crate self as quorate_testkit;
#[path = "../../tests/testkit/histories/mod.rs"]
mod histories;

use std::process::ExitCode;

use histories::{Random, any_history, concurrent_history, register_history};
use history::{Budget, Call, Ended, History, Reply, Value, check};
use porcupine_rs::{Model, check_operations};

#[derive(Clone, Debug)]
struct Register;

impl Model for Register {
    type State = Option<Value>;
    type Op = (Call, Option<Reply>);
    type Metadata = ();

    fn init() -> Option<Value> {
        None
    }

    fn step(holds: &Option<Value>, (call, said): &(Call, Option<Reply>)) -> (bool, Option<Value>) {
        let (reply, after) = histories::run(*holds, *call);
        (said.is_none_or(|said| said == reply), after)
    }
}

fn by_porcupine(history: &History) -> bool {
    let mut keys: Vec<&str> = history.operations.iter().map(|one| one.key.as_str()).collect();
    keys.sort_unstable();
    keys.dedup();
    let last = i64::MAX;
    keys.into_iter().all(|key| {
        let operations = history.operations.iter().filter(|one| one.key == key).filter_map(|one| {
            let (return_time, reply) = match one.ended {
                Ended::Replied { at, reply } => (at as i64, Some(reply)),
                Ended::Unknown => (last, None),
                Ended::Refused => return None,
            };
            Some(porcupine_rs::Operation::<Register> {
                client_id: Some(one.client),
                call_time: one.start as i64,
                return_time,
                op: (one.call, reply),
                metadata: None,
            })
        });
        check_operations(&operations.collect::<Vec<_>>())
    })
}

#[derive(Debug, Default)]
struct Counts {
    good: u64,
    bad: u64,
    disagreements: u64,
}

fn compare(name: &str, seeds: impl Iterator<Item = u64>, history: impl Fn(&mut Random) -> History) -> Counts {
    let mut counts = Counts::default();
    for seed in seeds {
        let history = history(&mut Random(seed));
        let (ours, theirs) = (check(&history, Budget::default()), by_porcupine(&history));
        *if theirs { &mut counts.good } else { &mut counts.bad } += 1;
        if ours.is_ok() != theirs {
            counts.disagreements += 1;
            println!("{name}, seed {seed}: porcupine-rs says {theirs}, we say {ours:?}");
            println!(
                "  replay: QUORATE_SEED={seed} cargo run --manifest-path crates/testkit/compare/Cargo.toml"
            );
        }
    }
    println!("{name}: {} good, {} bad", counts.good, counts.bad);
    counts
}

fn main() -> ExitCode {
    let setting = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
    let (first, seeds) = match setting("QUORATE_SEED") {
        Some(seed) => (seed, 1),
        None => (setting("QUORATE_FIRST").unwrap_or(1), setting("QUORATE_SEEDS").unwrap_or(4_000)),
    };
    let kinds: [(&str, fn(&mut Random) -> History); 3] = [
        ("any operations", any_history),
        ("one register", register_history),
        ("clients of several registers", concurrent_history),
    ];
    let all = kinds.map(|(name, history)| compare(name, first..first + seeds, history));
    let sum = |of: fn(&Counts) -> u64| all.iter().map(of).sum::<u64>();
    let (good, bad, disagreements) = (sum(|all| all.good), sum(|all| all.bad), sum(|all| all.disagreements));
    println!(
        "linearizability: {} histories compared with porcupine-rs, {good} good, {bad} bad, {disagreements} disagreements",
        good + bad
    );
    // Both must occur often in each kind, or nothing was compared.
    let one_sided = seeds >= 1_000 && all.iter().any(|all| all.good.min(all.bad) < seeds / 10);
    if one_sided {
        println!("one verdict is too rare to compare: {all:?}");
    }
    if disagreements > 0 || one_sided { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
