//! Three processes of the `quorate` binary, and `quorate bench` against their leader.

use std::path::Path;

use anyhow::{Context, Result};
use quorate_bench::served::{Nodes, bench_costed};
use quorate_bench_compare::Figures;

use crate::Operation;

/// One measurement. `quorate bench` is the client; a process of its own.
pub fn measure(
    binary: &Path,
    (nodes, leader): (&Nodes, &str),
    (operation, via): (Operation, &str),
    clients: u32,
    seconds: u64,
) -> Result<Figures> {
    let verb = match operation {
        Operation::Put => "put",
        Operation::Get => "get",
    };
    let costed =
        bench_costed(binary, (nodes, leader), (verb, via), &clients.to_string(), &seconds.to_string())?;
    let report = &costed.report;
    let of = |field: &str| report[field].as_f64().with_context(|| format!("no {field}: {report}"));
    let done = of("done")?;
    Ok(Figures {
        per_second: of("per_second")?,
        p50_us: of("p50_us")?,
        p99_us: of("p99_us")?,
        servers_us: costed.servers_s * 1e6 / done,
        client_us: costed.client_s * 1e6 / done,
        not_ok: of("refused")? + of("failed")? + of("unknown")?,
    })
}
