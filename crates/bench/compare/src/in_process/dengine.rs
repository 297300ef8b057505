//! d-engine, embedded: three nodes in this process with its own stores of files, in `/dev/shm` so that no disk is waited
//! for. It has no transport but gRPC.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use d_engine::{EmbeddedClient, EmbeddedEngine, FileStateMachine, FileStorageEngine};
use quorate_bench::served::{free_ports, own_cpu_s};
use quorate_bench_compare::{Figures, closed_loop};
use tokio::runtime::Runtime;

const READY: Duration = Duration::from_secs(30);

/// A new cluster, all numbers of clients in turn, and its end.
pub fn round(clients: &[u32], time: Duration) -> Result<Vec<Figures>> {
    let (servers, client) = crate::runtimes()?;
    let directory = tempfile::tempdir_in("/dev/shm")?;
    let nodes = servers.block_on(start(directory.path()))?;
    let leader = nodes.iter().find(|node| node.is_leader()).context("a leader")?.client();
    let measured = clients.iter().map(|clients| measure(&client, &leader, *clients, time)).collect();
    servers.block_on(async {
        for node in nodes {
            node.stop().await.map_err(|error| anyhow::anyhow!("{error}"))?;
        }
        anyhow::Ok(())
    })?;
    measured
}

async fn start(directory: &Path) -> Result<Vec<EmbeddedEngine>> {
    let ports = free_ports(3)?;
    let member = |at: usize| {
        format!("{{ id = {}, address = \"127.0.0.1:{}\", role = 1, status = 3 }}", at + 1, ports[at])
    };
    let members = (0..3).map(member).collect::<Vec<_>>().join(", ");
    let mut starting = Vec::new();
    for (at, port) in ports.iter().enumerate() {
        let own = directory.join(format!("node{at}"));
        let config = directory.join(format!("node{at}.toml"));
        let text = format!(
            "[cluster]\nnode_id = {}\nlisten_address = \"127.0.0.1:{port}\"\ninitial_cluster = [{members}]\ndb_root_dir = \"{}\"\n[raft.snapshot]\nsnapshots_dir = \"{}\"\n",
            at + 1,
            own.display(),
            own.join("snapshots").display()
        );
        std::fs::create_dir_all(&own)?;
        std::fs::write(&config, text)?;
        starting.push(tokio::spawn(async move {
            let log = FileStorageEngine::new(own.join("log"))?;
            let machine = FileStateMachine::new(own.join("machine")).await?;
            EmbeddedEngine::start_custom(Arc::new(log), Arc::new(machine), config.to_str()).await
        }));
    }
    let mut nodes = Vec::new();
    for node in starting {
        nodes.push(node.await?.map_err(|error| anyhow::anyhow!("{error}"))?);
    }
    for node in &nodes {
        node.wait_ready(READY).await.map_err(|error| anyhow::anyhow!("{error}"))?;
    }
    Ok(nodes)
}

fn measure(runtime: &Runtime, leader: &Arc<EmbeddedClient>, clients: u32, time: Duration) -> Result<Figures> {
    let before = own_cpu_s()?;
    let caller = |client: u32| (leader.clone(), client);
    let call = |(node, client): (Arc<EmbeddedClient>, u32), _turn| async move {
        node.put(client.to_be_bytes(), [0; 8]).await.is_ok()
    };
    let load = runtime.block_on(closed_loop(clients, time, caller, call))?;
    crate::figures(&load, before)
}
