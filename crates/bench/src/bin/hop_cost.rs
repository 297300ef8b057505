//! What a thread of the node's own is worth: three nodes in one process, in-memory disks called inline, so that nothing
//! but hops between actors and the loopback costs time. "before": the actors on the application's multi-thread runtime.
//! "after": on a current-thread runtime of each node's own. Rounds alternate; the median is printed.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use quorate::machine::{Add, Counter};
use quorate::store::SimDisk;
use quorate::{GroupHandle, Node};
use quorate_bench::{median, quantile_us};

const ROUNDS: usize = 5;
const SECONDS: f64 = 1.5;

struct Figure {
    per_second: f64,
    p50_us: f64,
    p99_us: f64,
}

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    println!(
        "clients  placement            proposals/s   p50 us   p99 us   (median of {ROUNDS} rounds of {SECONDS} s)"
    );
    for clients in [1, 16, 64] {
        let (mut before, mut after) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            before.push(runtime.block_on(round(clients, false))?);
            after.push(runtime.block_on(round(clients, true))?);
        }
        print_row(clients, "callers' runtime", &before);
        print_row(clients, "own thread", &after);
        let rate = |figures: &[Figure]| median(figures.iter().map(|figure| figure.per_second).collect());
        println!("{clients:>7}  ratio after/before   {:>11.2}", rate(&after) / rate(&before));
    }
    Ok(())
}

fn print_row(clients: usize, placement: &str, figures: &[Figure]) {
    let of = |pick: fn(&Figure) -> f64| median(figures.iter().map(pick).collect());
    println!(
        "{clients:>7}  {placement:<19} {:>12.0} {:>8.0} {:>8.0}",
        of(|f| f.per_second),
        of(|f| f.p50_us),
        of(|f| f.p99_us)
    );
}

async fn round(clients: usize, own_thread: bool) -> Result<Figure> {
    let ports: Vec<u16> = {
        let bound: Vec<TcpListener> =
            (0..3).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
        bound.iter().map(|listener| Ok(listener.local_addr()?.port())).collect::<Result<_>>()?
    };
    let (mut nodes, mut counts) = (Vec::new(), Vec::new());
    for at in 0..3 {
        let mut builder = Node::builder(&format!("node{at}"), "unused")
            .disk(Box::new(SimDisk::new()))
            .inline_disk()
            .listen(&format!("127.0.0.1:{}", ports[at]));
        for peer in (0..3).filter(|peer| *peer != at) {
            builder = builder.peer(&format!("node{peer}"), &format!("127.0.0.1:{}", ports[peer]));
        }
        let builder = if own_thread { builder } else { builder.on_callers_runtime() };
        let node = builder.start().await?;
        counts.push(node.group("counter", Counter::default()).await?);
        nodes.push(node);
    }
    let leader = counts[0].wait_for_leader(Duration::from_secs(20)).await.context("a leader")?;
    let at = nodes.iter().position(|node| *node.id() == leader).context("the leader is one of them")?;
    let figure = load(&counts[at], clients).await?;
    for node in nodes {
        node.kill().await;
    }
    Ok(figure)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a load generator measures with the system's clock, in tasks of its own"
)]
async fn load(count: &GroupHandle<Counter>, clients: usize) -> Result<Figure> {
    let _warm = count.propose(Add(0)).await?;
    let started = Instant::now();
    let mut tasks = Vec::new();
    for _ in 0..clients {
        let count = count.clone();
        tasks.push(tokio::spawn(async move {
            let mut spans = Vec::new();
            while started.elapsed().as_secs_f64() < SECONDS {
                let sent = Instant::now();
                let _total = count.propose(Add(1)).await?;
                spans.push(sent.elapsed());
            }
            anyhow::Ok(spans)
        }));
    }
    let mut spans = Vec::new();
    for task in tasks {
        spans.extend(task.await??);
    }
    let seconds = started.elapsed().as_secs_f64();
    spans.sort_unstable();
    Ok(Figure {
        per_second: spans.len() as f64 / seconds,
        p50_us: quantile_us(&spans, 0.5),
        p99_us: quantile_us(&spans, 0.99),
    })
}
