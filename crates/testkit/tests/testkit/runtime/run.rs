//! One run of one seed: safety under attack, then liveness after the mending, then what was seen is checked.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use quorate::machine::{Counter, CounterQuery, Kv, KvAnswer, KvQuery};
use quorate::{Consistency, GroupStatus, Node};
use quorate_core::Hash;
use quorate_testkit::history::{Budget, Call, Recorder, check};
use quorate_testkit::sim::{Draw, Report};

use super::clients::{Load, Via};
use super::coverage::Coverage;
use super::nemesis::{Nemesis, attend, mend_all};
use super::options::Options;
use super::{COUNT, Groups, KV, Kvs};

/// What a run has shown.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    pub(crate) coverage: Coverage,
    /// Operations on registers that were replied to and found their place.
    pub(crate) checked: usize,
    pub(crate) added: i64,
}

/// How long a cluster may take to make progress once nothing is wrong any more.
const MENDING: Duration = Duration::from_secs(30);

pub(crate) fn run(seed: u64, keep_trace: bool) -> Report<Shown> {
    run_with(seed, Options::draw(seed), keep_trace)
}

/// Runs a seed with these options in place of those it draws.
pub(crate) fn run_with(seed: u64, options: Options, keep_trace: bool) -> Report<Shown> {
    let mut simulation = options.simulation(seed);
    if keep_trace {
        simulation = simulation.keep_trace();
    }
    let open = |node: Node| async move {
        let kv = node.group(KV, Kv::default()).await?;
        Ok((kv, node.group(COUNT, Counter::default()).await?))
    };
    simulation.run_with(open, move |cluster| script(cluster, seed, options))
}

async fn script(cluster: Kvs, seed: u64, options: Options) -> Shown {
    let coverage = Coverage::default();
    let load = Load {
        cluster: cluster.clone(),
        options: options.clone(),
        recorder: Recorder::new(),
        coverage: coverage.clone(),
        over: Rc::new(Cell::new(false)),
        added: Rc::default(),
        acknowledged: Rc::new(RefCell::new(0)),
        totals: Rc::default(),
    };
    let mut working = Vec::new();
    for client in 0..options.clients as u64 {
        let of_client = load.clone().client(client as u32, Draw::new(seed ^ 0xc11e_0000 ^ client));
        working.push(tokio::task::spawn_local(of_client));
    }
    for adder in 0..options.adders as u64 {
        working
            .push(tokio::task::spawn_local(load.clone().adder(adder, Draw::new(seed ^ 0xadde_0000 ^ adder))));
    }
    let end = Duration::from_millis(options.safety);
    // Two at a time: what one does meets what the other did.
    let raging: Vec<_> = (0..2_u64)
        .map(|n| Nemesis::new(cluster.clone(), seed ^ n << 40, options.clone(), coverage.clone()).rage(end))
        .map(tokio::task::spawn_local)
        .collect();
    for rage in raging {
        joined(rage.await);
    }
    let mended_at = cluster.now();
    cluster.note(format_args!("everything is mended"));
    mend_all(&cluster).await;
    load.over.set(true);
    let settled = Rc::new(Cell::new(false));
    let operator = tokio::task::spawn_local(attend(cluster.clone(), coverage.clone(), settled.clone()));
    for work in working {
        joined(work.await);
    }
    let ended_in = cluster.now().saturating_sub(mended_at);
    assert!(ended_in < MENDING, "liveness: what was under way took {ended_in:?} after the mending");
    settle(&cluster, &load, mended_at + MENDING).await;
    settled.set(true);
    joined(operator.await);
    let history = load.recorder.history();
    let checked = check(&history, Budget::default()).unwrap_or_else(|wrong| panic!("{wrong}"));
    Shown { coverage, checked: checked.operations, added: load.added.get() }
}

/// A task that panicked fails the run with its own words.
fn joined(end: Result<(), tokio::task::JoinError>) {
    if let Err(error) = end {
        std::panic::resume_unwind(error.into_panic());
    }
}

/// Every node takes a write and answers a read, then all are level and idle.
async fn settle(cluster: &Kvs, load: &Load, give_up: Duration) {
    let mut client = 1_000;
    let outside = Via::Client(load.outside().await);
    for via in (0..cluster.nodes()).map(Via::Node).chain([outside]) {
        for key in (0..load.options.keys).map(|key| format!("k{key}")) {
            for call in [Call::Write(u64::from(client) << 32), Call::Read] {
                let before = *load.acknowledged.borrow();
                while *load.acknowledged.borrow() == before {
                    assert!(cluster.now() < give_up, "liveness: {via:?} does not answer {call:?}");
                    load.operate(client, &via, &key, call).await;
                    cluster.pause(Duration::from_millis(50)).await;
                }
            }
            client += 1;
        }
    }
    let patience = give_up.saturating_sub(cluster.now());
    cluster.wait_for("level and idle cluster", patience, async || level(cluster).await.then_some(())).await;
    let mut digests = Vec::new();
    for at in 0..cluster.nodes() {
        digests.push(digest(cluster, at).await);
    }
    assert!(digests.windows(2).all(|pair| pair[0] == pair[1]), "machines differ: {digests:?}");
    assert_eq!(digests[0].1, load.added.get(), "each acknowledged addition counts once, and no other");
}

/// The machines' digests and the counter's total, as this node has them.
async fn digest(cluster: &Kvs, at: usize) -> (Hash, i64, i64) {
    let asked = cluster.on(at, |_, (kv, count): Groups| async move {
        let kv = kv.query(KvQuery::Digest, Consistency::Stale).await;
        let total = count.query(CounterQuery::Total, Consistency::Stale).await;
        (kv, total, count.query(CounterQuery::Digest, Consistency::Stale).await)
    });
    match asked.await {
        Ok((Ok(KvAnswer::Digest(kv)), Ok(total), Ok(count))) => (kv, total, count),
        other => panic!("node{at} does not say what it has: {other:?}"),
    }
}

/// One leader for each group, everything applied everywhere, every permit back.
async fn level(cluster: &Kvs) -> bool {
    let mut applied: Vec<(String, u64)> = Vec::new();
    let mut leaders = 0;
    for at in 0..cluster.nodes() {
        let look = |node: Node, (kv, count): Groups| async move {
            (node.groups().await, kv.free_permits(), count.free_permits())
        };
        let Ok((groups, kv, count)) = cluster.on(at, look).await else { return false };
        let all = quorate::Config::default().live;
        let full = (all.proposals_max, all.queries_max);
        if (kv, count) != (full, full) || groups.len() != 2 {
            return false;
        }
        for GroupStatus { group, role, .. } in groups {
            let Some(role) = role else { return false };
            if role.applied != role.last || role.durable != role.last {
                return false;
            }
            leaders += usize::from(role.role == "leader");
            applied.push((group, role.applied));
        }
    }
    applied.sort();
    applied.dedup();
    leaders == 2 && applied.len() == 2
}
