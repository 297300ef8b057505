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
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

const ROUNDS: usize = 3;
const SECONDS: &str = "2";
const VALUE_BYTES: usize = 256;
const CLIENTS: [&str; 3] = ["1", "64", "256"];
const WAYS: [(&str, &str); 4] = [("put", "bridge"), ("put", "rest"), ("get", "bridge"), ("get", "rest")];
const SYNCS: usize = 200;

/// The nodes; ended when this is dropped.
struct Nodes(Vec<Child>);

impl Drop for Nodes {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // It may have ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The binary that is measured: the one argument.
fn binary() -> Result<PathBuf> {
    let given = std::env::args_os().nth(1).context("usage: first_figures PATH-OF-QUORATE")?;
    std::fs::canonicalize(&given).with_context(|| format!("{} is missing: build it first", given.display()))
}

fn free_ports(count: usize) -> Result<Vec<u16>> {
    let bound = (0..count).map(|_| std::net::TcpListener::bind("127.0.0.1:0"));
    let bound = bound.collect::<std::io::Result<Vec<_>>>()?;
    bound.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}

fn start(binary: &Path, directory: &Path, ports: &[u16]) -> Result<(Nodes, String)> {
    let list: Vec<_> = ports[..3].iter().map(|port| format!("127.0.0.1:{port}")).collect();
    let mut nodes = Nodes(Vec::new());
    for at in 0..3 {
        let mut command = Command::new(binary);
        command.args(["serve", "--id", &format!("node{at}"), "--host", "127.0.0.1", "--log", "error"]);
        command.args(["--port", &ports[at].to_string(), "--api-port", &ports[at + 3].to_string()]);
        command.args(["--cluster", &list.join(","), "--data-dir", &format!("node{at}")]);
        command.current_dir(directory).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("piped")?).read_line(&mut line)?;
        nodes.0.push(child);
    }
    let endpoints: Vec<_> = ports[3..].iter().map(|port| format!("127.0.0.1:{port}")).collect();
    let endpoints = endpoints.join(",");
    let ready = Command::new(binary)
        .args(["health", "--wait", "--timeout", "30s", "--endpoints", &endpoints])
        .stdout(Stdio::null())
        .status()?;
    ensure!(ready.success(), "the cluster is not ready");
    Ok((nodes, endpoints))
}

fn bench(binary: &Path, endpoints: &str, (verb, via): (&str, &str), clients: &str) -> Result<Value> {
    let value = VALUE_BYTES.to_string();
    let output = Command::new(binary)
        .args(["bench", verb, "--clients", clients, "--seconds", SECONDS, "--value", &value, "--via", via])
        .args(["-o", "json", "--endpoints", endpoints, "--timeout", "10s"])
        .stderr(Stdio::null())
        .output()?;
    ensure!(output.status.success(), "quorate bench {verb} --via {via} --clients {clients} failed");
    Ok(serde_json::from_slice(&output.stdout)?)
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
    Ok(median(&mut spans))
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn main() -> Result<()> {
    let (binary, directory) = (binary()?, tempfile::tempdir()?);
    let (_nodes, endpoints) = start(&binary, directory.path(), &free_ports(6)?)?;
    let mut rows: Vec<Vec<Value>> = vec![Vec::new(); WAYS.len() * CLIENTS.len()];
    let mut syncs = Vec::new();
    for round in 0..ROUNDS {
        eprintln!("round {} of {ROUNDS}", round + 1);
        for (at, (way, clients)) in WAYS.iter().flat_map(|way| CLIENTS.map(|c| (*way, c))).enumerate() {
            syncs.push(sync_us(directory.path())?);
            rows[at].push(bench(&binary, &endpoints, way, clients)?);
        }
    }
    let sync = median(&mut syncs);
    let (first, last) = (syncs.first().copied().unwrap_or(0.0), syncs.last().copied().unwrap_or(0.0));
    println!(
        "write + fdatasync of {VALUE_BYTES} B: median {sync:.0} us (of {} medians, {first:.0} to {last:.0})\n",
        syncs.len()
    );
    println!(
        "| operation | via | clients | per second | spread | p50 us | p99 us | p99.9 us | p50 / fdatasync | not ok |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for ((way, clients), runs) in WAYS.iter().flat_map(|way| CLIENTS.map(|c| (*way, c))).zip(&rows) {
        let all =
            |field: &str| runs.iter().map(|run| run[field].as_f64().unwrap_or(f64::NAN)).collect::<Vec<_>>();
        let mut rates = all("per_second");
        let rate = median(&mut rates);
        let (low, high) = (rates[0], rates[rates.len() - 1]);
        let of = |field: &str| median(&mut all(field));
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
