//! Supervision is the product's heart: every kind of actor is killed, by panic, by stop and by kill, at random moments,
//! on random nodes, under load, hundreds of times. Nothing acknowledged is lost, nothing is applied twice, every caller
//! gets an answer, every replica's chain hash agrees, and the tree is whole again.
//!
//! Blows are drawn among all, but every second falls on a kind and in a way that was not seen yet as long as there is one:
//! a leader stands for a part of the time and on one node of three, so that of 300 drawn blows two to six met it, and
//! in one run of CI none.

#![allow(clippy::disallowed_methods, reason = "callers are tasks of their own")]
#![allow(clippy::cast_possible_wrap, clippy::cast_sign_loss, reason = "small counts")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use quorate::machine::{Add, Counter, Total};
use quorate::{Consistency, GroupHandle, Injury, Node, Outcome};
use quorate_core::SplitMix64;
use quorate_tests::cluster::{Cluster, quick, quiet_panics, same_digest};
use quorate_tests::wait::eventually;

/// The least number of injuries; some find that their actor has ended.
const INJURIES: usize = 300;
/// And at most, for a kind that was not there when its turn came.
const INJURIES_MAX: usize = 3_000;
/// Callers on each node.
const CALLERS: usize = 4;

#[derive(Default)]
struct Tally {
    acknowledged: AtomicU64,
    unknown: AtomicU64,
    failed: AtomicU64,
    refused: AtomicU64,
    queries: AtomicU64,
}

/// Adds one, again and again, and notes what it was told.
async fn caller(count: GroupHandle<Counter>, stop: Arc<AtomicBool>, tally: Arc<Tally>) {
    let (mut reads, mut stale_reads) = (0i64, 0i64);
    while !stop.load(Ordering::Relaxed) {
        match count.propose(Add(1)).await {
            Ok(_) => tally.acknowledged.fetch_add(1, Ordering::Relaxed),
            Err(error) => match error.outcome() {
                Outcome::Unknown => tally.unknown.fetch_add(1, Ordering::Relaxed),
                Outcome::Failed => tally.failed.fetch_add(1, Ordering::Relaxed),
                Outcome::Refused => tally.refused.fetch_add(1, Ordering::Relaxed),
            },
        };
        if let Ok(total) = count.query(Total, Consistency::Linearizable).await {
            assert!(total >= reads, "a linearizable read went back from {reads} to {total}");
            reads = total;
            tally.queries.fetch_add(1, Ordering::Relaxed);
        }
        // A machine that is made again answers once it has come as far as the one before it.
        if let Ok(total) = count.query(Total, Consistency::Stale).await {
            assert!(
                total >= stale_reads,
                "a stale read of this node went back from {stale_reads} to {total}"
            );
            stale_reads = total;
        }
    }
}

/// The kinds of actor a whole tree of this cluster has, on any node.
const KINDS: [&str; 11] = [
    "node",
    "log-store",
    "bridge",
    "listener",
    "link",
    "session",
    "group",
    "follower",
    "leader",
    "replicator",
    "applier",
];

const INJURY_KINDS: [Injury; 3] = [Injury::Panic, Injury::Stop, Injury::Kill];

/// What was done to whom, and how often.
type Hurt = BTreeMap<(String, Injury), usize>;

/// The kinds of actor and ways of ending that were not met yet.
fn missing(hurt: &Hurt) -> Vec<(&'static str, Injury)> {
    KINDS
        .iter()
        .flat_map(|kind| INJURY_KINDS.map(|injury| (*kind, injury)))
        .filter(|(kind, injury)| !hurt.contains_key(&((*kind).to_owned(), *injury)))
        .collect()
}

fn hurt_any(nodes: &[&Node], draw: &mut SplitMix64, hurt: &mut Hurt) {
    let node = nodes[draw.place(nodes.len())];
    let actors = node.actors();
    // By kind first, so that the many replicators do not hide the one log store.
    let kinds: BTreeSet<&str> = actors.iter().map(|actor| actor.kind.as_str()).collect();
    if kinds.is_empty() {
        return;
    }
    let kind = *kinds.iter().nth(draw.place(kinds.len())).expect("below its length");
    let of_kind: Vec<_> = actors.iter().filter(|actor| actor.kind == kind).collect();
    let victim = of_kind[draw.place(of_kind.len())];
    let injury = INJURY_KINDS[draw.place(3)];
    if node.injure(&victim.name, injury) {
        *hurt.entry((kind.to_owned(), injury)).or_default() += 1;
    }
}

/// Injures an actor of a kind, or in a way, that was not met yet, if such an actor runs.
fn hurt_missing(nodes: &[&Node], draw: &mut SplitMix64, hurt: &mut Hurt) {
    let there: Vec<(&Node, String, &'static str, Injury)> = missing(hurt)
        .into_iter()
        .flat_map(|(kind, injury)| {
            nodes.iter().flat_map(move |node| {
                let of_kind = node.actors().into_iter().filter(move |actor| actor.kind == kind);
                of_kind.map(move |actor| (*node, actor.name, kind, injury))
            })
        })
        .collect();
    if there.is_empty() {
        return;
    }
    let (node, name, kind, injury) = &there[draw.place(there.len())];
    if node.injure(name, *injury) {
        *hurt.entry(((*kind).to_owned(), *injury)).or_default() += 1;
    }
}

/// Every kind of actor is there again, and the groups serve.
async fn whole_again(cluster: &Cluster, counts: &[GroupHandle<Counter>]) -> Result<()> {
    eventually("every actor is there again", async || {
        let mut kinds = BTreeSet::new();
        for (_, node) in cluster.nodes() {
            let actors = node.actors();
            let has = |kind: &str| actors.iter().any(|actor| actor.kind == kind);
            let always = ["node", "log-store", "bridge", "listener", "group", "applier"];
            if !always.iter().all(|kind| has(kind))
                || actors.iter().filter(|actor| actor.kind == "link").count() != 2
            {
                return None;
            }
            kinds.extend(actors.into_iter().map(|actor| actor.kind));
        }
        KINDS.iter().all(|kind| kinds.contains(*kind)).then_some(())
    })
    .await?;
    for count in counts {
        let _total = count.propose(Add(0)).await.context("the group serves again")?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_actor_may_die_at_any_moment() -> Result<()> {
    let seed = std::env::var("QUORATE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(17);
    println!("replay with QUORATE_SEED={seed} cargo test -p quorate-tests --test in_process supervision");
    quiet_panics();
    let cluster = Cluster::start(3, quick()).await?;
    let counts = cluster.group("counter", Counter::default).await?;
    cluster.leader(&counts).await?;
    let (stop, tally) = (Arc::new(AtomicBool::new(false)), Arc::new(Tally::default()));
    let mut callers = Vec::new();
    for count in counts.iter().cycle().take(3 * CALLERS) {
        callers.push(tokio::spawn(caller(count.clone(), stop.clone(), tally.clone())));
    }

    let nodes: Vec<&Node> = cluster.nodes().map(|(_, node)| node).collect();
    let (mut draw, mut hurt) = (SplitMix64::from_state(seed), Hurt::new());
    let mut every = tokio::time::interval(Duration::from_millis(40));
    for injury in 0..INJURIES_MAX {
        if injury >= INJURIES && missing(&hurt).is_empty() {
            break;
        }
        every.tick().await;
        if injury % 2 == 0 || missing(&hurt).is_empty() {
            hurt_any(&nodes, &mut draw, &mut hurt);
        } else {
            hurt_missing(&nodes, &mut draw, &mut hurt);
        }
        if injury % 50 == 49 {
            println!("{injury} injuries, {} acknowledged", tally.acknowledged.load(Ordering::Relaxed));
            // Progress in between: the blows are not so thick that nothing ever works.
            let before = tally.acknowledged.load(Ordering::Relaxed);
            eventually("progress between the blows", async || {
                (tally.acknowledged.load(Ordering::Relaxed) > before).then_some(())
            })
            .await?;
        }
    }
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        tokio::time::timeout(Duration::from_secs(30), caller)
            .await
            .context("every caller gets an answer")??;
    }

    whole_again(&cluster, &counts).await?;
    let total = counts[0].query(Total, Consistency::Linearizable).await?;
    let (acknowledged, unknown) =
        (tally.acknowledged.load(Ordering::Relaxed), tally.unknown.load(Ordering::Relaxed));
    println!(
        "{} injuries: {hurt:?}\n{acknowledged} acknowledged, {unknown} unknown, {} failed, {} refused, {} reads; total {total}",
        hurt.values().sum::<usize>(),
        tally.failed.load(Ordering::Relaxed),
        tally.refused.load(Ordering::Relaxed),
        tally.queries.load(Ordering::Relaxed),
    );
    assert!(
        total >= acknowledged as i64,
        "{acknowledged} acknowledged, {total} in the counter: some were lost"
    );
    assert!(
        total <= (acknowledged + unknown) as i64,
        "{acknowledged} + {unknown} at most, {total} in the counter"
    );
    assert_eq!(missing(&hurt), [], "every kind was hurt in every way");
    assert!(acknowledged > 100, "too little happened for the test to mean anything: {acknowledged}");
    same_digest(&counts).await?;
    eventually("permits return to full when idle", async || {
        counts.iter().all(|count| count.free_permits() == (4_096, 4_096)).then_some(())
    })
    .await?;
    cluster.stop_all().await;
    Ok(())
}
