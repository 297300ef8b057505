//! quorate, openraft and, with the feature `d-engine`, d-engine in turns: three nodes in this process, logs in memory,
//! closed loops of clients at the leader.
//!
//! `in_process [ROUNDS [SECONDS]]`; default five rounds of 2 s. In each round each system starts a new cluster and takes its
//! turn at every number of clients; which goes first changes from round to round.
//!
//! What differs, and cannot be taken away: openraft's nodes call each other's methods and run on one runtime; quorate's
//! nodes encode every message, send it over a pipe in memory or over loopback, and each has a thread of its own; d-engine's speak
//! gRPC over loopback, and write files (here in `/dev/shm`).

#[cfg(feature = "d-engine")]
mod dengine;
mod openraft;
mod pipes;
mod quorate;

use std::time::Duration;

use anyhow::{Context, Result};
use quorate_bench::served::own_cpu_s;
use quorate_bench_compare::{Figures, Load, Row, print_ratios, print_table};
use tokio::runtime::{Builder, Runtime};

const CLIENTS: [u32; 4] = [1, 64, 256, 1000];
const OPENRAFT: &str = "openraft";
const USAGE: &str = "usage: in_process [ROUNDS [SECONDS]]";

/// A system: its name, and one round of it.
type System = (&'static str, fn(&[u32], Duration) -> Result<Vec<Figures>>);

const SYSTEMS: &[System] = &[
    (OPENRAFT, openraft::round),
    ("quorate, pipes", quorate::round_by_pipes),
    ("quorate, loopback", quorate::round_by_loopback),
    #[cfg(feature = "d-engine")]
    ("d-engine", dengine::round),
];

/// For the servers, and for the clients: as openraft's benchmark has them on two cores.
fn runtimes() -> Result<(Runtime, Runtime)> {
    let servers = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let clients = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    Ok((servers, clients))
}

/// Of a load that began when the process had used so much processor time.
fn figures(load: &Load, cpu_before_s: f64) -> Result<Figures> {
    Ok(Figures {
        per_second: load.per_second(),
        p50_us: load.quantile_us(0.5),
        p99_us: load.quantile_us(0.99),
        servers_us: (own_cpu_s()? - cpu_before_s) * 1e6 / load.done(),
        client_us: f64::NAN,
        not_ok: load.not_ok as f64,
    })
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, otherwise: u64| arguments.get(at).map_or(Ok(otherwise), |text| text.parse());
    let (rounds, seconds) = (number(0, 5).context(USAGE)?, number(1, 2).context(USAGE)?);
    let row = |clients: u32, system: &System| Row {
        operation: "put",
        system: system.0,
        clients,
        rounds: Vec::new(),
    };
    let mut rows: Vec<Row> =
        CLIENTS.iter().flat_map(|clients| SYSTEMS.iter().map(move |system| row(*clients, system))).collect();
    for round in 0..rounds {
        let mut turn: Vec<&System> = SYSTEMS.iter().collect();
        turn.rotate_left(usize::try_from(round)? % SYSTEMS.len());
        for (name, run) in turn {
            eprintln!("round {} of {rounds}: {name}", round + 1);
            let measured = run(&CLIENTS, Duration::from_secs(seconds)).context(*name)?;
            let own = rows.iter_mut().filter(|row| row.system == *name);
            own.zip(measured).for_each(|(row, figures)| row.rounds.push(figures));
        }
    }
    println!(
        "Three nodes in one process, logs in memory; {rounds} rounds of {seconds} s in turns; medians.\n"
    );
    print_table(&rows, "all");
    println!();
    print_ratios(&rows, OPENRAFT);
    Ok(())
}
