//! How long no write is acknowledged once the leader's process is killed: its peers hear that it closed their connections, and do
//! not wait for the election timeout (`safety.md` 17). The figures are in `docs/evidence/leadership.md`.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use quorate::Config;
use quorate_tests::wait::{PATIENCE, until};
use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::http::{Http, Sent};
use crate::soak::either;
use crate::turn;

/// A client that waits longer for one node asks the other one.
const ONE_TRY: Duration = Duration::from_millis(500);
/// Between two tries, so that trying does not take the processor from the nodes.
const EVERY: Duration = Duration::from_millis(2);

/// When one of these nodes acknowledges a write; each is asked by a client of its own.
fn first_acknowledged(nodes: &[SocketAddr], round: usize) -> Result<Instant> {
    let is_over = AtomicBool::new(false);
    let ask = |node: SocketAddr| {
        let mut http = Http::new(node, ONE_TRY);
        let deadline = Instant::now() + PATIENCE;
        while !is_over.load(Ordering::SeqCst) && Instant::now() < deadline {
            let put = http.send("PUT", &format!("/v1/kv/k{round}"), "", "v");
            if matches!(put, Sent::Answer { status: 200..=299, .. }) {
                is_over.store(true, Ordering::SeqCst);
                return Some(Instant::now());
            }
            thread::park_timeout(EVERY);
        }
        None
    };
    thread::scope(|scope| {
        let asked: Vec<_> = nodes.iter().map(|node| scope.spawn(|| ask(*node))).collect();
        let answers = asked.into_iter().filter_map(|client| client.join().ok().flatten());
        answers.min().context("no write was acknowledged")
    })
}

#[test]
fn the_first_write_after_a_killed_leader_does_not_wait_for_an_election_timeout() -> Result<()> {
    let mut cluster = Cluster::unstarted(3, turn::busy())?;
    // As the binary has them without being told: an election timeout of a second.
    cluster.usual_timings();
    cluster.start_all()?;
    let timeout = Duration::from_millis(Config::default().cluster.election_timeout_ms);
    let mut waits = Vec::new();
    for round in 0..either(5, 200) {
        let old = cluster.leader()?;
        let others: Vec<usize> = (0..3).filter(|at| *at != old.at).collect();
        let follows =
            |at: &usize| cluster.view(*at).is_some_and(|view| view["leader"] == format!("node{}", old.at));
        until("the others follow", PATIENCE, || others.iter().all(follows).then_some(()))?;
        let nodes: Vec<_> = others.iter().map(|at| cluster.api(*at)).collect();
        let start = Instant::now();
        cluster.kill(old.at)?;
        let waited = first_acknowledged(&nodes, round)?.duration_since(start);
        println!("round {round}: node{} was killed, a write was acknowledged after {waited:?}", old.at);
        waits.push(waited);
        cluster.restart(old.at)?;
    }
    waits.sort_unstable();
    let of = |part: usize| waits[(waits.len() * part).div_ceil(100).max(1) - 1];
    println!("{} kills: p50 {:?} p90 {:?} p99 {:?} most {:?}", waits.len(), of(50), of(90), of(99), of(100));
    // The timeout alone is one to two of these. Half of the rounds must be better, since other tests may take the processors.
    ensure!(of(50) < timeout, "half of the kills cost {:?} and more", of(50));
    Ok(())
}
