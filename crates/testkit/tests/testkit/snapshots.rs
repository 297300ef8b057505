//! Snapshots that take their time: what a snapshotter does by itself, minutes later.

use std::time::Duration;

use quorate::machine::{Add, Counter, Kv, KvCommand};
use quorate::store::{Crash, Disk};
use quorate::{Config, GroupHandle, Injury, NodeId, RoleStatus, StateMachine};
use quorate_testkit::sim::{Cluster, GROUP, Simulation};

const PATIENCE: Duration = Duration::from_secs(20);
/// The pause after a snapshot that failed.
const TAKEN_AGAIN_AFTER: Duration = Duration::from_secs(60);

async fn role<M: StateMachine>(cluster: &Cluster<GroupHandle<M>>, at: usize) -> Option<RoleStatus> {
    cluster.on(at, |_, group| async move { group.status().await.role }).await.ok().flatten()
}

async fn snapshot<M: StateMachine>(cluster: &Cluster<GroupHandle<M>>, at: usize) -> Result<u64, String> {
    let taken = cluster.on(at, |_, group| async move { group.snapshot(PATIENCE).await }).await;
    taken.expect("it runs").map_err(|failed| failed.reason)
}

/// Lets so much simulated time pass.
async fn pass<G: Clone + 'static>(cluster: &Cluster<G>, span: Duration) {
    let end = cluster.now() + span;
    cluster.wait_for("the end of a pause", 2 * span, async || (cluster.now() >= end).then_some(())).await;
}

/// Has this node lead.
async fn lead<M: StateMachine>(cluster: &Cluster<GroupHandle<M>>, at: usize) {
    let to = NodeId::new(&format!("node{at}")).expect("a legal name");
    let leads = async || {
        let leader = cluster.leader(GROUP).await?;
        if leader != at {
            let to = Some(to.clone());
            let hand_over =
                cluster.on(leader, |_, group| async move { group.transfer(to, PATIENCE).await.ok() });
            let _ = hand_over.await;
        }
        (leader == at).then_some(())
    };
    cluster.wait_for("its leadership", PATIENCE, leads).await;
}

/// The names of a node's files of snapshots that end so.
fn files<G: Clone + 'static>(cluster: &Cluster<G>, at: usize, ending: &str) -> Vec<String> {
    let mut names = cluster.disk(at).snapshots().list().expect("it lists");
    names.retain(|name| name.ends_with(ending));
    names
}

/// Waits until a node has a part of what it fetches.
async fn begins_to_receive<G: Clone + 'static>(cluster: &Cluster<G>, at: usize) {
    let begun = async || (!files(cluster, at, ".part").is_empty()).then_some(());
    cluster.wait_for("a part", PATIENCE, begun).await;
}

/// Damages every snapshot of a node.
fn unreadable<G: Clone + 'static>(cluster: &Cluster<G>, at: usize) {
    for name in files(cluster, at, ".snap") {
        cluster.disk(at).snapshots().write_at(&name, 20, b"damage").expect("written");
    }
}

/// A full disk takes no entry, so no entry makes a snapshot due; and nothing but a snapshot makes its log shorter. However many failed:
/// they are tried again as one.
#[test]
fn a_snapshot_that_a_full_disk_did_not_take_is_taken_again_by_itself() {
    const FAILED: usize = 5;
    let mut config = Config::default();
    config.node.snapshot_log_entries = 1_000;
    let script = async |cluster: Cluster<GroupHandle<Counter>>| {
        cluster.wait_for_leader(GROUP, PATIENCE).await;
        for n in 1..=10 {
            assert_eq!(cluster.propose(0, Add(1)).await.expect("all is well"), n);
        }
        cluster.disk(0).set_foreign_bytes(1 << 40);
        for _ in 0..FAILED {
            let why = snapshot(&cluster, 0).await.expect_err("the disk is full");
            assert!(why.contains("no room") || why.contains("full"), "{why}");
        }
        pass(&cluster, 5 * TAKEN_AGAIN_AFTER).await;
        let before = role(&cluster, 0).await.expect("it runs");
        assert_eq!(before.snapshot, 0);
        cluster.disk(0).set_foreign_bytes(0);
        let taken = async || role(&cluster, 0).await.filter(|role| role.snapshot > 0);
        let after = cluster.wait_for("a snapshot", 2 * TAKEN_AGAIN_AFTER, taken).await;
        assert_eq!((after.last, after.snapshot), (before.last, before.applied), "without a new entry");
    };
    let report = Simulation::new(1).nodes(1).config(config).keep_trace().run(Counter::default, script);
    let attempts = report.trace.iter().filter(|line| line.contains("no snapshot taken")).count();
    assert!((FAILED + 4..=FAILED + 6).contains(&attempts), "{attempts} attempts in five minutes");
}

/// Node 2 has forgotten its beginning, and what it lacks of the end node 0 has forgotten, too. While it fetches what node 0 offers, its
/// machine ends and none of its snapshots can be read: it needs any snapshot that reaches where its log begins. Then node 0 is gone. Node 1
/// leads, has all entries, and offers nothing: no one but node 2 itself knows what it waits for.
#[test]
fn a_machine_that_waits_behind_an_offered_fetch_gets_its_snapshot() {
    const BYTES: usize = 900_000;
    let mut config = Config::default();
    (config.node.snapshot_log_bytes, config.node.snapshot_log_entries) = (0, 0);
    config.node.tail_bytes_max = 0;
    // The least: a part a second.
    config.node.snapshot_fetch_bytes_per_s = 512 << 10;
    let script = async |cluster: Cluster<GroupHandle<Kv>>| {
        let set = async |key: &str, bytes: usize| {
            let command = KvCommand::set(key.to_owned(), vec![7; bytes]);
            let done = async || cluster.propose(0, command.clone()).await.ok();
            let _ = cluster.wait_for("an answer", PATIENCE, done).await;
        };
        let level = async |nodes: &[usize]| {
            let same = async || {
                let mut applied = Vec::new();
                for at in nodes {
                    applied.push(role(&cluster, *at).await?.applied);
                }
                applied.iter().all(|one| *one == applied[0]).then_some(applied[0])
            };
            cluster.wait_for("the same applied index", PATIENCE, same).await
        };
        lead(&cluster, 0).await;
        for key in ["a", "b", "c", "d", "e", "f", "g", "h"] {
            set(key, BYTES).await;
        }
        level(&[0, 1, 2]).await;
        for round in ["one", "two"] {
            snapshot(&cluster, 2).await.expect("it has room");
            set(round, 10).await;
            level(&[0, 1, 2]).await;
        }
        // It reaches further than node 2 has forgotten, and being the only one costs node 1 nothing of its log.
        snapshot(&cluster, 1).await.expect("it has room");
        let start = role(&cluster, 2).await.expect("it runs").first;
        assert!(start > 1 && role(&cluster, 1).await.expect("it runs").first == 1);
        cluster.isolate(2);
        for round in ["three", "four"] {
            set(round, 10).await;
            snapshot(&cluster, 0).await.expect("it has room");
        }
        set("five", 10).await;
        let last = level(&[0, 1]).await;
        cluster.heal();
        begins_to_receive(&cluster, 2).await;
        unreadable(&cluster, 2);
        let applier = cluster.actors(2).await.into_iter().find(|actor| actor.kind == "applier");
        assert!(cluster.injure(2, &applier.expect("it runs").name, Injury::Panic).await);
        cluster
            .wait_for("its machine to wait", PATIENCE, async || {
                role(&cluster, 2).await.filter(|role| role.applied == 0)
            })
            .await;
        cluster.crash(0, Crash::Kept).await;
        cluster.wait_for_other_leader(GROUP, 0, PATIENCE).await;
        let whole = async || role(&cluster, 2).await.filter(|role| role.applied >= last);
        let after = cluster.wait_for("its machine", Duration::from_secs(240), whole).await;
        assert!(after.snapshot < last, "it is the one of node 1: {after:?}");
    };
    Simulation::new(1).config(config).run(Kv::default, script);
}
