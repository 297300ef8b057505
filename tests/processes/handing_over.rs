//! Leadership handed over and nodes drained by the command line, and for how long no write is acknowledged meanwhile. The figures are in
//! `docs/evidence/handing-over.md`.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use quorate_tests::wait::{PATIENCE, until};
use tokio::time::Instant;

use crate::binary::{self, Ran, ran};
use crate::cluster::Cluster;
use crate::http::{Http, Sent};
use crate::soak::either;
use crate::turn;

/// How long the client waits for one answer.
const ONE_TRY: Duration = Duration::from_secs(2);

/// Runs the binary against some nodes.
fn run(cluster: &Cluster, nodes: &[usize], arguments: &[&str]) -> Result<Ran> {
    let endpoints: Vec<_> = nodes.iter().map(|at| cluster.api(*at).to_string()).collect();
    ran(binary::command(cluster.directory(), &[arguments, &["--endpoints", &endpoints.join(",")]].concat()))
}

/// What a client met that wrote all the time, one write after the other, by one node.
struct Written {
    /// The longest time between two writes that were acknowledged.
    gap: Duration,
    acknowledged: usize,
    not: usize,
}

/// Writes by a node while `work` is done, and until one more is acknowledged after that.
fn written_during<T>(to: SocketAddr, work: impl FnOnce() -> Result<T>) -> Result<(T, Written)> {
    let (is_over, runs) = (AtomicBool::new(false), AtomicBool::new(false));
    let client = || -> Result<Written> {
        let (mut http, deadline) = (Http::new(to, ONE_TRY), Instant::now() + 2 * PATIENCE);
        let mut written = Written { gap: Duration::ZERO, acknowledged: 0, not: 0 };
        let mut last = None;
        loop {
            // Before the write is sent.
            let is_last = is_over.load(Ordering::SeqCst);
            if matches!(http.send("PUT", "/v1/kv/k", "", "v"), Sent::Answer { status: 200..=299, .. }) {
                let now = Instant::now();
                let since = last.replace(now).map_or(Duration::ZERO, |last| now.duration_since(last));
                (written.gap, written.acknowledged) = (written.gap.max(since), written.acknowledged + 1);
                runs.store(true, Ordering::SeqCst);
                if is_last {
                    return Ok(written);
                }
            } else {
                written.not += 1;
            }
            ensure!(Instant::now() < deadline, "no write is acknowledged any more");
        }
    };
    thread::scope(|scope| {
        let client = scope.spawn(client);
        let begun = until("writes are acknowledged", PATIENCE, || runs.load(Ordering::SeqCst).then_some(()));
        let worked = begun.and_then(|_| work());
        is_over.store(true, Ordering::SeqCst);
        let written = client.join().ok().context("the client panicked")??;
        Ok((worked?, written))
    })
}

/// The shortest and the longest of such times, and what is between them.
fn shown(what: &str, mut gaps: Vec<Duration>) -> Duration {
    gaps.sort_unstable();
    let of = |part: usize| gaps[(gaps.len() * part).div_ceil(100).max(1) - 1];
    println!("{} {what}: p50 {:?} p90 {:?} p99 {:?} most {:?}", gaps.len(), of(50), of(90), of(99), of(100));
    of(50)
}

#[test]
fn leadership_moves_by_command_and_each_outcome_has_its_exit_code() -> Result<()> {
    let mut cluster = Cluster::start(3)?;
    let all = [0, 1, 2];
    let old = cluster.leader()?.at;
    let to = (old + 1) % 3;
    let name = format!("node{to}");
    // It is asked of the node that is to lead, and passed on.
    let moved = run(&cluster, &[to], &["leader", "transfer", "--to", &name, "-o", "json"])?;
    moved.expect(0, &name)?;
    ensure!(moved.json()?["leader"] == name.as_str(), "{moved:?}");
    run(&cluster, &all, &["leader", "transfer", "--to", &name])?.expect(0, &name)?;
    run(&cluster, &all, &["leader", "transfer", "--to", "node7"])?.expect(3, "no voter")?;
    run(&cluster, &all, &["leader", "transfer", "-o", "plain"])?.expect(0, "node")?;
    // A voter that is gone cannot lead, and nothing changes.
    let leader = cluster.leader()?.at;
    let gone = (leader + 1) % 3;
    cluster.kill(gone)?;
    let name = format!("node{gone}");
    let refused = || {
        let ran = run(&cluster, &[leader], &["leader", "transfer", "--to", &name]);
        ran.map(|ran| (ran.code != Some(5)).then_some(ran)).transpose()
    };
    until("its leader knows that it is gone", PATIENCE, refused)?.0?.expect(6, "[transfer_refused]")?;
    // No node is there that could be asked.
    run(&cluster, &[gone], &["leader", "transfer"])?.expect(4, "")?;
    cluster.kill((leader + 2) % 3)?;
    let alone = run(&cluster, &[leader], &["leader", "transfer", "--timeout", "2s"])?;
    ensure!([4, 5, 6].contains(&alone.code.unwrap_or_default()), "no one is left to lead: {alone:?}");
    Ok(())
}

#[test]
fn a_drained_leader_hands_over_says_so_and_ends_and_the_next_one_only_once_it_is_back() -> Result<()> {
    let mut cluster = Cluster::start(3)?;
    let all = [0, 1, 2];
    let old = cluster.leader()?.at;
    let (next, other) = ((old + 1) % 3, (old + 2) % 3);
    run(&cluster, &all, &["drain"])?.expect(2, "name it alone")?;
    run(&cluster, &[old], &["drain", "--delay", "25h"])?.expect(2, "at most 24h")?;
    let day = ["drain", "--delay", "24h", "-o", "json"];
    let drained = run(&cluster, &[old], &day)?;
    drained.expect(0, "ends_in_ms")?;
    let drained = drained.json()?;
    ensure!(drained["node"] == format!("node{old}") && drained["leader"] != drained["node"], "{drained}");
    // It is there, answers, and takes no new work from balancers.
    run(&cluster, &[old], &["health"])?.expect(7, "not_draining: draining: the node ends in ")?;
    run(&cluster, &[old], &["kv", "put", "k", "v"])?.expect(0, "")?;
    ensure!(cluster.leader_of(&[next, other], 0)?.at != old, "it has handed over");
    // Asked again, it ends sooner, and never later.
    let again = run(&cluster, &[old], &day)?.json()?["ends_in_ms"].as_u64();
    ensure!(again < Some(86_400_000), "{again:?}");
    run(&cluster, &[old], &["drain", "--delay", "0s"])?.expect(0, "")?;
    ensure!(cluster.ended(old)?.code() == Some(0), "it ends in order");
    // A script that goes on too early is stopped, and nothing has changed.
    let leader = cluster.leader_of(&[next, other], 0)?.at;
    until("its leader knows that it is gone", PATIENCE, || {
        let listed = run(&cluster, &[leader], &["member", "list", "-o", "json"]).ok()?.json().ok()?;
        (listed["members"][old]["connected"] == false).then_some(())
    })?;
    run(&cluster, &[leader], &["drain"])?.expect(1, "[no_quorum]")?;
    run(&cluster, &[leader], &["health"])?.expect(0, "")?;
    cluster.restart(old)?;
    run(&cluster, &[leader], &["kv", "get", "k"])?.expect(0, "v")
}

/// By hand it is what a supervisor does with SIGTERM. One node alone is not drained by mistake.
#[test]
fn the_last_node_is_drained_only_by_force_and_a_signal_ends_a_drain_at_once() -> Result<()> {
    let mut cluster = Cluster::start(1)?;
    run(&cluster, &[0], &["drain"])?.expect(1, "[no_quorum]")?;
    run(&cluster, &[0], &["drain", "--force", "--delay", "24h"])?.expect(0, "")?;
    cluster.end(0)?;
    cluster.restart(0)?;
    run(&cluster, &[0], &["drain", "--force"])?.expect(0, "")?;
    ensure!(cluster.ended(0)?.code() == Some(0), "it ends in order");
    Ok(())
}

#[test]
fn a_transfer_costs_writers_little() -> Result<()> {
    let mut cluster = Cluster::unstarted(3, turn::busy())?;
    cluster.usual_timings();
    cluster.start_all()?;
    let (mut gaps, mut not) = (Vec::new(), 0);
    for _ in 0..either(5, 100) {
        let old = cluster.leader()?.at;
        // The client writes by the node that stays a follower.
        let (to, by) = ((old + 1) % 3, (old + 2) % 3);
        let ((), written) = written_during(cluster.api(by), || cluster.transfer_to(to))?;
        ensure!(written.acknowledged > 1, "it wrote before and after");
        not += written.not;
        gaps.push(written.gap);
    }
    println!("writes that were not acknowledged: {not}");
    let half = shown("transfers", gaps);
    // An election without a transfer takes one to two seconds with these timings.
    ensure!(half < Duration::from_secs(1), "half of the transfers cost {half:?} and more");
    Ok(())
}

#[test]
fn a_node_that_is_drained_and_started_again_costs_writers_little() -> Result<()> {
    let mut cluster = Cluster::unstarted(3, turn::busy())?;
    cluster.usual_timings();
    cluster.start_all()?;
    let (mut drained, mut started, mut not) = (Vec::new(), Vec::new(), 0);
    for _ in 0..either(2, 30) {
        let old = cluster.leader()?.at;
        let by = (old + 1) % 3;
        let ((), written) = written_during(cluster.api(by), || {
            run(&cluster, &[old], &["drain"])?.expect(0, "")?;
            ensure!(cluster.ended(old)?.code() == Some(0), "it ends in order");
            Ok(())
        })?;
        let ((), again) = written_during(cluster.api(by), || cluster.restart(old))?;
        not += written.not + again.not;
        drained.push(written.gap);
        started.push(again.gap);
    }
    println!("writes that were not acknowledged: {not}");
    shown("nodes that start", started);
    let half = shown("leaders drained", drained);
    ensure!(half < Duration::from_secs(1), "half of them cost {half:?} and more");
    Ok(())
}
