//! Runs a check and reports its result.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use quorate_core::{Entry, EntryKind, Membership, Term};
use stateright::{Checker, Model, Property};

use super::action::{Action, actions};
use super::config::{Config, Search};
use super::state::State;
use super::{start, step};
use crate::world::{self, Broken};

/// A situation that a check must have met; a check that met few of them proves little.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Sight {
    LaterLeader,
    CommandCommits,
    OldTermCommits,
    Truncation,
    ReadAnswered,
    Duplicate,
    TornCrash,
    Recovered,
    ForcedVote,
    MemberRemoved,
}

impl Sight {
    const ALL: [(Self, &str); 10] = [
        (Self::LaterLeader, "a leader in a later term"),
        (Self::CommandCommits, "a command commits"),
        (Self::OldTermCommits, "an entry of an earlier term commits"),
        (Self::Truncation, "a conflict truncates"),
        (Self::ReadAnswered, "a read is answered"),
        (Self::Duplicate, "a message arrives twice"),
        (Self::TornCrash, "a crash keeps a part of a write"),
        (Self::Recovered, "who lost entries has them again"),
        (Self::ForcedVote, "a vote is asked for on a leader's word"),
        (Self::MemberRemoved, "a membership without a member is in force"),
    ];
}

/// How often each situation was met.
#[derive(Debug, Default)]
pub(crate) struct Met([AtomicU64; Sight::ALL.len()]);

impl Met {
    pub(crate) fn saw(&self, sight: Sight, times: u64) {
        self.0[sight as usize].fetch_add(times, Relaxed);
    }

    pub(crate) fn leader(&self, term: Term) {
        self.saw(Sight::LaterLeader, u64::from(term.0 > 1));
    }

    pub(crate) fn committed<'a>(&self, entries: impl Iterator<Item = &'a Entry>) {
        let entries: Vec<&Entry> = entries.collect();
        let commands = entries.iter().filter(|entry| entry.kind == EntryKind::Command).count();
        self.saw(Sight::CommandCommits, commands as u64);
        let terms = entries.first().zip(entries.last()).is_some_and(|(first, last)| first.term < last.term);
        self.saw(Sight::OldTermCommits, u64::from(terms));
    }

    fn counts(&self) -> BTreeMap<&'static str, u64> {
        Sight::ALL.iter().map(|(sight, name)| (*name, self.0[*sight as usize].load(Relaxed))).collect()
    }
}

/// The result of a check that found nothing wrong.
#[derive(Debug, Clone)]
pub(crate) struct Summary {
    pub(crate) config: &'static str,
    /// Distinct states generated; the invariants were checked in each.
    pub(crate) unique: u64,
    /// States generated, repeats included.
    pub(crate) generated: u64,
    pub(crate) depth: u64,
    /// Every state within the bounds was reached.
    pub(crate) complete: bool,
    pub(crate) met: BTreeMap<&'static str, u64>,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "configuration={:?} unique={} generated={} depth={} complete={}",
            self.config, self.unique, self.generated, self.depth, self.complete
        )
    }
}

/// A violated invariant, with the steps that lead there.
#[derive(Debug, Clone)]
pub(crate) struct Violation {
    pub(crate) config: &'static str,
    pub(crate) invariant: &'static str,
    pub(crate) what: String,
    pub(crate) steps: Vec<String>,
    /// Distinct states generated before it was found.
    pub(crate) unique: u64,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (config, unique, count) = (self.config, self.unique, self.steps.len());
        writeln!(f, "{}: {}", self.invariant, self.what)?;
        writeln!(f, "in configuration {config:?}, after {unique} states, by {count} steps:")?;
        self.steps.iter().enumerate().try_for_each(|(at, step)| writeln!(f, "{:>4} {step}", at + 1))
    }
}

/// Checks every state within the bounds, until `states_max` of them are expanded or an invariant is violated. It starts
/// `config.threads` threads for that and waits for them.
pub(crate) fn check(config: &Config) -> Result<Summary, Box<Violation>> {
    let shared = Arc::new(Shared::default());
    let world = World {
        founding: world::founding(config.voters, 0),
        config: config.clone(),
        shared: Arc::clone(&shared),
    };
    let checker = world.checker().threads(config.threads);
    match config.search {
        Search::Breadth => verdict(config, &shared, &checker.spawn_bfs().join()),
        Search::Depth => verdict(config, &shared, &checker.spawn_dfs().join()),
    }
}

const HOLDS: &str = "every invariant holds";

fn verdict(
    config: &Config,
    shared: &Shared,
    checker: &impl Checker<World>,
) -> Result<Summary, Box<Violation>> {
    let unique = checker.unique_state_count() as u64;
    shared.replays.store(true, Relaxed);
    if let Some(path) = checker.discovery(HOLDS) {
        let broken = path.last_state().broken.clone().expect("only what is broken is a counterexample");
        let steps = path.into_actions().iter().map(ToString::to_string).collect();
        let Broken { invariant, what } = (*broken).clone();
        return Err(Box::new(Violation { config: config.name, invariant, what, steps, unique }));
    }
    let expanded = shared.expanded.load(Relaxed);
    Ok(Summary {
        config: config.name,
        unique,
        generated: checker.state_count() as u64,
        depth: checker.max_depth() as u64,
        complete: expanded == unique,
        met: shared.met.counts(),
    })
}

#[derive(Debug, Default)]
struct Shared {
    met: Met,
    expanded: AtomicU64,
    /// An invariant is violated: no further state is expanded.
    found: AtomicBool,
    /// The search has ended, and the steps to the violation are being replayed.
    replays: AtomicBool,
}

#[derive(Debug)]
struct World {
    config: Config,
    founding: Membership,
    shared: Arc<Shared>,
}

impl Model for World {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![start::state(&self.config, &self.founding)]
    }

    fn actions(&self, state: &State, out: &mut Vec<Action>) {
        let shared = &self.shared;
        if shared.replays.load(Relaxed) {
            actions(&self.config, state, out);
            return;
        }
        let enough = shared.expanded.load(Relaxed) >= self.config.states_max;
        if !enough && !shared.found.load(Relaxed) && state.broken.is_none() {
            shared.expanded.fetch_add(1, Relaxed);
            actions(&self.config, state, out);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let next = step::after(&self.config, &self.founding, &self.shared.met, last, &action);
        if next.broken.is_some() {
            self.shared.found.store(true, Relaxed);
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always(HOLDS, |_, state: &State| state.broken.is_none())]
    }

    fn within_boundary(&self, state: &State) -> bool {
        state.sites.iter().all(|site| site.state().term().0 <= self.config.terms_max)
    }
}
