//! Is the runtime simulation worth anything? What `quorate_core::mutant` breaks in the runtime must be caught here, within the
//! number of seeds that stands here, and by the mutant: the seed that catches it passes without.
//!
//! `QUORATE_MUTANT=Name` runs one of them; `QUORATE_SEEDS` looks in so many seeds, which is how a bound is found.

use std::panic::{AssertUnwindSafe, catch_unwind};

use quorate_core::mutant::{Mutant, switch};

use super::run::run;
use super::{PANICS, quiet};

/// Several times what any of them took when this was written.
const SEEDS: u64 = 60;

/// How a seed fails: what a panic said, or that an actor panicked.
fn failure(seed: u64) -> Option<String> {
    PANICS.set(0);
    let end = catch_unwind(AssertUnwindSafe(|| run(seed, false)));
    let panicked = PANICS.replace(0) > 0;
    let said = end.err().map(|panic| panic.downcast_ref::<String>().cloned().unwrap_or_default());
    said.or_else(|| panicked.then(|| "an actor panicked that was not told to".to_owned()))
}

fn caught(mutant: Mutant, seeds: u64) -> Option<(u64, String)> {
    (0..seeds).find_map(|seed| {
        switch(Some(mutant));
        let said = failure(seed);
        switch(None);
        let said = said?;
        assert_eq!(failure(seed), None, "seed {seed} fails by itself");
        let line = said.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        Some((seed, line.chars().take(90).collect::<String>().replace('|', "/")))
    })
}

#[test]
fn every_mutant_of_the_runtime_is_caught() {
    quiet();
    let one = std::env::var("QUORATE_MUTANT").ok();
    let seeds = std::env::var("QUORATE_SEEDS").map_or(SEEDS, |seeds| seeds.parse().expect("a number"));
    let (mut killed, mut survivors) = (0, Vec::new());
    println!("\n| mutant | caught by | in these words |\n|---|---|---|");
    let mutants = Mutant::ALL.iter().filter(|mutant| mutant.is_of_runtime());
    for mutant in mutants.filter(|mutant| one.as_ref().is_none_or(|name| format!("{mutant:?}") == *name)) {
        match caught(*mutant, seeds) {
            Some((seed, said)) => {
                killed += 1;
                println!("| `{mutant:?}` | runtime simulation, seed {seed} of {seeds} | {said} |");
            }
            None => survivors.push(*mutant),
        }
    }
    println!("mutants of the runtime: caught={killed} survived={}", survivors.len());
    assert!(killed + survivors.len() > 0 || one.is_some(), "none was looked at");
    assert!(survivors.is_empty(), "nothing sees {survivors:?}");
}
