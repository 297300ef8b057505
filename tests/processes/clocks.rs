//! Wall clocks that jump under running nodes, forwards and back, one at a time and all: no decision depends on them, so that no one
//! is elected and what clients see is linearizable.

use anyhow::{Result, ensure};

use crate::harmed::harmed;
use crate::load::Load;
use crate::turn;

const DAY_S: i64 = 86_400;
const YEAR_S: i64 = 365 * DAY_S;
/// By how much each clock is ahead of the machine's, in turn. The last is before 1970.
const JUMPS: [[i64; 3]; 6] = [
    [DAY_S, 0, 0],
    [-DAY_S, 0, DAY_S],
    [10 * YEAR_S, -YEAR_S, 0],
    [-YEAR_S, 10 * YEAR_S, -10 * YEAR_S],
    [1, -1, 0],
    [-70 * YEAR_S, -70 * YEAR_S, -70 * YEAR_S],
];

#[test]
fn clocks_that_jump_elect_no_one_and_lose_nothing() -> Result<()> {
    let Some(mut cluster) = harmed(3, turn::steady())? else { return Ok(()) };
    cluster.usual_timings();
    cluster.start_all()?;
    Load::during(&cluster.apis(), |load| {
        load.writes(20)?;
        let leader = cluster.leader()?;
        for jump in JUMPS {
            for (at, ahead_s) in jump.into_iter().enumerate() {
                cluster.harm(at)?.clock_ahead_s(ahead_s)?;
                ensure!(cluster.harm(at)?.looks()? > 0, "node{at} looks at the clock past the shim");
            }
            load.writes(30)?;
            let after = cluster.leader()?;
            ensure!(after == leader, "{leader:?} led, and {after:?} after {jump:?}:\n{}", cluster.log_ends());
        }
        println!("field: {} jumps of wall clocks, to 70 years back and 10 ahead: no election", JUMPS.len());
        // What is elected and started now takes up a log with stamps of the future.
        let killed = cluster.leader()?;
        cluster.harm(killed.at)?.clock_ahead_s(0)?;
        cluster.kill(killed.at)?;
        load.answers(&cluster.apis(), cluster.answers_within())?;
        cluster.restart(killed.at)?;
        load.writes(20)
    })?;
    cluster.end_all()
}
