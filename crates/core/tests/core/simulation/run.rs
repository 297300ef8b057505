//! One run of one seed: the safety phase, then the liveness phase.

use std::fmt::Write as _;

use quorate_core::{Entry, Index, ReplicaState, Standing};

use super::clients::Read;
use super::cluster::Cluster;
use super::coverage::Coverage;
use super::options::Options;
use super::process::Process;

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) coverage: Coverage,
    pub(crate) digest: u64,
    pub(crate) events: u64,
    pub(crate) acks: u64,
    pub(crate) reads: u64,
    /// How much time passed in it, in microseconds.
    pub(crate) simulated: u64,
}

/// Says how to see a failure again, whatever panicked.
struct Replay<'a> {
    seed: u64,
    options: &'a Options,
}

impl Drop for Replay<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let seed = self.seed;
            if std::env::var("QUORATE_SEED").is_ok() {
                eprintln!("\nseed {seed} failed; its options were {:#?}", self.options);
            }
            eprintln!(
                "seed {seed} failed, replay: QUORATE_SEED={seed} cargo test -p quorate-core --test core -- --nocapture simulation::one_seed\n"
            );
        }
    }
}

/// Runs a seed to its end.
pub(crate) fn run(seed: u64, verbose: bool) -> Report {
    let options = Options::draw(seed);
    run_with(seed, options, verbose)
}

/// Runs a seed with these options in place of those it draws.
pub(crate) fn run_with(seed: u64, options: Options, verbose: bool) -> Report {
    let _replay = Replay { seed, options: &options.clone() };
    let mut cluster = Cluster::new(seed, options, verbose);
    for _ in 0..cluster.options.events {
        assert!(cluster.advance(), "the callers alone keep a queue from running empty");
    }
    cluster.heal();
    let mut events = cluster.options.events;
    events += settle(&mut cluster);
    events += cluster.stay_quiet();
    if cluster.nodes.iter().any(|node| node.frozen.is_some()) {
        cluster.coverage.note("progress without a minority");
    }
    if cluster.options.voters == 7 {
        cluster.coverage.note("seven voters");
    }
    Report {
        digest: cluster.digest(),
        events,
        acks: cluster.clients.acks,
        reads: cluster.clients.reads_answered,
        simulated: cluster.now,
        coverage: cluster.coverage,
    }
}

/// The liveness phase: stragglers pass, then a leader must commit what is new on every node and answer what was read.
fn settle(cluster: &mut Cluster) -> u64 {
    let healed_at = cluster.now;
    cluster.callers_come(1, cluster.options.election());
    let election = cluster.options.election();
    // A window of one entry moves one for each trip.
    let backlog = mended(cluster).filter_map(|n| n.state()).map(|s| s.tail().last().index.0).max();
    let links_take = cluster.queues_take() + log_takes(cluster);
    let bound = election * 120 + 5_000_000 + backlog.unwrap_or(0) * 20_000 + links_take;
    let mut goal: Option<Index> = None;
    let mut events = 0;
    loop {
        if let Some(goal) = goal
            && is_settled(cluster, goal, healed_at)
        {
            // Stragglers may put elections off.
            let most = election * 25 + backlog.unwrap_or(0) * 20_000 + links_take;
            let first = cluster.callers.first.map(|at| at - healed_at);
            // All may be level before a caller is heard for the first time, over links that a long log has filled.
            if first.is_some() || cluster.now > healed_at + most {
                assert!(
                    first.is_some_and(|after| after <= most),
                    "stability: first acknowledged {first:?} us after healing, {most} at most"
                );
                return events;
            }
        }
        if goal.is_none() && cluster.now > healed_at + election * 25 {
            // What is acknowledged from here on was proposed after the healing.
            let leader = mended(cluster).filter(|node| node.leads()).filter_map(|node| node.state());
            let newest = leader.max_by_key(|state| state.term());
            goal = newest.map(|state| state.tail().last().index.next());
        }
        let late = cluster.now > healed_at + bound;
        assert!(!late, "liveness: {} us after the healing: {}", bound, stuck(cluster, goal));
        assert!(cluster.advance(), "the callers alone keep a queue from running empty");
        events += 1;
        assert!(events < SETTLING_EVENTS_MAX, "liveness: it spins, and does not settle");
    }
}

/// How long narrow links take for the longest log, each entry twice.
fn log_takes(cluster: &Cluster) -> u64 {
    let Some(limits) = cluster.options.links else { return 0 };
    let bytes = |node: &Process| node.disk.log.iter().map(Entry::encoded_bytes).sum::<usize>();
    2 * limits.time(mended(cluster).map(bytes).max().unwrap_or(0))
}

/// A hundred times the events of a whole run; more means a timer that fires without effect.
const SETTLING_EVENTS_MAX: u64 = 1_000_000;

/// The nodes that must make progress.
fn mended(cluster: &Cluster) -> impl Iterator<Item = &Process> {
    cluster.nodes.iter().filter(|node| node.frozen.is_none() && cluster.takes_part(node.at))
}

fn is_settled(cluster: &Cluster, goal: Index, healed_at: u64) -> bool {
    let leads = mended(cluster).filter(|node| node.leads()).count() == 1;
    let level = mended(cluster).all(|node| {
        let ready = |s: &ReplicaState| {
            s.commit() >= goal && s.durable() >= goal && s.standing() != Standing::Recovering
        };
        node.applier.applied >= goal && node.state().is_some_and(ready)
    });
    let waits = |read: &Read| {
        let must = cluster.nodes[read.at].frozen.is_none() && cluster.takes_part(read.at);
        must && read.asked_at <= healed_at
    };
    // Last, since it looks at every read: where nothing is settled there may be very many.
    let answered = || !cluster.clients.reads.values().any(waits);
    // A node whose reads are always refused has none waiting, and is not served either.
    let asked_later =
        |node: &Process| cluster.clients.answered.get(&node.at).is_some_and(|at| *at > healed_at);
    let serves = mended(cluster).all(asked_later);
    leads && level && cluster.clients.acknowledged >= goal && serves && answered()
}

fn stuck(cluster: &Cluster, goal: Option<Index>) -> String {
    let mut out = format!("goal {goal:?}, acknowledged {}\n", cluster.clients.acknowledged);
    for node in &cluster.nodes {
        let Some(state) = node.state() else { continue };
        let _ = writeln!(
            out,
            "{} {:?} member {} leads {} term {} commit {} durable {} last {} applied {} standing {:?}",
            node.id,
            node.frozen,
            cluster.takes_part(node.at),
            node.leads(),
            state.term(),
            state.commit(),
            state.durable(),
            state.tail().last().index,
            node.applier.applied,
            state.standing()
        );
    }
    for (id, read) in cluster.clients.reads.iter().take(5) {
        let _ = writeln!(out, "read {id} {read:?}");
    }
    out
}
