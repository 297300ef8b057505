//! The exhaustive model check of the shipped role types (`stateright`): every order of deliveries, losses, duplicates,
//! timeouts, completed writes and crashes within the bounds of a [`Config`], with the invariants of the simulation.
//!
//! A state holds the real replica of each node, its disk and the messages in flight. Nothing is projected away except the
//! generator of election timeouts, which has no effect here ([`identity`]). It does not check liveness.
//!
//! A normal run checks over half a million distinct states, breadth first: everything near the start. `QUORATE_STATES=n cargo
//! test --release -p quorate-core --test core model:: -- --nocapture` then checks n more, depth first, in equal shares; what
//! one configuration does not have goes to the next. Small worlds are always searched exhaustively.
//! `QUORATE_MODEL='two logs'` makes the test `one_configuration` check that configuration alone, breadth first.

mod action;
mod check;
mod config;
mod configs;
mod history;
mod identity;
mod invariants;
mod network;
mod site;
mod start;
mod state;
mod step;

use std::time::Instant;

use check::{Summary, check};
use config::{Config, Search};

/// States of each configuration that a normal run expands; it generates about three times as many.
const EXPANDED: u64 = 25_000;
/// Distinct states that a normal run must have checked.
const UNIQUE_MIN: u64 = 500_000;

#[expect(clippy::disallowed_methods, reason = "says how long a check took; nothing depends on it")]
fn run(config: &Config) -> Summary {
    let began = Instant::now();
    let summary = check(config).unwrap_or_else(|violation| panic!("{violation}"));
    eprintln!("model check: {summary} seconds={:.1}", began.elapsed().as_secs_f64());
    summary
}

#[test]
fn no_reachable_state_breaks_an_invariant() {
    let mut summaries: Vec<Summary> = configs::all(Search::Breadth, EXPANDED).iter().map(run).collect();
    total("all", &summaries, UNIQUE_MIN);
    if let Some(asked) = asked() {
        let deep = in_depth(asked);
        total("all in depth", &deep, asked);
        summaries.extend(deep);
    }
    met(&summaries, |what| what != RECOVERS);
}

/// The configuration that `QUORATE_MODEL` names, limited to `QUORATE_STATES` expanded states (default: as in a normal run).
#[test]
fn one_configuration() {
    let Ok(name) = std::env::var("QUORATE_MODEL") else { return };
    let all = configs::all(Search::Breadth, asked().unwrap_or(EXPANDED));
    run(all.iter().find(|config| config.name == name).expect("the name of a configuration"));
}

/// Takes more steps than a breadth-first search of so many states reaches; [`configs::whole`] meets it.
const RECOVERS: &str = "who lost entries has them again";

/// Each situation that is `demanded` must have been met.
fn met(summaries: &[Summary], demanded: impl Fn(&str) -> bool) {
    for what in summaries[0].met.keys() {
        let met: u64 = summaries.iter().map(|s| s.met[what]).sum();
        eprintln!("model check: {what}: {met} times");
        assert!(met > 0 || !demanded(what), "no state in which {what}");
    }
}

/// The number of states that `QUORATE_STATES` asks for.
fn asked() -> Option<u64> {
    std::env::var("QUORATE_STATES").ok().map(|states| states.parse().expect("a number of states"))
}

/// A share that one configuration cannot use goes to those after it.
fn in_depth(mut left: u64) -> Vec<Summary> {
    let configs = configs::all(Search::Depth, 0);
    let mut summaries = Vec::new();
    for (at, config) in configs.iter().enumerate() {
        let states_max = left / (configs.len() - at) as u64;
        let summary = run(&Config { states_max, ..config.clone() });
        left = left.saturating_sub(summary.unique);
        summaries.push(summary);
    }
    summaries
}

fn total(what: &str, summaries: &[Summary], unique_min: u64) {
    let unique: u64 = summaries.iter().map(|s| s.unique).sum();
    let generated: u64 = summaries.iter().map(|s| s.generated).sum();
    eprintln!("model check: {what} unique={unique} generated={generated}");
    assert!(unique >= unique_min, "only {unique} states were looked at");
}

/// Every state within their bounds is reached: every order of every message, loss, crash and late timer.
#[test]
fn small_worlds_are_looked_at_whole() {
    let summaries: Vec<Summary> = configs::whole().iter().map(run).collect();
    for summary in &summaries {
        assert!(summary.complete && summary.unique > 4_000, "{summary}");
    }
    total("all whole", &summaries, 400_000);
    met(&summaries, |_| true);
}

#[test]
fn a_disk_that_forgets_is_found_out() {
    let violation = check(&configs::broken()).expect_err("what was acknowledged is gone");
    eprintln!("model check: found as it should be: {violation}");
    assert_eq!(violation.invariant, "leader completeness");
    assert!(!violation.steps.is_empty(), "it says how");
}
