//! quorate with disks in memory that are called inline, each node on a thread of its own as it runs in production; the
//! links between them are pipes in memory or TCP on loopback. The command adds one to a counter.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use quorate::machine::{Add, Counter};
use quorate::store::SimDisk;
use quorate::{GroupHandle, Node};
use quorate_bench::served::{free_ports, own_cpu_s};
use quorate_bench_compare::{Figures, closed_loop};
use tokio::runtime::Runtime;

use crate::pipes::Pipes;

pub fn round_by_pipes(clients: &[u32], time: Duration) -> Result<Vec<Figures>> {
    round(clients, time, Some(Arc::default()))
}

pub fn round_by_loopback(clients: &[u32], time: Duration) -> Result<Vec<Figures>> {
    round(clients, time, None)
}

/// A new cluster, all numbers of clients in turn, and its end.
fn round(clients: &[u32], time: Duration, pipes: Option<Arc<Pipes>>) -> Result<Vec<Figures>> {
    let (servers, client) = crate::runtimes()?;
    let (nodes, leader) = servers.block_on(start(pipes))?;
    let measured = clients.iter().map(|clients| measure(&client, &leader, *clients, time)).collect();
    servers.block_on(async {
        for node in nodes {
            node.kill().await;
        }
    });
    measured
}

async fn start(pipes: Option<Arc<Pipes>>) -> Result<(Vec<Node>, GroupHandle<Counter>)> {
    let ports = free_ports(3)?;
    let (mut nodes, mut counts) = (Vec::new(), Vec::new());
    for at in 0..3 {
        let mut builder = Node::builder(&format!("node{at}"), "unused")
            .disk(Box::new(SimDisk::new()))
            .inline_disk()
            .listen(&format!("127.0.0.1:{}", ports[at]));
        if let Some(pipes) = &pipes {
            builder = builder.net(pipes.clone());
        }
        for peer in (0..3).filter(|peer| *peer != at) {
            builder = builder.peer(&format!("node{peer}"), &format!("127.0.0.1:{}", ports[peer]));
        }
        let node = builder.start().await?;
        counts.push(node.group("counter", Counter::default()).await?);
        nodes.push(node);
    }
    let leader = counts[0].wait_for_leader(Duration::from_secs(20)).await.context("a leader")?;
    let at = nodes.iter().position(|node| *node.id() == leader).context("the leader is one of them")?;
    let _warm = counts[at].propose(Add(0)).await?;
    Ok((nodes, counts.swap_remove(at)))
}

fn measure(
    runtime: &Runtime,
    leader: &GroupHandle<Counter>,
    clients: u32,
    time: Duration,
) -> Result<Figures> {
    let before = own_cpu_s()?;
    let leader = leader.clone();
    let call = |count: GroupHandle<Counter>, _turn| async move { count.propose(Add(1)).await.is_ok() };
    let load = runtime.block_on(closed_loop(clients, time, move |_| leader.clone(), call))?;
    crate::figures(&load, before)
}
