//! etcd and quorate in turns: three processes each on loopback, sync on, data on the same disk, values of 256 bytes,
//! closed loops of clients that are all connected to the leader.
//!
//! `etcd QUORATE [ROUNDS [SECONDS [put | get]]]`; default five rounds of 2 s, both operations. In each round each system
//! starts a new cluster and takes its turn at every number of clients; which goes first changes from round to round.
//! Where: in the directory of the environment's `TMPDIR`, `/tmp` without it: not one in memory.
//!
//! What it is not: an open loop, machines of their own, or etcd at its best: clients and servers share the cores.

mod etcd;
mod rpc;
mod served;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use quorate_bench::served::{Nodes, VALUE_BYTES, bench};
use quorate_bench_compare::{Figures, Row, print_ratios, print_table};

use self::etcd::Etcd;

const CLIENTS: [u32; 3] = [1, 64, 256];
/// As many as `quorate bench` uses.
const KEYS: u64 = 1000;
const ETCD: &str = "etcd, gRPC";
const WAYS: [(&str, &str); 2] = [("quorate, bridge", "bridge"), ("quorate, REST", "rest")];
const USAGE: &str = "usage: etcd QUORATE-BINARY [ROUNDS [SECONDS [put | get]]]";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Put,
    Get,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Get => "get, linearizable",
        }
    }
}

struct Plan {
    binary: PathBuf,
    rounds: usize,
    seconds: u64,
    operations: Vec<Operation>,
}

impl Plan {
    fn from_arguments() -> Result<Self> {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let given = arguments.first().context(USAGE)?;
        let binary =
            std::fs::canonicalize(given).with_context(|| format!("{given} is missing: build it first"))?;
        let number = |at: usize, otherwise: u64| arguments.get(at).map_or(Ok(otherwise), |text| text.parse());
        let operations = match arguments.get(3).map(String::as_str) {
            None => vec![Operation::Put, Operation::Get],
            Some("put") => vec![Operation::Put],
            Some("get") => vec![Operation::Get],
            Some(_) => anyhow::bail!(USAGE),
        };
        let rounds = usize::try_from(number(1, 5).context(USAGE)?)?;
        Ok(Self { binary, rounds, seconds: number(2, 2).context(USAGE)?, operations })
    }
}

type Measured = Vec<(Operation, &'static str, u32, Figures)>;

async fn etcd_round(plan: &Plan, directory: &Path) -> Result<Measured> {
    let nodes = Etcd::start(directory).await?;
    nodes.measure(Operation::Put, 8, Duration::from_secs(1)).await.context("etcd's warm-up")?;
    let mut all = Measured::new();
    for &operation in &plan.operations {
        for clients in CLIENTS {
            let figures = nodes.measure(operation, clients, Duration::from_secs(plan.seconds)).await?;
            all.push((operation, ETCD, clients, figures));
        }
    }
    Ok(all)
}

fn quorate_round(plan: &Plan, directory: &Path) -> Result<Measured> {
    let nodes = Nodes::start(&plan.binary, directory)?;
    bench(&plan.binary, &nodes.endpoints, ("put", "bridge"), "8", "1").context("quorate's warm-up")?;
    let leader = nodes.leader(&plan.binary)?;
    let mut all = Measured::new();
    for &operation in &plan.operations {
        for (system, via) in WAYS {
            for clients in CLIENTS {
                let what = (operation, via);
                let figures = served::measure(&plan.binary, (&nodes, &leader), what, clients, plan.seconds)?;
                all.push((operation, system, clients, figures));
            }
        }
    }
    Ok(all)
}

fn main() -> Result<()> {
    let plan = Plan::from_arguments()?;
    let found = Command::new("etcd").arg("--version").stdout(Stdio::piped()).output();
    let found = found.context("etcd is missing: apt-get install etcd-server")?;
    ensure!(found.status.success(), "etcd --version failed");
    let version = String::from_utf8_lossy(&found.stdout).lines().next().unwrap_or_default().to_owned();

    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut rows: Vec<Row> = Vec::new();
    for round in 0..plan.rounds {
        for which in [round % 2, 1 - round % 2] {
            eprintln!("round {} of {}: {}", round + 1, plan.rounds, ["etcd", "quorate"][which]);
            let directory = tempfile::tempdir()?;
            let measured = match which {
                0 => runtime.block_on(etcd_round(&plan, directory.path()))?,
                _ => quorate_round(&plan, directory.path())?,
            };
            for (operation, system, clients, figures) in measured {
                let operation = operation.name();
                let same =
                    |row: &&mut Row| (row.operation, row.system, row.clients) == (operation, system, clients);
                match rows.iter_mut().find(same) {
                    Some(row) => row.rounds.push(figures),
                    None => rows.push(Row { operation, system, clients, rounds: vec![figures] }),
                }
            }
        }
    }
    rows.sort_by_key(|row| (row.operation == "put", row.clients, row.system));
    rows.sort_by_key(|row| row.operation != "put");
    println!(
        "{version}; values of {VALUE_BYTES} bytes, {} rounds of {} s in turns, all clients at the leader; medians.\n",
        plan.rounds, plan.seconds
    );
    print_table(&rows, "servers");
    println!();
    print_ratios(&rows, ETCD);
    Ok(())
}
