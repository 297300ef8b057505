//! kill -9: of the leader in a loop, of all at once, of two of five.

use anyhow::{Result, ensure};

use crate::cluster::Cluster;
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
            let took = load.answers(&cluster.apis(), cluster.answers_within())?;
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
            let took = load.answers(&cluster.apis(), cluster.answers_within())?;
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
            let took = load.answers(&cluster.apis(), cluster.answers_within())?;
            println!("round {round}: node{} and node{other} were killed, answered after {took:?}", old.at);
            load.writes(20)?;
            cluster.restart(old.at)?;
            cluster.restart(other)?;
        }
        Ok(())
    })
}
