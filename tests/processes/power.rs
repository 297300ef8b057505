//! The power of the disk under three nodes is cut while clients write: ext4 and fjall, all nodes at one moment. What was acknowledged
//! is there when it is back.

use anyhow::{Context, Result, ensure};
use quorate_tests::skip::skipped;

use crate::cluster::Cluster;
use crate::cut_disk::{Cut, CutDisk};
use crate::harmed::harmed;
use crate::load::Load;
use crate::soak::either;
use crate::turn;

/// Cuts of one cluster and in one history.
const ROUNDS: u64 = 10;

#[test]
fn power_cuts_of_real_disks_lose_nothing_acknowledged() -> Result<()> {
    let rounds = either(2, ROUNDS);
    let clusters = either(1, 4);
    for number in 0..clusters {
        let Some(mut cluster) = harmed(3, turn::busy())? else { return Ok(()) };
        let Some(disk) = on_one_disk(&mut cluster) else { return Ok(()) };
        cluster.start_all()?;
        cuts(&mut cluster, &disk, number * ROUNDS, rounds)?;
        cluster.end_all()?;
    }
    println!(
        "field: {} cuts of the power of ext4 under three nodes, nothing acknowledged was lost",
        clusters * rounds
    );
    Ok(())
}

/// The check itself: nodes whose syncs do nothing lose what they acknowledged, and that is seen.
#[test]
fn power_cuts_of_disks_that_sync_nothing_are_seen_in_the_history() -> Result<()> {
    let Some(mut cluster) = harmed(3, turn::busy())? else { return Ok(()) };
    let Some(disk) = on_one_disk(&mut cluster) else { return Ok(()) };
    (0..3).try_for_each(|at| cluster.harm(at)?.deaf())?;
    cluster.start_all()?;
    let why = cuts(&mut cluster, &disk, 0, 1).err().context("what was lost was not missed")?;
    ensure!(format!("{why:#}").contains("is not linearizable"), "{why:#}");
    println!("as it should be: {why:#}");
    Ok(())
}

/// Puts the data of all nodes on a disk of their own.
fn on_one_disk(cluster: &mut Cluster) -> Option<CutDisk> {
    match CutDisk::make(cluster.directory()) {
        Ok(disk) => {
            (0..3).for_each(|at| cluster.put_data(at, disk.path().join(format!("node{at}"))));
            Some(disk)
        }
        Err(why) => {
            skipped(&format!("this machine cannot mount an ext4 over a file for a test: {why:#}"));
            None
        }
    }
}

/// Each round: writes, a cut, and a start of all nodes on what is left.
fn cuts(cluster: &mut Cluster, disk: &CutDisk, first: u64, rounds: u64) -> Result<()> {
    Load::during(&cluster.apis(), |load| {
        for round in first..first + rounds {
            // Cut at many places of what the store does: it replaces journals and writes tables meanwhile.
            load.writes(20 + round * 37 % 200)?;
            let cut = if round % 2 == 0 { Cut::DriveCache } else { Cut::PageCache };
            disk.cut(cut)?;
            cluster.kill_all()?;
            disk.power_on()?;
            cluster.start_all().with_context(|| format!("round {round}: {cut:?}"))?;
            let took = load.answers(&cluster.apis(), cluster.answers_within())?;
            println!("round {round}: {cut:?}: a write was acknowledged {took:?} after all were ready");
        }
        load.writes(20)
    })
}
