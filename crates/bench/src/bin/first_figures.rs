//! The first figures of a served cluster, beside what its disk can do: three processes of the binary on loopback, measured by
//! `quorate bench` by bridge and by REST, and between the rounds the median of write + fdatasync on the same disk.
//!
//! `cargo build --release && cargo run -p quorate-bench --bin first_figures -- target/release/quorate` prints the table of
//! `docs/evidence/speed.md`. Rounds are interleaved; every figure is the median of its rounds. Bounded: `ROUNDS` times
//! every way and number of clients, `SECONDS` each.
//!
//! What it is not: an open loop (see `quorate bench`), or a measurement of machines of their own: clients, three nodes
//! and whatever else runs here share the cores.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use quorate_bench::median;
use quorate_bench::served::{CLIENTS, Nodes, VALUE_BYTES, bench};
use serde_json::Value;

const ROUNDS: usize = 3;
const SECONDS: &str = "2";
const WAYS: [(&str, &str); 4] = [("put", "bridge"), ("put", "rest"), ("get", "bridge"), ("get", "rest")];
const SYNCS: usize = 200;

/// The binary that is measured: the one argument.
fn binary() -> Result<PathBuf> {
    let given = std::env::args_os().nth(1).context("usage: first_figures PATH-OF-QUORATE")?;
    std::fs::canonicalize(&given).with_context(|| format!("{} is missing: build it first", given.display()))
}

/// The median of append + fdatasync, in microseconds.
fn sync_us(directory: &Path) -> Result<f64> {
    let mut file = File::create(directory.join("sync"))?;
    let bytes = [b'x'; VALUE_BYTES];
    let mut spans = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let began = tokio::time::Instant::now();
        file.write_all(&bytes)?;
        file.sync_data()?;
        spans.push(began.elapsed().as_secs_f64() * 1e6);
    }
    Ok(median(spans))
}

fn main() -> Result<()> {
    let (binary, directory) = (binary()?, tempfile::tempdir()?);
    let nodes = Nodes::start(&binary, directory.path())?;
    let mut rows: Vec<Vec<Value>> = vec![Vec::new(); WAYS.len() * CLIENTS.len()];
    let mut syncs = Vec::new();
    for round in 0..ROUNDS {
        eprintln!("round {} of {ROUNDS}", round + 1);
        for (at, (way, clients)) in WAYS.iter().flat_map(|way| CLIENTS.map(|c| (*way, c))).enumerate() {
            syncs.push(sync_us(directory.path())?);
            rows[at].push(bench(&binary, &nodes.endpoints, way, clients, SECONDS)?);
        }
    }
    syncs.sort_by(f64::total_cmp);
    let (first, last) = (syncs.first().copied().unwrap_or(0.0), syncs.last().copied().unwrap_or(0.0));
    let (count, sync) = (syncs.len(), median(syncs));
    println!(
        "write + fdatasync of {VALUE_BYTES} B: median {sync:.0} us (of {count} medians, {first:.0} to {last:.0})\n"
    );
    println!(
        "| operation | via | clients | per second | spread | p50 us | p99 us | p99.9 us | p50 / fdatasync | not ok |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for ((way, clients), runs) in WAYS.iter().flat_map(|way| CLIENTS.map(|c| (*way, c))).zip(&rows) {
        let all =
            |field: &str| runs.iter().map(|run| run[field].as_f64().unwrap_or(f64::NAN)).collect::<Vec<_>>();
        let mut rates = all("per_second");
        rates.sort_by(f64::total_cmp);
        let (low, high) = (rates[0], rates[rates.len() - 1]);
        let rate = median(rates);
        let of = |field: &str| median(all(field));
        let errors: f64 =
            ["refused", "failed", "unknown"].iter().map(|field| all(field).iter().sum::<f64>()).sum();
        let p50 = of("p50_us");
        println!(
            "| {} | {} | {clients} | {rate:.0} | {low:.0} to {high:.0} | {p50:.0} | {:.0} | {:.0} | {:.1} | {errors:.0} |",
            way.0,
            way.1,
            of("p99_us"),
            of("p99_9_us"),
            p50 / sync,
        );
    }
    Ok(())
}
