//! Two builds of the binary beside each other: puts per second, latency, and processor time per put of a served cluster.
//!
//! `cargo run -p quorate-bench --bin old_and_new -- OLD NEW [ROUNDS [SECONDS]]` prints the table of `docs/evidence/house.md`; default
//! five rounds of 3 s. In each round each build serves a new cluster of three processes and takes its turn at every number
//! of clients; which build goes first changes from round to round. `.ci/measure-house` builds both and calls this.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use quorate_bench::median;
use quorate_bench::served::{CLIENTS, Nodes, VALUE_BYTES, bench, bench_costed};

/// One measurement.
#[derive(Debug, Clone, Copy)]
struct Measured {
    per_second: f64,
    p50_us: f64,
    p99_us: f64,
    servers_us_per_put: f64,
    client_us_per_put: f64,
    not_ok: f64,
}

/// One round of one build: a measurement for every number of clients.
fn round(binary: &Path, seconds: &str) -> Result<Vec<Measured>> {
    let directory = tempfile::tempdir()?;
    let nodes = Nodes::start(binary, directory.path())?;
    bench(binary, &nodes.endpoints, ("put", "bridge"), "8", "1").context("the warm-up")?;
    let measure = |clients: &&str| {
        let costed = bench_costed(binary, (&nodes, &nodes.endpoints), ("put", "bridge"), clients, seconds)?;
        let report = &costed.report;
        let of = |field: &str| report[field].as_f64().with_context(|| format!("no {field}: {report}"));
        let us_per_put = |cpu_s: f64, done: f64| cpu_s * 1e6 / done;
        let done = of("done")?;
        Ok(Measured {
            per_second: of("per_second")?,
            p50_us: of("p50_us")?,
            p99_us: of("p99_us")?,
            servers_us_per_put: us_per_put(costed.servers_s, done),
            client_us_per_put: us_per_put(costed.client_s, done),
            not_ok: of("refused")? + of("failed")? + of("unknown")?,
        })
    };
    CLIENTS.iter().map(measure).collect()
}

fn main() -> Result<()> {
    const USAGE: &str = "usage: old_and_new OLD-BINARY NEW-BINARY [ROUNDS [SECONDS]]";
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let binary = |at: usize| -> Result<PathBuf> {
        let given = arguments.get(at).context(USAGE)?;
        std::fs::canonicalize(given).with_context(|| format!("{given} is missing: build it first"))
    };
    let builds = [("old", binary(0)?), ("new", binary(1)?)];
    let rounds: usize = arguments.get(2).map_or(Ok(5), |rounds| rounds.parse()).context(USAGE)?;
    let seconds = arguments.get(3).map_or("3", String::as_str);
    let mut measured: [Vec<Vec<Measured>>; 2] = [Vec::new(), Vec::new()];
    for at in 0..rounds {
        for which in if at % 2 == 0 { [0, 1] } else { [1, 0] } {
            let (name, binary) = &builds[which];
            eprintln!("round {} of {rounds}: {name}", at + 1);
            measured[which].push(round(binary, seconds)?);
        }
    }
    println!(
        "Put of {VALUE_BYTES} bytes by bridge, {rounds} interleaved rounds of {seconds} s; medians, in brackets least and most.\n"
    );
    println!(
        "| clients | build | puts/s | p50 us | p99 us | CPU us per put, servers | CPU us per put, client | not ok |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for (at, clients) in CLIENTS.iter().enumerate() {
        for ((name, _), rounds) in builds.iter().zip(&measured) {
            let spread = |of: fn(&Measured) -> f64| {
                let all: Vec<f64> = rounds.iter().map(|round| of(&round[at])).collect();
                let (least, most) =
                    (all.iter().copied().fold(f64::MAX, f64::min), all.iter().copied().fold(0.0, f64::max));
                format!("{:.0} ({least:.0} to {most:.0})", median(all))
            };
            println!(
                "| {clients} | {name} | {} | {} | {} | {} | {} | {:.0} |",
                spread(|one| one.per_second),
                spread(|one| one.p50_us),
                spread(|one| one.p99_us),
                spread(|one| one.servers_us_per_put),
                spread(|one| one.client_us_per_put),
                rounds.iter().map(|round| round[at].not_ok).sum::<f64>(),
            );
        }
    }
    Ok(())
}
