//! SIGSTOP of the leader for longer than an election, then SIGCONT: it wakes in a world that has moved on.

use anyhow::{Context, Result, ensure};
use quorate_tests::wait::{PATIENCE, until};

use crate::cluster::Cluster;
use crate::load::Load;
use crate::turn;

#[test]
fn a_paused_leader_that_wakes_up_serves_nothing_stale() -> Result<()> {
    let mut cluster = Cluster::start(3)?;
    Load::during(&cluster.apis(), |load| {
        for round in 0..4 {
            load.writes(30)?;
            let old = cluster.leader()?;
            cluster.pause(old.at)?;
            let others: Vec<usize> = (0..3).filter(|at| *at != old.at).collect();
            let apis: Vec<_> = others.iter().map(|at| cluster.api(*at)).collect();
            let took = load.answers(&apis, cluster.answers_within())?;
            let new = cluster.leader_of(&others, old.term)?;
            // Not only elected: it has written while the old one was away.
            load.writes(10)?;
            cluster.resume(old.at)?;
            // In the history: asked before it can have heard of the new leader.
            let reads = (0..6).filter(|read| load.reads_at(cluster.api(old.at), ["a", "b", "c"][read % 3]));
            let reads = reads.count();
            let ((), follows) = until("it follows", PATIENCE, || {
                let view = cluster.view(old.at)?;
                (view["role"] != "leader" && view["term"].as_u64()? >= new.term).then_some(())
            })
            .with_context(|| cluster.log_ends())?;
            println!(
                "round {round}: node{} paused, node{} answered after {took:?}; it answered {reads} of 6 reads \
                 when it woke, and followed {follows:?} later",
                old.at, new.at
            );
            let took = load.answers(&cluster.apis(), cluster.answers_within())?;
            println!("round {round}: all run, answered after {took:?}");
        }
        Ok(())
    })
}

#[test]
fn a_paused_follower_holds_nobody_up() -> Result<()> {
    let mut cluster = Cluster::unstarted(3, turn::steady())?;
    cluster.start_all()?;
    Load::during(&cluster.apis(), |load| {
        load.writes(20)?;
        let leader = cluster.leader()?;
        let follower = (leader.at + 1) % 3;
        cluster.pause(follower)?;
        load.writes(60)?;
        ensure!(cluster.leader()? == leader, "the leader stays");
        cluster.resume(follower)?;
        cluster.ready(follower)?;
        load.writes(20)
    })
}
