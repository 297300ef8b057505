//! `quorate bench`: a closed loop of clients against a running cluster. Each client has one request under way at a time
//! and sends the next when it is answered, so the rate is what the cluster gives, and the latency what one client sees.
//!
//! What it is not: an open loop. A stall shows as few slow requests, not as all that would have come meanwhile.

mod bridge;
mod report;
mod rest;

use std::time::Duration;

use quorate::Outcome;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::report::Tally;
use super::Context;
use super::arguments::{Bench, Load, Via};
use super::client::Effect;
use super::cluster::cluster;
use super::exit::{Exit, Failure};
use super::http::Request;

/// Values are kept below what every node takes.
const VALUE_BYTES_MAX: u32 = 512 << 10;

/// What is done over and over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Put,
    Get,
}

/// What all clients share.
#[derive(Debug, Clone)]
struct Plan {
    operation: Operation,
    load: Load,
    value: bytes::Bytes,
    timeout: Duration,
}

impl Plan {
    /// The key of a client's next request: all clients together walk through all keys.
    fn key(&self, client: u32, turn: u64) -> String {
        let at = (u64::from(client) + turn * u64::from(self.load.clients)) % u64::from(self.load.keys);
        format!("bench/{at}")
    }
}

/// One client, whichever way it goes.
trait Caller: Send + 'static {
    /// One request; an error is one of three outcomes.
    fn call(&mut self, operation: Operation, key: String)
    -> impl Future<Output = Result<(), Outcome>> + Send;
}

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
    let plan = Plan { operation, load, value, timeout };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start: {error}")))?;
    let ended = runtime.block_on(async {
        tokio::select! {
            ended = measured(context, plan) => ended,
            Ok(()) = tokio::signal::ctrl_c() => Err(Failure::new(Exit::Interrupted, "interrupted")),
        }
    });
    runtime.shutdown_background();
    ended
}

async fn measured(context: &Context, plan: Plan) -> Result<(), Failure> {
    if plan.operation == Operation::Get {
        fill(context, &plan).await?;
    }
    let via = match plan.load.via {
        Via::Bridge => "bridge",
        Via::Rest => "rest",
    };
    let operation = match plan.operation {
        Operation::Put => "put",
        Operation::Get => "get",
    };
    let (clients, value) = (plan.load.clients, plan.load.value);
    context.output.say(&format!(
        "{clients} clients {operation} by {via} for {} s, values of {value} bytes",
        plan.load.seconds
    ));
    let (tally, elapsed) = match plan.load.via {
        Via::Bridge => {
            let answer = cluster(context).await?;
            let members = bridge::Members::connect(&answer, &plan).await?;
            let result = drive(&plan, members.callers()).await;
            members.close().await;
            result?
        }
        Via::Rest => drive(&plan, rest::callers(&context.api()?, &plan)).await?,
    };
    let mut record = json!({
        "operation": operation,
        "via": via,
        "clients": clients,
        "value_bytes": value,
    });
    tally.describe(elapsed, &mut record);
    context.output.record(report::COLUMNS.to_vec(), &record)?;
    if tally.done() == 0 {
        return Err(Failure::failed("no request succeeded; see the errors by outcome"));
    }
    Ok(())
}

/// Keys that are read must be there.
async fn fill(context: &Context, plan: &Plan) -> Result<(), Failure> {
    let api = context.api()?;
    for at in 0..plan.load.keys {
        let request = Request::put(format!("/v1/kv/bench%2F{at}"), plan.value.clone());
        api.send(&request, Effect::Write).await?;
    }
    Ok(())
}

/// Runs all callers for the time of the plan.
async fn drive<C: Caller>(plan: &Plan, callers: Vec<C>) -> Result<(Tally, Duration), Failure> {
    let started = Instant::now();
    let until = started + Duration::from_secs(plan.load.seconds);
    let mut running = JoinSet::new();
    for (client, caller) in (0..).zip(callers) {
        running.spawn(closed_loop(plan.clone(), client, caller, until));
    }
    let mut all = Tally::new();
    while let Some(ended) = running.join_next().await {
        all.add(&ended.map_err(|error| Failure::failed(format!("a client ended: {error}")))?);
    }
    Ok((all, started.elapsed()))
}

async fn closed_loop<C: Caller>(plan: Plan, client: u32, mut caller: C, until: Instant) -> Tally {
    let mut tally = Tally::new();
    let mut turn = 0;
    while Instant::now() < until {
        let started = Instant::now();
        let result = caller.call(plan.operation, plan.key(client, turn)).await;
        tally.record(started.elapsed(), result);
        turn += 1;
    }
    tally
}
