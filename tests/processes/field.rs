//! What machines and networks do in the field: a path that drops long packets, links that carry one way only, machines that lose their
//! power while no one hears of it, and machines that stand still for a minute.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use quorate_tests::skip::skipped;
use quorate_tests::wait::{PATIENCE, until};
use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::http::{Http, Sent};
use crate::load::Load;
use crate::net::{Net, nodes_apart};
use crate::soak::either;
use crate::turn;

/// Longer than heartbeats, and shorter than what holds a value.
const HOLE_BYTES: u32 = 700;
/// Values that fit no packet that passes.
const LONG_BYTES: usize = 32 << 10;

/// Nodes that answer their clients all together: one leader, and all are ready.
fn all_agree(cluster: &mut Cluster, load: &Load) -> Result<()> {
    load.answers(&cluster.apis(), cluster.answers_within())?;
    (0..3).try_for_each(|at| cluster.ready(at))?;
    load.writes(20)
}

/// Clients that put long values at a node, whether it answers or not, until so much time is over; gives how many were answered.
fn long_values(cluster: &Cluster, at: usize, lasts: Duration) -> usize {
    let (value, patience) = ("v".repeat(LONG_BYTES), Duration::from_secs(1));
    let over = Instant::now() + lasts;
    let mut answered = 0;
    while Instant::now() < over {
        let put = Http::new(cluster.api(at), patience).send("PUT", "/v1/kv/long?timeout_ms=800", "", &value);
        answered += usize::from(matches!(put, Sent::Answer { status: 200 | 201, .. }));
    }
    answered
}

/// First between the leader and one follower, then between the leader and both. Heartbeats pass, entries do not.
#[test]
fn a_path_that_drops_long_packets_loses_nothing() -> Result<()> {
    let Some((net, mut cluster)) = nodes_apart(3, turn::busy())? else { return Ok(()) };
    if let Err(why) = net.drop_longer(0, 1, HOLE_BYTES).and_then(|()| net.long_pass()) {
        skipped(&format!("this machine cannot drop packets by their length: {why:#}"));
        return Ok(());
    }
    cluster.usual_timings();
    cluster.start_all()?;
    Load::during(&cluster.apis(), |load| {
        for holes in [1, 2] {
            load.writes(20)?;
            let leader = cluster.leader()?;
            for other in (1..=holes).map(|next| (leader.at + next) % 3) {
                net.drop_longer(leader.at, other, HOLE_BYTES)?;
            }
            let answered =
                long_values(&cluster, leader.at, either(Duration::from_secs(3), Duration::from_secs(30)));
            let during = cluster.leader()?;
            if holes == 1 {
                // The other follower and the leader are a majority.
                load.answers(&cluster.apis(), cluster.answers_within())?;
                load.writes(20)?;
            }
            net.long_pass()?;
            let took = load.answers(&cluster.apis(), cluster.answers_within())?;
            all_agree(&mut cluster, load)?;
            println!(
                "field: long packets dropped from the leader to {holes} of 2: {answered} long values acknowledged, node{} led in \
                 term {}, then node{} in {}; a write was acknowledged {:.1} s after it",
                leader.at,
                leader.term,
                during.at,
                during.term,
                took.as_secs_f64(),
            );
        }
        Ok(())
    })
}

/// What a leader sends is lost and what it hears is not; then a follower hears nothing and is heard.
#[test]
fn links_that_carry_one_way_only_lose_nothing() -> Result<()> {
    let Some((net, mut cluster)) = nodes_apart(3, turn::steady())? else { return Ok(()) };
    cluster.usual_timings();
    cluster.start_all()?;
    Load::during(&cluster.apis(), |load| {
        load.writes(20)?;
        let old = cluster.leader()?;
        let others: Vec<usize> = (0..3).filter(|at| *at != old.at).collect();
        others.iter().try_for_each(|other| net.cut(old.at, *other))?;
        let apis: Vec<_> = others.iter().map(|at| cluster.api(*at)).collect();
        let took = load.answers(&apis, cluster.answers_within())?;
        let new = cluster.leader_of(&others, old.term)?;
        load.writes(20)?;
        net.heal_all()?;
        all_agree(&mut cluster, load)?;
        println!(
            "field: a leader that is not heard: another one led in term {} for {}, and answered after {:.1} s",
            new.term,
            old.term,
            took.as_secs_f64()
        );
        let leader = cluster.leader()?;
        let deaf = (leader.at + 1) % 3;
        for other in (0..3).filter(|at| *at != deaf) {
            net.cut(other, deaf)?;
        }
        let began = Instant::now();
        let lasts = either(Duration::from_secs(3), Duration::from_secs(30));
        until("the follower has been deaf for a while", PATIENCE, || {
            (began.elapsed() > lasts).then_some(())
        })?;
        load.writes(20)?;
        let rest: Vec<usize> = (0..3).filter(|at| *at != deaf).collect();
        let during = cluster.leader_of(&rest, 0)?;
        ensure!(
            during == leader,
            "{leader:?} led, and a deaf follower cost it {during:?}:\n{}",
            cluster.log_ends()
        );
        net.heal_all()?;
        all_agree(&mut cluster, load)?;
        let after = cluster.leader()?;
        println!(
            "field: a follower that hears nothing: term {} before, {} after it heard again",
            leader.term, after.term
        );
        ensure!(after == leader, "{leader:?} led, and the follower that hears again cost it {after:?}");
        Ok(())
    })
}

/// A machine that loses its power sends no end of its connections: its peers hold half of each when it is there again.
#[test]
fn connections_of_which_one_end_is_gone_hold_no_one_up() -> Result<()> {
    let Some((net, mut cluster)) = nodes_apart(3, turn::busy())? else { return Ok(()) };
    cluster.usual_timings();
    cluster.start_all()?;
    Load::during(&cluster.apis(), |load| {
        for of_leader in [false, true] {
            load.writes(20)?;
            let leader = cluster.leader()?;
            let hit = if of_leader { leader.at } else { (leader.at + 1) % 3 };
            lose_power(&net, &mut cluster, hit)?;
            let back = Instant::now();
            cluster.restart(hit)?;
            let ready = back.elapsed();
            let took = load.answers(&cluster.apis(), cluster.answers_within())?;
            all_agree(&mut cluster, load)?;
            println!(
                "field: node{hit} lost its power{} and was started at once: ready after {:.1} s, a write acknowledged {:.1} s later",
                if of_leader { " as the leader" } else { "" },
                ready.as_secs_f64(),
                took.as_secs_f64(),
            );
        }
        Ok(())
    })
}

/// Kills a node of which no packet arrives any more, the ends of its connections among them; then packets pass again.
fn lose_power(net: &Net, cluster: &mut Cluster, hit: usize) -> Result<()> {
    let others = || (0..=net.test()).filter(|at| *at != hit);
    others().try_for_each(|other| net.cut(hit, other))?;
    cluster.kill(hit)?;
    // The kernel would send their ends again once packets pass.
    net.forget_connections(hit)?;
    net.heal_all()
}

/// Clients that are gone without a word have all the places of the API; one that comes then is served all the same.
#[test]
fn clients_that_are_gone_without_a_word_keep_no_place() -> Result<()> {
    /// What the process needs for itself, and few places more.
    const FILES_MAX: u32 = 400;
    let Some((net, mut cluster)) = nodes_apart(1, turn::busy())? else { return Ok(()) };
    cluster.limit_files(0, FILES_MAX);
    cluster.start_all()?;
    let mut clients = Vec::new();
    for _ in 0..FILES_MAX {
        let Ok(mut stream) = TcpStream::connect_timeout(&cluster.api(0), Duration::from_millis(200)) else {
            break;
        };
        stream.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n")?;
        clients.push(stream);
    }
    ensure!(clients.len() > 50, "only {} clients were there", clients.len());
    net.cut(net.test(), 0)?;
    net.forget_connections(net.test())?;
    let gone = clients.len();
    drop(clients);
    net.heal_all()?;
    let put = || {
        let put = Http::new(cluster.api(0), Duration::from_secs(2)).send("PUT", "/v1/kv/k", "", "v");
        matches!(put, Sent::Answer { status: 200 | 201, .. }).then_some(())
    };
    let ((), took) = until("a new client is served", PATIENCE, put).with_context(|| cluster.log_ends())?;
    println!(
        "field: {gone} clients were gone without a word, a new one was served after {:.1} s",
        took.as_secs_f64()
    );
    cluster.end(0)
}

/// As a host that takes a snapshot of its machines, or moves them to another one.
#[test]
fn a_leader_that_stands_still_loses_nothing() -> Result<()> {
    stands_still("the leader", |leader| vec![leader])
}

#[test]
fn a_follower_that_stands_still_loses_nothing() -> Result<()> {
    stands_still("a follower", |leader| vec![(leader + 1) % 3])
}

#[test]
fn nodes_that_all_stand_still_lose_nothing() -> Result<()> {
    stands_still("all nodes", |_| vec![0, 1, 2])
}

fn stands_still(who: &str, which: fn(usize) -> Vec<usize>) -> Result<()> {
    let lasts = either(Duration::from_secs(2), Duration::from_secs(60));
    let mut cluster = Cluster::unstarted(3, turn::busy())?;
    cluster.usual_timings();
    cluster.start_all()?;
    Load::during(&cluster.apis(), |load| {
        load.writes(20)?;
        let leader = cluster.leader()?;
        let still = which(leader.at);
        still.iter().try_for_each(|at| cluster.pause(*at))?;
        let began = Instant::now();
        let apis: Vec<_> = (0..3).filter(|at| !still.contains(at)).map(|at| cluster.api(at)).collect();
        if !apis.is_empty() {
            load.answers(&apis, cluster.answers_within())?;
        }
        until("it has stood still", 2 * PATIENCE, || (began.elapsed() > lasts).then_some(()))?;
        still.iter().try_for_each(|at| cluster.resume(*at))?;
        let took =
            load.answers(&cluster.apis(), cluster.answers_within()).with_context(|| cluster.log_ends())?;
        all_agree(&mut cluster, load)?;
        let after = cluster.leader()?;
        println!(
            "field: {who} stood still for {} s: a write was acknowledged {:.1} s after it, terms {} to {}",
            lasts.as_secs(),
            took.as_secs_f64(),
            leader.term,
            after.term,
        );
        Ok(())
    })
}
