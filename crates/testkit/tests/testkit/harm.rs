//! One kind of harm at a time, in a cluster that is whole otherwise: slow and faulted machines, paused processes, little
//! bandwidth, too many clients. Random runs meet all of it together (`runtime`).

use std::time::Duration;

use bytes::Bytes;
use quorate::machine::{Add, Counter, Kv, KvCommand, Total};
use quorate::store::Crash;
use quorate::{ClientOptions, Config, Consistency, GroupHandle, Injury, Node};
use quorate_testkit::sim::{
    Cluster, FaultyMachine, GROUP, MachineCall, MonotonicClock, NodeState, Report, Simulation,
};

const PATIENCE: Duration = Duration::from_secs(20);

type Count = GroupHandle<FaultyMachine<Counter>>;

async fn term<G: Clone + 'static>(cluster: &Cluster<G>, group: &'static str) -> u64 {
    let mut terms = Vec::new();
    for at in 0..cluster.nodes() {
        let status =
            cluster.on(at, |node: Node, _| async move { node.groups().await }).await.unwrap_or_default();
        let of_group = status.into_iter().find(|status| status.group == group);
        terms.extend(of_group.and_then(|status| status.role).map(|role| role.term));
    }
    terms.into_iter().max().expect("a node runs")
}

async fn added<G: Clone + 'static>(
    cluster: &Cluster<G>,
    at: usize,
    count: impl Fn(G) -> Count + 'static,
) -> Result<i64, quorate::ProposeError> {
    let add = move |_, groups: G| async move { count(groups).propose_by(Add(1), PATIENCE).await };
    let added = cluster.on(at, add).await.expect("it is up")?;
    Ok(added.reply.total())
}

/// An apply of seconds took the links, and with them the leaders of all groups.
#[test]
fn a_machine_that_takes_ten_seconds_costs_its_own_group_and_starts_no_election() {
    let open = |node: Node| async move {
        let slow = node.group("slow", FaultyMachine(Counter::default())).await?;
        Ok((slow, node.group("quick", FaultyMachine(Counter::default())).await?))
    };
    let script = async |cluster: Cluster<(Count, Count)>| {
        let leader = cluster.wait_for_leader("quick", PATIENCE).await;
        cluster.wait_for_leader("slow", PATIENCE).await;
        assert_eq!(added(&cluster, leader, |(slow, _)| slow).await, Ok(1));
        assert_eq!(added(&cluster, leader, |(_, quick)| quick).await, Ok(1));
        let before = (term(&cluster, "slow").await, term(&cluster, "quick").await);
        for at in 0..3 {
            cluster.machine(at, "slow").set_time_ms(MachineCall::Apply, 10_000, 10_000, 1_000);
        }
        let (of_slow, began) = (cluster.clone(), cluster.now());
        let slow = tokio::task::spawn_local(async move { added(&of_slow, leader, |(slow, _)| slow).await });
        let mut total = 1;
        while !slow.is_finished() {
            total += 1;
            let took = cluster.now();
            assert!(took.saturating_sub(began) < Duration::from_secs(60), "the slow command does not end");
            assert_eq!(added(&cluster, leader, |(_, quick)| quick).await, Ok(total));
            assert!(cluster.now().saturating_sub(took) < Duration::from_secs(1), "the other group waited");
        }
        assert_eq!(slow.await.expect("it ended"), Ok(2));
        assert!(cluster.now().saturating_sub(began) >= Duration::from_secs(10), "it took its time");
        assert_eq!(before, (term(&cluster, "slow").await, term(&cluster, "quick").await), "an election");
        total
    };
    let total = Simulation::new(21).run_with(open, script).value;
    assert!(total > 100, "{total} commands beside a slow one");
}

/// What a node said of its machine before it was started again still counted: two nodes, one after the other, took the
/// group down permanently.
#[test]
fn a_machine_that_runs_again_does_not_count_for_the_next_one_that_is_down() {
    let script = async |cluster: Cluster<Count>| {
        let leader = cluster.wait_for_leader(GROUP, PATIENCE).await;
        assert_eq!(added(&cluster, leader, |count| count).await, Ok(1));
        for (total, at) in [(2, (leader + 1) % 3), (3, (leader + 2) % 3)] {
            cluster.machine(at, GROUP).set_fails_restore(true);
            let applier = cluster.actors(at).await.into_iter().find(|actor| actor.kind == "applier");
            assert!(cluster.injure(at, &applier.expect("it has one").name, Injury::Kill).await);
            let down = async || {
                let status =
                    cluster.on(at, |_, count: Count| async move { count.status().await }).await.ok()?;
                status.fault_here.map(|index| (index, status.halted))
            };
            let (index, halted) = cluster.wait_for("machine that stays down", PATIENCE, down).await;
            assert!(index == 0 && halted.is_some(), "it says where and why: {index}, {halted:?}");
            let goes_on = added(&cluster, leader, |count| count).await;
            assert_eq!(goes_on, Ok(total), "two machines are left");
            cluster.machine(at, GROUP).mend();
            cluster.restart(at).await;
            // Peers that do not hear of the fault any more forget it.
            cluster.pause(PATIENCE).await;
        }
        added(&cluster, leader, |count| count).await
    };
    assert_eq!(Simulation::new(22).run(|| FaultyMachine(Counter::default()), script).value, Ok(4));
}

/// The same on two nodes at once is the group's fault, until one of them has its machine again.
#[test]
fn a_group_that_was_faulted_goes_on_once_a_majority_has_machines_again() {
    let script = async |cluster: Cluster<Count>| {
        let leader = cluster.wait_for_leader(GROUP, PATIENCE).await;
        assert_eq!(added(&cluster, leader, |count| count).await, Ok(1));
        let down = [(leader + 1) % 3, (leader + 2) % 3];
        for at in down {
            cluster.machine(at, GROUP).set_fails_restore(true);
            let applier = cluster.actors(at).await.into_iter().find(|actor| actor.kind == "applier");
            assert!(cluster.injure(at, &applier.expect("it has one").name, Injury::Kill).await);
        }
        let status =
            async || cluster.on(leader, |_, count: Count| async move { count.status().await }).await.ok();
        cluster.wait_for("faulted group", PATIENCE, async || status().await?.faulted).await;
        for at in down {
            cluster.machine(at, GROUP).mend();
            cluster.restart(at).await;
        }
        cluster
            .wait_for("open group", PATIENCE, async || status().await?.faulted.is_none().then_some(()))
            .await;
        cluster.wait_for("write", PATIENCE, async || added(&cluster, leader, |count| count).await.ok()).await
    };
    assert_eq!(Simulation::new(23).run(|| FaultyMachine(Counter::default()), script).value, 2);
}

#[test]
fn a_leader_that_was_paused_finds_another_one_and_answers_nothing_old() {
    for (seed, clock) in [(1, MonotonicClock::WentOn), (2, MonotonicClock::StoodStill)] {
        let script = async move |cluster: Cluster<Count>| {
            let old = cluster.wait_for_leader(GROUP, PATIENCE).await;
            assert_eq!(added(&cluster, old, |count| count).await, Ok(1));
            cluster.pause_process(old);
            let asked = cluster.clone();
            let stale =
                tokio::task::spawn_local(
                    async move { asked.query(old, Total, Consistency::Linearizable).await },
                );
            let other = cluster.wait_for_other_leader(GROUP, old, PATIENCE).await;
            assert_eq!(added(&cluster, other, |count| count).await, Ok(2));
            cluster.continue_process(old, clock);
            let answer = stale.await.expect("it ended");
            assert!(answer.is_err() || answer == Ok(2), "{clock:?}: {answer:?}");
            cluster
                .wait_for("total", PATIENCE, async || {
                    cluster.query(old, Total, Consistency::Linearizable).await.ok()
                })
                .await
        };
        let total = Simulation::new(seed).run(|| FaultyMachine(Counter::default()), script).value;
        assert_eq!(total, 2, "{clock:?}");
    }
}

/// Heartbeats waited behind bulk: a leader was deposed by its own backlog.
#[test]
fn bulk_over_narrow_links_starts_no_election() {
    let script = async |cluster: Cluster<GroupHandle<Kv>>| {
        let leader = cluster.wait_for_leader(GROUP, PATIENCE).await;
        let before = term(&cluster, GROUP).await;
        (0..3).for_each(|at| cluster.set_bandwidth(at, 1_000_000));
        for n in 0..20 {
            let value = Bytes::from(vec![7; 512 << 10]);
            let command = KvCommand::set(format!("k{n}"), value);
            let put =
                move |_, kv: GroupHandle<Kv>| async move { kv.propose_by(command, PATIENCE).await.map(drop) };
            assert_eq!(cluster.on(leader, put).await, Ok(Ok(())), "value {n}");
        }
        assert_eq!(before, term(&cluster, GROUP).await, "an election");
        cluster.now()
    };
    // Up to 256 KiB are before a heartbeat in the bridge, and as much as the kernel's buffer there.
    let report: Report<Duration> = Simulation::new(24).config(Config::default()).run(Kv::default, script);
    // Each value goes to two followers over the leader's wire.
    assert!(report.value > Duration::from_secs(20), "the wire was not narrow: {:?}", report.value);
}

/// A thousand clients locked a peer out.
#[test]
fn more_clients_than_places_keep_no_peer_out() {
    let script = async |cluster: Cluster<GroupHandle<Counter>>| {
        let leader = cluster.wait_for_leader(GROUP, PATIENCE).await;
        let mut clients = Vec::new();
        for _ in 0..20 {
            let options = ClientOptions { timeout: Duration::from_secs(1), ..ClientOptions::default() };
            clients.push(cluster.client(options).await);
        }
        let mut answered = 0;
        for client in &clients {
            answered +=
                usize::from(client.group::<Counter>(GROUP).query(Total, Consistency::Stale).await.is_ok());
        }
        assert!((1..20).contains(&answered), "{answered} of 20 have a place");
        let follower = (leader + 1) % 3;
        cluster.crash(follower, Crash::Lost).await;
        cluster.restart(follower).await;
        assert_eq!(cluster.state(follower), NodeState::Up);
        cluster.crash((leader + 2) % 3, Crash::Lost).await;
        // Only with the one that came back it is a majority.
        let add = async || cluster.propose(leader, Add(1)).await.ok();
        let total = cluster.wait_for("write", PATIENCE, add).await;
        for client in clients {
            client.close().await;
        }
        total.total()
    };
    assert_eq!(Simulation::new(25).connections_max(4).run(Counter::default, script).value, 1);
}
