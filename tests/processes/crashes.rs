//! kill -9: of the leader in a loop, of all at once, of two of five.

use anyhow::{Context, Result, ensure};
use quorate_tests::wait::{PATIENCE, until};

use crate::cluster::{ANSWERS_WITHIN, Cluster};
use crate::load::Load;

#[test]
fn the_leader_is_killed_in_a_loop_under_load() -> Result<()> {
    let mut cluster = Cluster::start(3)?;
    Load::during(&cluster.apis(), |load| {
        let mut last = 0;
        for round in 0..6 {
            load.writes(40)?;
            let old = cluster.leader()?;
            ensure!(old.term >= last, "terms go up");
            cluster.kill(old.at)?;
            let took = load.answers(&cluster.apis(), ANSWERS_WITHIN)?;
            let new = cluster.leader_of(&[0, 1, 2], old.term)?;
            println!("round {round}: node{} was killed, node{} answered after {took:?}", old.at, new.at);
            ensure!(new.at != old.at, "a killed node leads");
            last = new.term;
            // It catches up while clients go on.
            cluster.restart(old.at)?;
        }
        Ok(())
    })
}

#[test]
fn all_are_killed_at_once_under_load() -> Result<()> {
    let mut cluster = Cluster::start(3)?;
    Load::during(&cluster.apis(), |load| {
        for round in 0..4 {
            load.writes(40)?;
            cluster.kill_all()?;
            (0..3).try_for_each(|at| cluster.spawn(at))?;
            let took = load.answers(&cluster.apis(), ANSWERS_WITHIN)?;
            println!("round {round}: all were killed, a write was acknowledged {took:?} after their start");
            (0..3).try_for_each(|at| cluster.ready(at))?;
        }
        Ok(())
    })
}

#[test]
fn five_nodes_bear_the_loss_of_any_two() -> Result<()> {
    let mut cluster = Cluster::start(5)?;
    Load::during(&cluster.apis(), |load| {
        for round in 0..3 {
            load.writes(40)?;
            let old = cluster.leader()?;
            let other = (old.at + 1 + round) % 5;
            let other = if other == old.at { (other + 1) % 5 } else { other };
            cluster.kill(other)?;
            cluster.kill(old.at)?;
            let took = load.answers(&cluster.apis(), ANSWERS_WITHIN)?;
            println!("round {round}: node{} and node{other} were killed, answered after {took:?}", old.at);
            load.writes(20)?;
            cluster.restart(old.at)?;
            cluster.restart(other)?;
        }
        Ok(())
    })
}

/// The check itself, end to end: a node that came back alone says what it holds, which is old; that is seen.
#[test]
fn an_old_answer_is_seen_in_the_history() -> Result<()> {
    let mut cluster = Cluster::start(3)?;
    let checked = Load::during(&cluster.apis(), |load| {
        load.answers(&cluster.apis(), ANSWERS_WITHIN)?;
        let alone = (cluster.leader()?.at + 1) % 3;
        cluster.kill(alone)?;
        load.answers(&cluster.apis(), ANSWERS_WITHIN)?;
        load.writes(20)?;
        cluster.kill_all()?;
        cluster.spawn(alone)?;
        until("it answers", PATIENCE, || load.reads_stale_at(cluster.api(alone), "probe").then_some(()))?;
        cluster.start_all()
    });
    let why = checked.err().context("the old answer was taken for a new one")?;
    ensure!(format!("{why:#}").contains("key \"probe\" is not linearizable"), "{why:#}");
    println!("as it should be: {why:#}");
    Ok(())
}
