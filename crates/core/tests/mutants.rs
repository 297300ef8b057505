//! Are simulation and model check worth anything? Each rule that `quorate_core::mutant` breaks must be caught by what stands
//! here, within the number of seeds or states that stands here. A mutant that survives is a hole in the proof, not in the
//! product.
//!
//! `cargo test -p quorate-core --features mutants --test mutants -- --nocapture` prints the table of the report.
//! `QUORATE_MUTANT=Name` runs one of them; `QUORATE_SEEDS` looks in so many seeds, which is how a bound is found.

#![allow(dead_code, unused_imports, reason = "as a whole they are used by tests of their own")]
#![allow(clippy::duplicate_mod, reason = "the lab has the simulation's disk")]

mod lab;
mod model;
mod sim;

use bytes::Bytes;
use quorate_core::mutant::{Mutant, switch};
use quorate_core::{Durability, Entry, EntryKind, HardState, Hash, Index, Position, Sequence, Term, Time};

/// How many states the model check follows for a mutant.
const STATES_MAX: u64 = 60_000;

/// What must catch a mutant.
#[derive(Debug, Clone, Copy)]
enum By {
    /// The core simulation, within so many seeds from seed zero: several times what it took when this was written.
    Simulation(u64),
    /// The model check in this configuration: the simulation meets what it takes too rarely.
    Model(&'static str),
    /// A scenario made for it, because the simulation did not see it in thousands of seeds, nor the model within its
    /// bounds.
    Scenario(fn()),
}

fn by(mutant: Mutant) -> By {
    match mutant {
        Mutant::AppliedTwice
        | Mutant::SessionsIgnored
        | Mutant::QueryBeforeApplied
        | Mutant::WaiterByIndex
        | Mutant::UnknownToldRefused
        | Mutant::PermitLeak
        | Mutant::FailedWriteTold => unreachable!("the runtime simulation catches it"),
        Mutant::CommitOldTerm => By::Model("an old leader returned"),
        Mutant::ReadUnconfirmed | Mutant::ReadRoundReused => By::Model("two logs"),
        Mutant::AckOverTruncation => By::Scenario(a_late_completion),
        Mutant::RecoveryCountsAsker => By::Scenario(a_recovery_nobody_confirms),
        // They need two rare things at once: a late answer and a log that differs, or a fault that lasts to the end.
        Mutant::DuplicateVote
        | Mutant::LogsByLength
        | Mutant::VoteOfOldCampaign
        | Mutant::TransferForever
        | Mutant::HigherTermIgnored
        | Mutant::PausedForever
        | Mutant::NoCheckQuorum
        | Mutant::MembershipKept
        | Mutant::NotResent => By::Simulation(1_500),
        Mutant::VoteBeforeSync
        | Mutant::AckBeforeSync
        | Mutant::VoteForgotten
        | Mutant::VoteTwice
        | Mutant::VoteWithoutLog
        | Mutant::OwnVoteBeforeSync
        | Mutant::VoteOutlivesTerm
        | Mutant::HalfIsQuorum
        | Mutant::LearnerCounts
        | Mutant::LeaderBeforeSync
        | Mutant::CommitUnverified
        | Mutant::ApplyUndurable
        | Mutant::StaleAppendTruncates
        | Mutant::NoPrevCheck
        | Mutant::DurableOverTruncation
        | Mutant::FullDiskAcknowledges
        | Mutant::BootIgnored
        | Mutant::TermOfReplyIgnored
        | Mutant::RecoveringEndsEarly
        | Mutant::RecoveringVotes
        | Mutant::ReadBeforeOwnTerm
        | Mutant::ReadAfterStepDown
        | Mutant::NoNoop
        | Mutant::ApplySkips
        | Mutant::UncommittedLeak
        | Mutant::InFlightLeak
        | Mutant::LeaderOfOldTerm => By::Simulation(200),
    }
}

/// The completion of a write comes after a later one has replaced what it was for (`known-bugs.md` 34).
fn a_late_completion() {
    let mut last = Position::ORIGIN;
    let mut entries = |term: u64, count: usize, before: Position| -> Vec<Entry> {
        last = before;
        let next = |_| {
            let entry = Entry::follow(last, Term(term), 0, EntryKind::Noop, Bytes::new(), Hash::of(b""));
            last = entry.position();
            entry
        };
        (0..count).map(next).collect()
    };
    let old = entries(1, 3, Position::ORIGIN);
    let new = entries(2, 2, old[0].position());
    let (mut disk, now, hard) = (Durability::new(Index::ZERO), Time(0), HardState::default);
    disk.issue(now, hard(), false, None, old);
    disk.issue(now, hard(), false, Some(Index(2)), new);
    disk.complete(Sequence(1));
    assert_eq!(disk.durable(), Index(1), "of the first write only entry 1 still counts");
}

fn a_recovery_nobody_confirms() {
    let lab = lab::scenarios::recovering_without_a_majority();
    assert!(lab.state(1).hard_state().recovering, "n0 and n1 are no majority without n1");
}

/// What a panic says, in one line.
fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let said = panic.downcast_ref::<String>().cloned();
    let said =
        said.or_else(|| panic.downcast_ref::<&str>().map(|said| (*said).to_owned())).unwrap_or_default();
    let line: String = said.lines().next().unwrap_or_default().chars().take(90).collect();
    line.replace('|', "/")
}

fn by_simulation(seeds: u64) -> Option<(String, String)> {
    (0..seeds).find_map(|seed| {
        let panic = std::panic::catch_unwind(|| sim::run::run(seed, false)).err()?;
        // The same seed without the mutant: what caught it is the mutant and not the seed.
        switch(None);
        assert!(
            std::panic::catch_unwind(|| sim::run::run(seed, false)).is_ok(),
            "seed {seed} fails by itself"
        );
        Some((format!("core simulation, seed {seed} of {seeds}"), words(&*panic)))
    })
}

fn by_model(name: &str) -> Option<(String, String)> {
    let configs = model::configs::all(model::Search::Breadth, STATES_MAX);
    configs.iter().filter(|config| config.name == name).find_map(|config| {
        let violation = model::check(config).err()?;
        switch(None);
        assert!(model::check(config).is_ok(), "{:?} is violated without a mutant", config.name);
        let (states, steps) = (violation.unique, violation.steps.len());
        let place = format!("model check, {:?}, {states} states, {steps} steps", config.name);
        Some((place, violation.invariant.to_owned()))
    })
}

/// By what a mutant is caught, and in which words.
fn caught(mutant: Mutant, by: By) -> Option<(String, String)> {
    switch(Some(mutant));
    let found = match by {
        By::Simulation(seeds) => by_simulation(seeds),
        By::Model(name) => by_model(name),
        By::Scenario(scenario) => {
            std::panic::catch_unwind(scenario).err().map(|panic| ("a scenario".to_owned(), words(&*panic)))
        }
    };
    switch(None);
    found
}

#[test]
fn every_mutant_is_caught() {
    let one = std::env::var("QUORATE_MUTANT").ok();
    let asked = std::env::var("QUORATE_SEEDS").ok().map(|seeds| seeds.parse::<u64>().expect("a number"));
    let wanted = |mutant: &&Mutant| one.as_ref().is_none_or(|name| format!("{mutant:?}") == *name);
    // The scenarios hold for the code as it is.
    a_late_completion();
    a_recovery_nobody_confirms();
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let (mut killed, mut survivors) = (0, Vec::new());
    println!("\n| mutant | caught by | in these words |\n|---|---|---|");
    for mutant in Mutant::ALL.iter().filter(|mutant| !mutant.is_of_runtime()).filter(wanted) {
        match caught(*mutant, asked.map_or_else(|| by(*mutant), By::Simulation)) {
            Some((place, said)) => {
                killed += 1;
                println!("| `{mutant:?}` | {place} | {said} |");
            }
            None => survivors.push(*mutant),
        }
    }
    std::panic::set_hook(usual);
    println!("mutants: caught={killed} survived={}", survivors.len());
    assert!(survivors.is_empty(), "nothing sees {survivors:?}");
}
