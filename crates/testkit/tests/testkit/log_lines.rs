//! What the log of a cluster says while nothing changes: one line per change of state, and a lost majority now and then.

use std::time::Duration;

use quorate::machine::{Add, Counter};
use quorate::store::{Crash, Rot};
use quorate::{GroupHandle, ProposeError};
use quorate_testkit::sim::{Cluster, GROUP, Simulation};

const PATIENCE: Duration = Duration::from_secs(20);

type Count = Cluster<GroupHandle<Counter>>;

/// The lines between two notes of the script that say this.
fn between(trace: &[String], from: &str, to: &str, said: &str) -> Vec<String> {
    let at = |note: &str| trace.iter().position(|line| line.contains(note)).expect("it was noted");
    let lines = trace[at(from)..at(to)].iter().filter(|line| !line.contains(" (debug)"));
    lines.filter(|line| line.contains(said)).cloned().collect()
}

/// It was one line, and then a campaign every second or two.
#[test]
fn a_lost_majority_is_said_at_intervals_that_double_with_who_is_missing() {
    let script = async |cluster: Count| {
        let leader = cluster.wait_for_leader(GROUP, PATIENCE).await;
        let _ = cluster.propose(leader, Add(1)).await.expect("all is well");
        cluster.note(format_args!("two are lost"));
        for other in (0..3).filter(|at| *at != leader) {
            cluster.crash(other, Crash::Lost).await;
        }
        cluster.pause(Duration::from_secs(120)).await;
        cluster.note(format_args!("long after"));
        for other in (0..3).filter(|at| *at != leader) {
            cluster.restart(other).await;
        }
        cluster.wait_for_leader(GROUP, PATIENCE).await;
        leader
    };
    let report =
        Simulation::new(11).limit(Duration::from_secs(300)).keep_trace().run(Counter::default, script);
    let lines = |said| between(&report.trace, "two are lost", "long after", said);
    let said = lines("message=no leader ");
    assert_eq!(said.len(), 4, "after 5, 15, 35 and 75 seconds: {said:#?}");
    let others = (0..3).filter(|at| *at != report.value).map(|at| format!("node{at} ("));
    assert!(others.clone().all(|other| said[0].contains(&other)), "{said:#?}");
    let campaigns = lines("became candidate").len();
    assert!(campaigns <= 2, "{campaigns} lines of campaigns");
    let silent = lines("no link, retrying").len();
    assert!(silent <= 8, "{silent} lines of links that stay down");
}

/// Equal disks are full together: leadership went round, 19 elections in 20 seconds, and no line said why.
#[test]
fn rule_16_full_disks_everywhere_are_one_line_each_way_and_no_elections() {
    let script = async |cluster: Count| {
        let leader = cluster.wait_for_leader(GROUP, PATIENCE).await;
        let _ = cluster.propose(leader, Add(1)).await.expect("there is room");
        cluster.pause(PATIENCE).await;
        cluster.note(format_args!("the disks are full"));
        let fill = |at: usize| {
            let disk = cluster.disk(at);
            let used = (1_u64 << 40) - quorate::store::Disk::free_bytes(&disk).expect("it answers");
            disk.set_capacity(used + (1 << 20));
        };
        // The leader last, and once it has heard of the others: until then it gives way to one that had room. A simulated disk is
        // measured when something was written.
        (0..3).filter(|at| *at != leader).for_each(fill);
        let _ = cluster.propose(leader, Add(1)).await;
        cluster.pause(PATIENCE / 10).await;
        fill(leader);
        cluster
            .wait_for("refusal", PATIENCE, async || match cluster.propose(leader, Add(1)).await {
                Err(ProposeError::NoSpace { .. }) => Some(()),
                _ => None,
            })
            .await;
        cluster.pause(PATIENCE).await;
        cluster.note(format_args!("there is room again"));
        for at in 0..3 {
            cluster.disk(at).set_capacity(1 << 40);
        }
        let _total =
            cluster.wait_for("a write", PATIENCE, async || cluster.propose(leader, Add(1)).await.ok()).await;
        cluster.pause(PATIENCE).await;
        cluster.note(format_args!("long after"));
    };
    let report =
        Simulation::new(12).limit(Duration::from_secs(300)).keep_trace().run(Counter::default, script);
    let full = |said| between(&report.trace, "the disks are full", "there is room again", said);
    // The leader refuses for the others: its disk is not written, and so not measured.
    assert_eq!(full("disk below its reserve").len(), 2, "one line for each node that is asked to write");
    assert_eq!((full("became leader"), full("became candidate")), (Vec::new(), Vec::new()), "no elections");
    let again = between(&report.trace, "there is room again", "long after", "disk has room again");
    assert_eq!(again.len(), 2, "{again:#?}");
}

/// Two full disks of three: each write was unknown after its whole deadline, and no line said that nothing can be committed.
#[test]
fn rule_16_full_followers_of_a_leader_with_room_are_named_and_refused_for_until_one_has_room() {
    let script = async |cluster: Count| {
        let leader = cluster.wait_for_leader(GROUP, PATIENCE).await;
        let _ = cluster.propose(leader, Add(1)).await.expect("there is room");
        cluster.note(format_args!("two are full"));
        let others: Vec<usize> = (0..3).filter(|at| *at != leader).collect();
        for at in &others {
            let disk = cluster.disk(*at);
            let used = (1_u64 << 40) - quorate::store::Disk::free_bytes(&disk).expect("it answers");
            disk.set_capacity(used + (1 << 20));
        }
        let named = cluster
            .wait_for("refusal", PATIENCE, async || match cluster.propose(leader, Add(1)).await {
                Err(ProposeError::NoSpace { full, .. }) => Some(full),
                _ => None,
            })
            .await;
        cluster.pause(PATIENCE).await;
        let look = cluster.on(leader, |_, count: GroupHandle<Counter>| async move { count.status().await });
        let status = look.await.expect("it runs").role.expect("it leads");
        cluster.note(format_args!("one has room again"));
        cluster.disk(others[0]).set_capacity(1 << 40);
        // Nothing is proposed meanwhile.
        cluster.pause(PATIENCE).await;
        let after = cluster.propose(leader, Add(1)).await;
        cluster.note(format_args!("long after"));
        let others: Vec<String> = others.iter().map(|at| format!("node{at}")).collect();
        (named, status.full_voters, after.is_ok(), others)
    };
    let report =
        Simulation::new(14).limit(Duration::from_secs(300)).keep_trace().run(Counter::default, script);
    let (named, shown, after, others) = report.value;
    assert_eq!((&named, &shown), (&others, &others));
    assert!(after, "who is asked next takes it");
    let full = |said| between(&report.trace, "two are full", "one has room again", said);
    assert_eq!(full("no majority of the voters has room").len(), 1);
    assert_eq!((full("became leader"), full("became candidate")), (Vec::new(), Vec::new()), "no elections");
    let again =
        between(&report.trace, "one has room again", "long after", "a majority of the voters has room");
    assert_eq!(again.len(), 1, "{again:#?}");
}

/// A follower said nothing of whom it follows.
#[test]
fn a_follower_names_its_leader_when_that_changes() {
    let script = async |cluster: Count| {
        let leader = cluster.wait_for_leader(GROUP, PATIENCE).await;
        let _ = cluster.propose(leader, Add(1)).await.expect("all is well");
        cluster.note(format_args!("the leader is lost"));
        cluster.crash(leader, Crash::Lost).await;
        let next = cluster.wait_for_other_leader(GROUP, leader, PATIENCE).await;
        let _ = cluster.propose(next, Add(1)).await.expect("two are enough");
        cluster.pause(PATIENCE).await;
        cluster.note(format_args!("long after"));
        (leader, next)
    };
    let report =
        Simulation::new(13).limit(Duration::from_secs(300)).keep_trace().run(Counter::default, script);
    let (old, new) = report.value;
    let changed = between(&report.trace, "the leader is lost", "long after", "leader changed");
    let to = format!("to=node{new}");
    assert!(
        changed.len() == 1 && changed[0].contains(&to),
        "one follower is left, of node{old}: {changed:#?}"
    );
    assert!(changed[0].contains("term="), "{changed:#?}");
}

/// It was said at the first start, by the line on the damage; later ones were silent.
#[test]
fn a_node_that_recovers_says_so_at_each_start() {
    let script = async |cluster: Count| {
        let leader = cluster.wait_for_leader(GROUP, PATIENCE).await;
        for _ in 0..20 {
            let _ = cluster.propose(leader, Add(1)).await.expect("all is well");
        }
        // The anchor has followed.
        cluster.pause(PATIENCE).await;
        for at in 0..3 {
            cluster.crash(at, Crash::Process).await;
        }
        // Without a majority it recovers until the end.
        let at = (leader + 1) % 3;
        let batches = cluster.disk(at).crash(Crash::Process).batches();
        cluster.damage(at, &Rot::Batch { batch: batches - 3 });
        for start in ["first start", "second start"] {
            cluster.note(format_args!("{start}"));
            cluster.restart(at).await;
            cluster.pause(PATIENCE).await;
            cluster.note(format_args!("end of the {start}"));
            cluster.crash(at, Crash::Process).await;
        }
        for at in 0..3 {
            cluster.restart(at).await;
        }
        cluster.wait_for_leader(GROUP, PATIENCE).await;
    };
    let report =
        Simulation::new(14).limit(Duration::from_secs(300)).keep_trace().run(Counter::default, script);
    for start in ["first start", "second start"] {
        let said = between(&report.trace, start, &format!("end of the {start}"), "recovering: no vote");
        assert_eq!(said.len(), 1, "{start}: {said:#?}");
    }
}

/// It started, and no line said why it took no writes.
#[test]
fn a_start_below_the_reserve_is_a_warning_with_what_is_missing() {
    let script = async |cluster: Count| {
        let leader = cluster.wait_for_leader(GROUP, PATIENCE).await;
        let _ = cluster.propose(leader, Add(1)).await.expect("all is well");
        let at = (leader + 1) % 3;
        cluster.crash(at, Crash::Process).await;
        cluster.disk(at).set_free_files(12);
        cluster.note(format_args!("it starts"));
        cluster.restart(at).await;
        cluster.pause(PATIENCE).await;
        cluster.note(format_args!("long after"));
    };
    let report =
        Simulation::new(15).limit(Duration::from_secs(300)).keep_trace().run(Counter::default, script);
    let said = between(&report.trace, "it starts", "long after", "disk below its reserve");
    assert!(said.len() == 1 && said[0].contains("free=\"12 inodes\""), "{said:#?}");
}
