//! What groups cost that share their nodes: three nodes in one process, loopback, logs on the disk of the first argument (`.`
//! without); one group, a hundred, a thousand. The processor time when nothing is asked, then additions by 256 clients that are
//! spread over the groups, each at the leader of its own. Figures are in
//! `docs/decisions/0043-many-groups.md`.

use std::net::TcpListener;
use std::time::Duration;

use anyhow::{Context, Result};
use quorate::machine::{Add, Counter};
use quorate::{GroupHandle, Node};
use quorate_bench::quantile_us;
use tokio::time::Instant;

const GROUPS: [usize; 3] = [1, 100, 1_000];
const CLIENTS: usize = 256;
const IDLE: Duration = Duration::from_secs(5);
const SECONDS: f64 = 5.0;

fn main() -> Result<()> {
    let place = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    println!("groups  idle, % of a core  additions/s  p50 us  p99 us  CPU us each   ({CLIENTS} clients)");
    for groups in GROUPS {
        runtime.block_on(round(&place, groups))?;
    }
    Ok(())
}

async fn round(place: &str, groups: usize) -> Result<()> {
    let directory = tempfile::tempdir_in(place)?;
    let bound: Vec<TcpListener> =
        (0..3).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    let ports: Vec<u16> =
        bound.iter().map(|listener| Ok(listener.local_addr()?.port())).collect::<Result<_>>()?;
    drop(bound);
    let mut nodes = Vec::new();
    for at in 0..3 {
        let mut builder = Node::builder(&format!("node{at}"), directory.path().join(at.to_string()))
            .listen(&format!("127.0.0.1:{}", ports[at]));
        for peer in (0..3).filter(|peer| *peer != at) {
            builder = builder.peer(&format!("node{peer}"), &format!("127.0.0.1:{}", ports[peer]));
        }
        nodes.push(builder.start().await?);
    }
    let began = Instant::now();
    let mut handles: Vec<Vec<GroupHandle<Counter>>> = Vec::new();
    for group in 0..groups {
        let mut of_group = Vec::new();
        for node in &nodes {
            of_group.push(node.group(&format!("count{group}"), Counter::default()).await?);
        }
        handles.push(of_group);
    }
    let mut leaders = Vec::new();
    for of_group in &handles {
        let leader = of_group[0].wait_for_leader(Duration::from_secs(60)).await.context("a leader")?;
        let at = nodes.iter().position(|node| *node.id() == leader).context("it is one of them")?;
        leaders.push(of_group[at].clone());
    }
    eprintln!("{groups} groups have leaders after {:.1} s", began.elapsed().as_secs_f64());
    let (began, cpu) = (Instant::now(), cpu_seconds()?);
    pause(IDLE).await;
    let idle = 100.0 * (cpu_seconds()? - cpu) / began.elapsed().as_secs_f64();
    let cpu = cpu_seconds()?;
    let (spans, seconds) = load(&leaders).await?;
    let cpu_us = (cpu_seconds()? - cpu) * 1e6 / spans.len().max(1) as f64;
    println!(
        "{groups:>6}  {idle:>17.1}  {:>11.0}  {:>6.0}  {:>6.0}  {cpu_us:>11.1}",
        spans.len() as f64 / seconds,
        quantile_us(&spans, 0.5),
        quantile_us(&spans, 0.99)
    );
    for node in nodes {
        node.kill().await;
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a load generator lets time pass")]
async fn pause(span: Duration) {
    tokio::time::sleep(span).await;
}

#[expect(
    clippy::disallowed_methods,
    reason = "a load generator measures with the system's clock, in tasks of its own"
)]
async fn load(leaders: &[GroupHandle<Counter>]) -> Result<(Vec<Duration>, f64)> {
    let started = Instant::now();
    let mut tasks = Vec::new();
    for client in 0..CLIENTS {
        let leaders = leaders.to_vec();
        tasks.push(tokio::spawn(async move {
            let (mut spans, mut at) = (Vec::new(), client);
            while started.elapsed().as_secs_f64() < SECONDS {
                let sent = Instant::now();
                // Not the next one, which another client asks next.
                at = (at + 7_919) % leaders.len();
                let _total = leaders[at].propose(Add(1)).await?;
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
    Ok((spans, seconds))
}

/// User and system time of this process until now. Linux only; it tells them in hundredths.
fn cpu_seconds() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = text.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(2).map(str::parse::<u32>);
    let ticks = ticks.sum::<Result<u32, _>>().context("/proc/self/stat")?;
    Ok(f64::from(ticks) / 100.0)
}
