//! Partitions: packets between nodes in network namespaces of their own are dropped on their way, without a word to
//! either end. Clients reach every node throughout.

use anyhow::{Context, Result, ensure};
use quorate_tests::wait::{PATIENCE, until};

use crate::load::Load;
use crate::net::nodes_apart;
use crate::turn;

#[test]
fn a_partition_of_the_leader_ends_without_a_stale_answer() -> Result<()> {
    let Some((net, mut cluster)) = nodes_apart(3, turn::busy())? else { return Ok(()) };
    cluster.start_all()?;
    Load::during(&cluster.apis(), |load| {
        for round in 0..2 {
            load.writes(30)?;
            let old = cluster.leader()?;
            let others: Vec<usize> = (0..3).filter(|at| *at != old.at).collect();
            for other in &others {
                net.cut(*other, old.at)?;
                // The second time one way only: it hears nothing, and its heartbeats are heard all the same.
                if round != 1 {
                    net.cut(old.at, *other)?;
                }
            }
            let apis: Vec<_> = others.iter().map(|at| cluster.api(*at)).collect();
            let took = load.answers(&apis, cluster.answers_within())?;
            cluster.leader_of(&others, old.term)?;
            // It may not know yet that it does not lead; what it answers stands in the history.
            load.answered(&["a", "b", "c"].map(|key| (cluster.api(old.at), key)));
            load.writes(20)?;
            net.heal_all()?;
            let healed = load.answers(&cluster.apis(), cluster.answers_within())?;
            let ((), agreed) = until("all follow one leader", PATIENCE, || {
                let views: Option<Vec<_>> = (0..3).map(|at| cluster.view(at)).collect();
                let leaders: Vec<_> = views?.iter().map(|view| view["leader"].clone()).collect();
                (!leaders[0].is_null() && leaders.iter().all(|leader| *leader == leaders[0])).then_some(())
            })?;
            println!(
                "round {round}: node{} cut off, the others answered after {took:?}; healed, a write after {healed:?}, \
                 one leader after {agreed:?}",
                old.at
            );
        }
        Ok(())
    })
}

#[test]
fn a_minority_of_two_serves_nothing_and_three_go_on() -> Result<()> {
    let Some((net, mut cluster)) = nodes_apart(5, turn::busy())? else { return Ok(()) };
    cluster.start_all()?;
    Load::during(&cluster.apis(), |load| {
        load.writes(30)?;
        let leader = cluster.leader()?;
        let minority = [leader.at, (leader.at + 1) % 5];
        let majority: Vec<usize> = (0..5).filter(|at| !minority.contains(at)).collect();
        for one in minority {
            for other in &majority {
                net.cut(one, *other)?;
                net.cut(*other, one)?;
            }
        }
        let apis: Vec<_> = majority.iter().map(|at| cluster.api(*at)).collect();
        let took = load.answers(&apis, cluster.answers_within())?;
        cluster.leader_of(&majority, leader.term)?;
        load.writes(20)?;
        let answered = load.answered(&minority.map(|at| (cluster.api(at), "probe")));
        ensure!(answered == 0, "{answered} of {minority:?} answer without a majority");
        net.heal_all()?;
        let healed = load.answers(&cluster.apis(), cluster.answers_within())?;
        println!("the majority answered after {took:?}; healed, a write after {healed:?}");
        (0..5).try_for_each(|at| cluster.ready(at))
    })
}

/// The check itself, end to end: a node that is cut off says what it holds, which is old; that is seen.
#[test]
fn an_old_answer_is_seen_in_the_history() -> Result<()> {
    let Some((net, mut cluster)) = nodes_apart(3, turn::busy())? else { return Ok(()) };
    cluster.start_all()?;
    let checked = Load::during(&cluster.apis(), |load| {
        load.answers(&cluster.apis(), cluster.answers_within())?;
        let alone = (cluster.leader()?.at + 1) % 3;
        let others: Vec<usize> = (0..3).filter(|at| *at != alone).collect();
        for other in &others {
            net.cut(*other, alone)?;
            net.cut(alone, *other)?;
        }
        let apis: Vec<_> = others.iter().map(|at| cluster.api(*at)).collect();
        load.answers(&apis, cluster.answers_within())?;
        load.writes(20)?;
        until("it answers", PATIENCE, || load.reads_stale_at(cluster.api(alone), "probe").then_some(()))?;
        net.heal_all()
    });
    let why = checked.err().context("the old answer was taken for a new one")?;
    ensure!(format!("{why:#}").contains("key \"probe\" is not linearizable"), "{why:#}");
    println!("as it should be: {why:#}");
    Ok(())
}
