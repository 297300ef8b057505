//! One run of one seed: safety under attack, then liveness after the mending, then what was seen is checked.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use quorate::Node;
use quorate_testkit::history::{Budget, Recorder, check};
use quorate_testkit::sim::{Draw, Report};
use tokio::task::{JoinHandle, spawn_local};

use super::attack::Harm;
use super::clients::{Load, Tally, joined};
use super::coverage::Coverage;
use super::groups::{Kvs, Opens};
use super::nemesis::{Nemesis, attend, mend_all};
use super::observer::observe;
use super::options::Options;
use super::settled::{first_write, quiet, settle};

/// What a run has shown.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    pub(crate) coverage: Coverage,
    /// Operations on registers that were replied to and found their place.
    pub(crate) checked: usize,
    pub(crate) added: i64,
    /// Operations that were replied to, ended unknown, and were refused.
    pub(crate) outcomes: [usize; 3],
}

/// How long a cluster may take to make progress once nothing is wrong any more.
const MENDING: Duration = Duration::from_secs(45);

/// Callers at the counter with too many clients.
const RESENDERS: u64 = 3;

pub(crate) fn run(seed: u64, keep_trace: bool) -> Report<Shown> {
    run_with(seed, Options::draw(seed), keep_trace)
}

/// Runs a seed with these options in place of those it draws.
pub(crate) fn run_with(seed: u64, options: Options, keep_trace: bool) -> Report<Shown> {
    let mut simulation = options.simulation(seed);
    if keep_trace {
        simulation = simulation.keep_trace();
    }
    let old = options.mixed.then(|| seed as usize % options.nodes);
    let Options { counts, sessions, mixed, .. } = options;
    let opens = Opens { counts, sessions, mixed, old: Rc::new(Cell::new(old)) };
    let of_nodes = opens.clone();
    let open = move |node: Node| of_nodes.clone().open(node);
    simulation.run_with(open, move |cluster| script(cluster, seed, options, opens))
}

async fn script(cluster: Kvs, seed: u64, options: Options, opens: Opens) -> Shown {
    let coverage = Coverage::default();
    let load = Load {
        cluster: cluster.clone(),
        options: options.clone(),
        recorder: Recorder::new(),
        coverage: coverage.clone(),
        over: Rc::new(Cell::new(false)),
        acknowledged: Rc::default(),
        tallies: (0..options.counts).map(|_| Tally::default()).collect(),
        sums: Rc::default(),
        remembered: Rc::default(),
    };
    if opens.names().len() >= 10 {
        coverage.note("ten groups");
    }
    let working = begin(&load, seed);
    let (harm, settled) = (Rc::new(Harm::new(options.nodes)), Rc::new(Cell::new(false)));
    let observer = spawn_local(observe(load.clone(), opens.clone(), harm.clone(), settled.clone()));
    let end = Duration::from_millis(options.safety);
    // Two at a time: what one does meets what the other did.
    let raging: Vec<_> = (0..2_u64)
        .map(|n| Nemesis::new(&load, seed ^ n << 40, opens.clone(), harm.clone()).rage(end))
        .map(spawn_local)
        .collect();
    for rage in raging {
        joined(rage.await);
    }
    let mended_at = cluster.now();
    cluster.note(format_args!("everything is mended"));
    mend_all(&cluster, &opens, &harm).await;
    load.over.set(true);
    let operator = spawn_local(attend(load.clone(), opens.clone(), harm.clone(), settled.clone()));
    first_write(&load).await;
    for work in working {
        joined(work.await);
    }
    let ended_in = cluster.now().saturating_sub(mended_at);
    assert!(ended_in < MENDING, "liveness: what was under way took {ended_in:?} after the mending");
    settle(&load, &opens, mended_at + MENDING).await;
    settled.set(true);
    joined(operator.await);
    joined(observer.await);
    quiet(&load, &opens).await;
    let history = load.recorder.history();
    let checked = check(&history, Budget::default()).unwrap_or_else(|wrong| panic!("{wrong}"));
    let added = load.tallies.iter().map(|tally| tally.added.get()).sum();
    Shown { coverage, checked: checked.operations, added, outcomes: history.outcomes() }
}

fn begin(load: &Load, seed: u64) -> Vec<JoinHandle<()>> {
    let options = &load.options;
    let mut working = Vec::new();
    for client in 0..options.clients as u64 {
        working.push(spawn_local(load.clone().client(client as u32, Draw::new(seed ^ 0xc11e_0000 ^ client))));
    }
    for adder in 0..options.adders as u64 {
        working.push(spawn_local(load.clone().adder(0, adder, Draw::new(seed ^ 0xadde_0000 ^ adder))));
    }
    for counter in 1..options.counts {
        let draw = Draw::new(seed ^ 0xadde_1000 ^ counter as u64);
        working.push(spawn_local(load.clone().adder(counter, 100 + counter as u64, draw)));
    }
    if options.sessions {
        for resender in 0..RESENDERS {
            let draw = Draw::new(seed ^ 0x5e55_0000 ^ resender);
            working.push(spawn_local(load.clone().resender(resender, draw)));
        }
        working.push(spawn_local(load.clone().outside_resender(Draw::new(seed ^ 0x5e55_1000))));
        working.push(spawn_local(load.clone().flood(Draw::new(seed ^ 0x5e55_2000))));
    }
    if options.mixed {
        working.push(spawn_local(load.clone().sums(Draw::new(seed ^ 0x5035))));
    }
    working
}
