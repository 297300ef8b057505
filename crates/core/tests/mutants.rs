//! Is the simulation worth anything? Each rule that `quorate_core::mutant` breaks must be caught by it, within the number
//! of seeds that stands here. A mutant that survives is a hole in the simulation, not in the product.
//!
//! `cargo test -p quorate-core --features mutants --test mutants -- --nocapture` prints the table of the report.
//! `QUORATE_MUTANT=Name` runs one of them; `QUORATE_SEEDS` looks further, which is how a bound is found.

#![allow(dead_code, reason = "the simulation as a whole is used by tests/simulation.rs")]

mod sim;

use quorate_core::mutant::{Mutant, switch};

/// Within how many seeds, from seed zero, it must be caught. Several times what it took when this was written.
fn seeds_max(mutant: Mutant) -> u64 {
    match mutant {
        // They need two rare things at once: a late answer and a log that differs, or a fault that lasts to the end.
        Mutant::DuplicateVote
        | Mutant::LogsByLength
        | Mutant::TransferForever
        | Mutant::HigherTermIgnored
        | Mutant::TermOfReplyIgnored => 1_500,
        Mutant::VoteBeforeSync
        | Mutant::AckBeforeSync
        | Mutant::VoteForgotten
        | Mutant::VoteTwice
        | Mutant::VoteWithoutLog
        | Mutant::VoteOfOldCampaign
        | Mutant::OwnVoteBeforeSync
        | Mutant::VoteOutlivesTerm
        | Mutant::HalfIsQuorum
        | Mutant::LearnerCounts
        | Mutant::CommitOldTerm
        | Mutant::LeaderBeforeSync
        | Mutant::CommitUnverified
        | Mutant::ApplyUndurable
        | Mutant::StaleAppendTruncates
        | Mutant::NoPrevCheck
        | Mutant::DurableOverTruncation
        | Mutant::AckOverTruncation
        | Mutant::FullDiskAcknowledges
        | Mutant::BootIgnored
        | Mutant::RecoveringEndsEarly
        | Mutant::RecoveringVotes
        | Mutant::RecoveryCountsAsker
        | Mutant::ReadUnconfirmed
        | Mutant::ReadRoundReused
        | Mutant::ReadBeforeOwnTerm
        | Mutant::ReadAfterStepDown
        | Mutant::NoNoop
        | Mutant::AppliedTwice
        | Mutant::NotResent
        | Mutant::UncommittedLeak
        | Mutant::InFlightLeak
        | Mutant::PausedForever
        | Mutant::LeaderOfOldTerm
        | Mutant::NoCheckQuorum => 300,
    }
}

/// The first seed at which a mutant is caught, and by which words.
fn caught(mutant: Mutant, seeds: u64) -> Option<(u64, String)> {
    switch(Some(mutant));
    let first = (0..seeds).find_map(|seed| {
        let panic = std::panic::catch_unwind(|| sim::run::run(seed, false)).err()?;
        let said = panic.downcast_ref::<String>().cloned();
        let said = said.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_default();
        Some((seed, said.lines().next().unwrap_or_default().chars().take(90).collect()))
    });
    switch(None);
    first
}

#[test]
fn every_mutant_is_caught() {
    let one = std::env::var("QUORATE_MUTANT").ok();
    let asked = std::env::var("QUORATE_SEEDS").ok().map(|seeds| seeds.parse::<u64>().expect("a number"));
    let wanted = |mutant: &&Mutant| one.as_ref().is_none_or(|name| format!("{mutant:?}") == *name);
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let (mut killed, mut survivors) = (0, Vec::new());
    println!("| mutant | caught at seed | of at most | in these words |\n|---|---|---|---|");
    for mutant in Mutant::ALL.iter().filter(wanted) {
        let seeds = asked.unwrap_or(seeds_max(*mutant));
        match caught(*mutant, seeds) {
            Some((seed, said)) => {
                killed += 1;
                println!("| `{mutant:?}` | {seed} | {seeds} | {} |", said.replace('|', "/"));
            }
            None => survivors.push(*mutant),
        }
    }
    std::panic::set_hook(usual);
    println!("mutants: {killed} caught by the core simulation, {} survived", survivors.len());
    assert!(survivors.is_empty(), "the simulation does not see {survivors:?}");
}
