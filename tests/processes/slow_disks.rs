//! Disks that are slow or stand still under all nodes at once, as those of one storage are: slow service, no endless elections,
//! no node that ends, and service again once the storage goes on.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use quorate_tests::wait::{PATIENCE, until};
use tokio::time::Instant;

use crate::cluster::{Cluster, ELECTION_TIMEOUT};
use crate::harmed::harmed;
use crate::http::Sent;
use crate::load::Load;
use crate::shim::Harm;
use crate::soak::either;
use crate::turn;

/// A put takes two syncs one after the other, and waits for two more of the batch before it.
const SYNCS_OF_A_PUT: u32 = 4;
/// Elections until there is one leader again, where every vote takes longer than an election timeout.
const ELECTIONS_MAX: u64 = 6;

/// Each sync takes longer than a follower waits for its leader.
#[test]
fn equally_slow_disks_are_slow_service_and_no_endless_elections() -> Result<()> {
    slow(&[0, 1, 2])
}

/// Every majority has a slow one.
#[test]
fn two_slow_disks_of_three_are_slow_service_and_no_endless_elections() -> Result<()> {
    slow(&[0, 1])
}

/// A vote is waited for ten election timeouts and no longer: two writes of several syncs each must fit into them.
fn slow(nodes: &[usize]) -> Result<()> {
    let sync = either(ELECTION_TIMEOUT * 4 / 3, Duration::from_millis(1_200));
    let Some(mut cluster) = harmed(3, turn::steady())? else { return Ok(()) };
    if either(false, true) {
        cluster.usual_timings();
    }
    cluster.start_all()?;
    puts(&cluster, 1, PATIENCE)?;
    let leader = cluster.leader()?;
    let each = |at: &usize| -> Result<()> {
        ensure!(cluster.harm(*at)?.syncs()? > 0, "node{at} syncs past the shim");
        cluster.harm(*at)?.sync_takes(sync)
    };
    nodes.iter().try_for_each(each)?;
    let within = sync * SYNCS_OF_A_PUT + cluster.answers_within();
    // The first ones may meet the election that the sudden change can cost: until then no write here was slow.
    puts(&cluster, 1, within)?;
    let settled = cluster.leader()?;
    ensure!(settled.term <= leader.term + ELECTIONS_MAX, "{leader:?} led, and now {settled:?}");
    let began = Instant::now();
    let count = either(2, 20);
    puts(&cluster, count, within)?;
    let took = began.elapsed();
    let after = cluster.leader()?;
    ensure!(after == settled, "{settled:?} led, and now {after:?}:\n{}", cluster.log_ends());
    // And a new one is found: each vote takes a sync, too.
    cluster.kill(after.at)?;
    let others: Vec<usize> = (0..3).filter(|at| *at != after.at).collect();
    let killed = Instant::now();
    let new = cluster.leader_of(&others, after.term)?;
    let elected = killed.elapsed();
    ensure!(new.term <= after.term + ELECTIONS_MAX, "{after:?} led, and then {new:?}");
    puts(&cluster, 1, within)?;
    println!(
        "field: slow disks, {} of 3, {} ms a sync: {count} puts took {:.1} s, terms {} to {}; a leader was killed, the next \
         one led {:.1} s later in term {}",
        nodes.len(),
        sync.as_millis(),
        took.as_secs_f64(),
        leader.term,
        after.term,
        elected.as_secs_f64(),
        new.term,
    );
    Ok(())
}

/// Puts so many values, one after the other; each is answered in time, by any node that runs.
fn puts(cluster: &Cluster, count: usize, within: Duration) -> Result<()> {
    for _ in 0..count {
        let put = || {
            let leader = cluster.leader().ok()?;
            let path = format!("/v1/kv/k?timeout_ms={}", within.as_millis());
            match cluster.http(leader.at, within).send("PUT", &path, "", "v") {
                Sent::Answer { status: 200 | 201 | 204, .. } => Some(()),
                Sent::Answer { .. } | Sent::Unsent | Sent::Lost => None,
            }
        };
        until("a put is answered", within, put).with_context(|| cluster.log_ends())?;
    }
    Ok(())
}

/// With the limits that users have: 13 s ended every node, when a disk that was silent for 10 s counted as failed.
#[test]
fn storage_that_stalls_under_all_nodes_ends_none_and_service_comes_back() -> Result<()> {
    let stall = either(Duration::from_secs(3), Duration::from_secs(13));
    let Some(mut cluster) = harmed(3, turn::busy())? else { return Ok(()) };
    cluster.usual_timings();
    cluster.start_all()?;
    Load::during(&cluster.apis(), |load| {
        load.writes(20)?;
        let before = cluster.leader()?;
        (0..3).try_for_each(|at| cluster.harm(at)?.stall(true))?;
        let over = Instant::now() + stall;
        let waits = |at| cluster.harm(at).and_then(Harm::waiting).is_ok_and(|waiting| waiting > 0);
        until("a sync waits at every node", stall, || (0..3).all(waits).then_some(()))?;
        until("the stall is over", stall + PATIENCE, || (Instant::now() >= over).then_some(()))?;
        ensure!((0..3).all(waits), "a sync ended during the stall");
        none_has_ended(&mut cluster)?;
        (0..3).try_for_each(|at| cluster.harm(at)?.stall(false))?;
        let took = load.answers(&cluster.apis(), cluster.answers_within())?;
        load.writes(20)?;
        let after = cluster.leader()?;
        println!(
            "field: all storage stalled for {:.1} s: a write was acknowledged {:.1} s after it, terms {} to {}",
            stall.as_secs_f64(),
            took.as_secs_f64(),
            before.term,
            after.term,
        );
        none_has_ended(&mut cluster)
    })?;
    cluster.end_all()
}

fn none_has_ended(cluster: &mut Cluster) -> Result<()> {
    for at in 0..3 {
        if let Some(status) = cluster.has_ended(at) {
            bail!("node{at} ended with {status}:\n{}", cluster.log_end(at));
        }
    }
    Ok(())
}
