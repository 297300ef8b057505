//! Links that take a few megabits a second: what is written arrives more slowly, and no leader is deposed by its own backlog.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use quorate_tests::wait::until;
use tokio::time::Instant;

use crate::cluster::{Cluster, Leader};
use crate::http::{Http, Sent};
use crate::net::nodes_apart;
use crate::soak::either;
use crate::turn;

/// One put may take so long: the link carries it twice.
const PUT_WITHIN: Duration = Duration::from_secs(60);

/// One client with values of 512 KiB, and many with values of 64 KiB: before heartbeats had a lane of their own, the one client alone
/// caused 19 changes of role in 12 s at 10 Mbit/s.
#[test]
fn a_slow_link_deposes_no_leader() -> Result<()> {
    let Some((net, mut cluster)) = nodes_apart(3, turn::steady())? else { return Ok(()) };
    cluster.usual_timings();
    cluster.start_all()?;
    let leader = cluster.leader()?;
    puts(&cluster, leader.at, 1, 1, 1_024)?;
    for mbit in either(&[10, 100][..], &[10, 50, 100]) {
        net.limit(*mbit)?;
        let began = Instant::now();
        // At 10 Mbit/s, 64 such values alone take 7 s: in CI eight clients, so that more than one comes after the other.
        let (many, each) = either(if *mbit == 10 { (8, 3) } else { (64, 2) }, (64, 20));
        let large = either(3, 6);
        puts(&cluster, leader.at, 1, large, 512 << 10)?;
        puts(&cluster, leader.at, many, each, 64 << 10)?;
        let after = cluster.leader()?;
        ensure!(after == leader, "{leader:?} led, and now {after:?}:\n{}", cluster.log_ends());
        println!(
            "field: {mbit} Mbit/s, {large} values of 512 KiB from one client, {} of 64 KiB from {many}: {:.1} s, no election",
            many * each,
            began.elapsed().as_secs_f64()
        );
    }
    Ok(())
}

/// A node that was down while others wrote catches up over a slow link: no one is elected, with the third node up and with it
/// down, when each commit waits for the one that catches up. How long it takes beside what the link takes is printed and not
/// judged here; `.ci/soak` keeps it.
///
/// `QUORATE_CATCH_UP=MBIT:MIB,..` asks for other links and backlogs.
#[test]
fn catch_up_over_a_slow_link_elects_no_one() -> Result<()> {
    let asked = std::env::var("QUORATE_CATCH_UP").unwrap_or_else(|_| "60:8".to_owned());
    for one in asked.split(',') {
        let (mbit, mib) = one.split_once(':').context("MBIT:MIB")?;
        for third_is_up in [true, false] {
            catch_up(mbit.parse()?, mib.parse()?, third_is_up)?;
        }
    }
    Ok(())
}

fn catch_up(mbit: u32, mib: usize, third_is_up: bool) -> Result<()> {
    let Some((net, mut cluster)) = nodes_apart(3, turn::steady())? else { return Ok(()) };
    cluster.usual_timings();
    cluster.start_all()?;
    let leader = cluster.leader()?;
    let (late, third) = ((leader.at + 1) % 3, (leader.at + 2) % 3);
    cluster.kill(late)?;
    puts(&cluster, leader.at, 4, mib.div_ceil(2), 512 << 10)?;
    net.limit(mbit)?;
    let sent = net.sent_bytes(leader.at)?;
    cluster.spawn(late)?;
    let ideal = Duration::from_secs_f64((mib << 20) as f64 * 8.0 / (f64::from(mbit) * 1e6));
    let last = |cluster: &Cluster, at| cluster.status(at)?["last_index"].as_u64();
    let end = last(&cluster, leader.at).context("the leader answers")?;
    let first = last_when_it_answers(&cluster, late)?;
    if !third_is_up {
        let heard = || (last(&cluster, late)? > first).then_some(());
        until("entries arrive", PUT_WITHIN, heard).with_context(|| cluster.log_ends())?;
        cluster.kill(third)?;
    }
    let there = || (last(&cluster, late)? >= end).then_some(());
    let ((), took) =
        until("it has caught up", 4 * ideal + PUT_WITHIN, there).with_context(|| cluster.log_ends())?;
    let sent = (net.sent_bytes(leader.at)? - sent) as f64 / f64::from(1 << 20);
    println!(
        "catch-up: {mib} MiB at {mbit} Mbit/s, third node {}: {:.1} s, {:.2} of what the link takes, {sent:.1} MiB sent",
        if third_is_up { "up" } else { "down" },
        took.as_secs_f64(),
        took.as_secs_f64() / ideal.as_secs_f64(),
    );
    puts(&cluster, leader.at, 1, 1, 1_024)?;
    let after: Leader = cluster.leader()?;
    ensure!(after == leader, "{leader:?} led, and now {after:?}:\n{}", cluster.log_ends());
    Ok(())
}

/// Where the log of a node ends that was just started.
fn last_when_it_answers(cluster: &Cluster, at: usize) -> Result<u64> {
    let looked = until("it answers", PUT_WITHIN, || cluster.status(at)?["last_index"].as_u64());
    Ok(looked.with_context(|| cluster.log_ends())?.0)
}

/// So many clients put so many values of this size, one after the other each; all are answered.
fn puts(cluster: &Cluster, at: usize, clients: usize, each: usize, bytes: usize) -> Result<()> {
    let api = cluster.api(at);
    let put = |client: usize| -> Result<()> {
        let (mut http, value) = (Http::new(api, PUT_WITHIN), "v".repeat(bytes));
        for _ in 0..each {
            let path = format!("/v1/kv/big{client}?timeout_ms={}", PUT_WITHIN.as_millis());
            match http.send("PUT", &path, "", &value) {
                Sent::Answer { status: 200 | 201 | 204, .. } => {}
                other => bail!("client {client}, {bytes} bytes: {other:?}"),
            }
        }
        Ok(())
    };
    thread::scope(|scope| {
        let running: Vec<_> = (0..clients).map(|client| scope.spawn(move || put(client))).collect();
        running.into_iter().try_for_each(|thread| thread.join().expect("a client does not panic"))
    })
}
