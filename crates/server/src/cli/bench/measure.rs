//! Runs the clients and prints what was measured.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use quorate_server::http::{Request, escape};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::report::{self, Tally};
use super::workload::{Caller, Operation, Workload};
use super::{bridge, clean, rest};
use crate::cli::arguments::{Bench, Via};
use crate::cli::client::Effect;
use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::cli::member::cluster;
use crate::cli::output::after_printing;
use crate::cli::runtime::{Threads, run as run_on};

/// The longest value: below the limit of every node, whatever its settings.
const VALUE_BYTES_MAX: u32 = 512 << 10;

pub(crate) fn run(context: &Context, verb: Bench) -> Result<(), Failure> {
    let (operation, load) = match verb {
        Bench::Put(load) => (Operation::Put, load),
        Bench::Get(load) => (Operation::Get, load),
    };
    if load.value > VALUE_BYTES_MAX {
        let message = format!("--value {}: at most {VALUE_BYTES_MAX} bytes are measured", load.value);
        return Err(Failure::usage(message));
    }
    let value = bytes::Bytes::from(vec![b'x'; load.value as usize]);
    let timeout = context.api()?.timeout;
    let prefix = format!("quorate-bench/{:08x}/", RandomState::new().hash_one(std::process::id()) >> 32);
    let workload = Workload { operation, load, value, timeout, prefix };
    run_on(Threads::PerCore, measured_and_cleaned(context, &workload))
}

/// However the measurement ends, its keys are deleted. A second Ctrl-C leaves them.
async fn measured_and_cleaned(context: &Context, workload: &Workload) -> Result<(), Failure> {
    // Before anything is written: an endpoint that is dead ends here.
    let members = cluster(context).await?;
    let interrupted = || Failure::new(Exit::Interrupted, "interrupted");
    let measured = tokio::select! {
        measured = measured(context, workload, &members) => measured,
        Ok(()) = tokio::signal::ctrl_c() => Err(interrupted()),
    };
    let cleaned = tokio::select! {
        cleaned = clean::run(context, workload) => cleaned,
        Ok(()) = tokio::signal::ctrl_c() => Err(interrupted()),
    };
    let remain = |failure: Failure| {
        let prefix = &workload.prefix;
        let message =
            format!("keys below {prefix} remain: {failure}; see `quorate kv list --prefix {prefix}`");
        Failure { message, ..failure }
    };
    after_printing(cleaned.map_err(remain), measured)
}

async fn measured(context: &Context, workload: &Workload, members: &Value) -> Result<(), Failure> {
    if workload.operation == Operation::Get {
        fill(context, workload).await?;
    }
    let via = match workload.load.via {
        Via::Bridge => "bridge",
        Via::Rest => "rest",
    };
    let operation = workload.operation.name();
    let (clients, value) = (workload.load.clients, workload.load.value);
    context.output.note(&format!(
        "{clients} clients {operation} by {via} for {} s, values of {value} bytes, keys below {}, deleted at the end",
        workload.load.seconds, workload.prefix
    ));
    let (tally, elapsed) = match workload.load.via {
        Via::Bridge => {
            let members = bridge::Members::connect(members, workload).await?;
            let result = drive(workload, members.callers()).await;
            members.close().await;
            result?
        }
        Via::Rest => drive(workload, rest::callers(&context.api()?, workload)).await?,
    };
    let mut record = json!({
        "operation": operation,
        "via": via,
        "clients": clients,
        "value_bytes": value,
    });
    tally.describe(elapsed, &mut record);
    let printed = context.output.record(report::COLUMNS.to_vec(), &record);
    let errors = tally.first_errors();
    let own = if tally.done() == 0 {
        Err(Failure::failed(format!("no request succeeded; {}", errors.join("; "))))
    } else {
        for error in &errors {
            context.output.note(error);
        }
        Ok(())
    };
    after_printing(printed, own)
}

/// Writes the keys that are read.
async fn fill(context: &Context, workload: &Workload) -> Result<(), Failure> {
    let api = context.api()?;
    for at in 0..workload.load.keys {
        let key = escape(&workload.key_at(at.into()));
        let request = Request::put(format!("/v1/kv/{key}"), workload.value.clone());
        api.send(&request, Effect::Write).await?;
    }
    Ok(())
}

/// Runs all clients for the time of the workload.
async fn drive<C: Caller>(workload: &Workload, callers: Vec<C>) -> Result<(Tally, Duration), Failure> {
    let started = Instant::now();
    let until = started + Duration::from_secs(workload.load.seconds);
    let mut running = JoinSet::new();
    for (client, caller) in (0..).zip(callers) {
        running.spawn(closed_loop(workload.clone(), client, caller, until));
    }
    let mut all = Tally::new();
    while let Some(ended) = running.join_next().await {
        all.add(&ended.map_err(|error| Failure::failed(format!("a client ended: {error}")))?);
    }
    Ok((all, started.elapsed()))
}

async fn closed_loop<C: Caller>(workload: Workload, client: u32, mut caller: C, until: Instant) -> Tally {
    let mut tally = Tally::new();
    let mut turn = 0;
    while Instant::now() < until {
        let started = Instant::now();
        let result = caller.call(workload.operation, workload.key(client, turn)).await;
        tally.record(started.elapsed(), result);
        turn += 1;
    }
    tally
}
