//! Your own machine in a simulated cluster: the leader is cut off while seats are sold, and no seat is sold twice.
//! Nothing here waits for a real clock, and a seed that fails fails again.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use quorate::machine::{ApplyContext, RestoreError, Snapshot, SnapshotReader, StateMachine};
use quorate::{Consistency, GroupHandle};
use quorate_testkit::sim::{Cluster, GROUP, Simulation, seeds};
use quorate_testkit::{assert_deterministic, assert_snapshot_roundtrip};

const PATIENCE: Duration = Duration::from_secs(20);
const SEATS: u32 = 12;

/// Who has which seat.
#[derive(Default)]
struct Seats(BTreeMap<u32, String>);

impl StateMachine for Seats {
    /// Which seat, for whom.
    type Command = (u32, String);
    /// Who has it now.
    type Reply = String;
    type Query = ();
    type Answer = BTreeMap<u32, String>;

    fn apply(&mut self, _: &mut ApplyContext<'_>, (seat, name): (u32, String)) -> String {
        self.0.entry(seat).or_insert(name).clone()
    }
    fn query(&self, (): ()) -> BTreeMap<u32, String> {
        self.0.clone()
    }
    fn snapshot(&self) -> Snapshot {
        Snapshot::from_value(self.0.clone())
    }
    fn restore(reader: SnapshotReader<'_>) -> Result<Self, RestoreError> {
        reader.only_value().map(Self)
    }
}

/// What each of two buyers was told, one on either side of a partition that comes while they buy.
async fn story(cluster: Cluster<GroupHandle<Seats>>) -> Result<usize> {
    let old = cluster.wait_for_leader(GROUP, PATIENCE).await;
    let buyer = |at: usize, name: &'static str| {
        let cluster = cluster.clone();
        async move {
            let mut told = Vec::new();
            for seat in 0..SEATS {
                // Refused or unknown: the buyer was promised nothing.
                if let Ok(owner) = cluster.propose(at, (seat, name.to_owned())).await {
                    told.push((seat, owner));
                }
                cluster.pause(Duration::from_millis(50)).await;
            }
            told
        }
    };
    let (ann, bob) = (buyer(old, "ann"), buyer((old + 1) % cluster.nodes(), "bob"));
    let trouble = async {
        cluster.pause(Duration::from_millis(200)).await;
        cluster.isolate(old);
        let new = cluster.wait_for_other_leader(GROUP, old, PATIENCE).await;
        cluster.pause(Duration::from_secs(2)).await;
        cluster.heal();
        new
    };
    let (anns, bobs, new) = tokio::join!(ann, bob, trouble);
    println!(
        "  node{old} led until it was cut off, then node{new}; ann was told {}, bob {}",
        anns.len(),
        bobs.len()
    );

    let mut sold = cluster.query(old, (), Consistency::Linearizable).await;
    for _ in 0..10 {
        if sold.is_err() {
            sold = cluster.query(old, (), Consistency::Linearizable).await;
        }
    }
    let sold = sold.context("it hears the others again")?;
    for (seat, owner) in anns.iter().chain(&bobs) {
        ensure!(
            sold.get(seat) == Some(owner),
            "{owner} was told to have seat {seat}, it is {:?}",
            sold.get(seat)
        );
    }
    Ok(sold.len())
}

fn main() -> Result<()> {
    // First alone: the same commands give the same replies and bytes, and a snapshot leaves nothing out.
    let commands = || (0..40).map(|n| (n % 9, format!("buyer{}", n % 4)));
    assert_deterministic(Seats::default, commands());
    assert_snapshot_roundtrip(Seats::default, commands());

    for seed in seeds(5) {
        let run = || {
            let simulation = Simulation::new(seed).latency_ms(1, 20);
            simulation
                .replay_with("cargo run -p quorate-examples --example simulated_partition")
                .run(Seats::default, story)
        };
        let report = run();
        let sold = report.value.with_context(|| format!("seed {seed}"))?;
        println!("seed {seed}: {sold} seats sold once each in {:?} of simulated time", report.simulated);
        ensure!(report.digest == run().digest, "seed {seed} is the same story each time");
    }
    Ok(())
}
