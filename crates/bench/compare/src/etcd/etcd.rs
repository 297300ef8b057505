//! Three processes of etcd on loopback, and a closed loop of clients against their leader.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use prost::bytes::Bytes;
use quorate_bench::served::{VALUE_BYTES, cpu_of, free_ports, own_cpu_s};
use quorate_bench_compare::{Figures, closed_loop};

use crate::rpc::Connection;
use crate::{KEYS, Operation};

/// Clients that share a connection: few enough for the client not to be what is measured.
const CLIENTS_PER_CONNECTION: u32 = 16;
const READY: Duration = Duration::from_secs(30);

pub struct Etcd {
    children: Vec<Child>,
    /// Where the leader's API is.
    leader: String,
}

/// As long as the keys of `quorate bench`.
fn key(at: u64) -> Bytes {
    format!("quorate-bench/01234567/{at}").into()
}

impl Drop for Etcd {
    fn drop(&mut self) {
        for child in &mut self.children {
            // It may have ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Etcd {
    /// As its documentation starts a static cluster; every setting that is not named has its default, the sync too.
    pub async fn start(directory: &Path) -> Result<Self> {
        let ports = free_ports(6)?;
        let peer = |at: usize| format!("http://127.0.0.1:{}", ports[at]);
        let cluster = (0..3).map(|at| format!("node{at}={}", peer(at))).collect::<Vec<_>>().join(",");
        let mut nodes = Self { children: Vec::new(), leader: String::new() };
        for at in 0..3 {
            let api = format!("http://127.0.0.1:{}", ports[at + 3]);
            let mut command = Command::new("etcd");
            command.args(["--name", &format!("node{at}"), "--data-dir", &format!("etcd{at}")]);
            command.args(["--listen-peer-urls", &peer(at), "--initial-advertise-peer-urls", &peer(at)]);
            command.args(["--listen-client-urls", &api, "--advertise-client-urls", &api]);
            command.args(["--initial-cluster", &cluster, "--log-level", "error", "--logger", "zap"]);
            command.current_dir(directory).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            nodes.children.push(command.spawn().context("etcd")?);
        }
        let until = Instant::now() + READY;
        while nodes.leader.is_empty() {
            if Instant::now() > until {
                bail!("etcd has no leader after {READY:?}");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            for port in &ports[3..] {
                let address = format!("127.0.0.1:{port}");
                // Until it listens, it leads not.
                let leads = async { Connection::open(&address).await?.leads().await };
                if leads.await.unwrap_or(false) {
                    nodes.leader = address;
                }
            }
        }
        Ok(nodes)
    }

    fn cpu_s(&self) -> Result<f64> {
        self.children.iter().map(cpu_of).sum()
    }

    /// One measurement. This process is the client.
    pub async fn measure(&self, operation: Operation, clients: u32, time: Duration) -> Result<Figures> {
        let mut connections = Vec::new();
        for _ in 0..clients.div_ceil(CLIENTS_PER_CONNECTION) {
            connections.push(Connection::open(&self.leader).await?);
        }
        let value = Bytes::from(vec![b'x'; VALUE_BYTES]);
        if operation == Operation::Get {
            for at in 0..KEYS {
                connections[0].put(key(at), value.clone()).await?;
            }
        }
        let (servers, own) = (self.cpu_s()?, own_cpu_s()?);
        let caller = |client: u32| {
            let at = (client / CLIENTS_PER_CONNECTION) as usize;
            (connections[at].clone(), value.clone(), client)
        };
        let call = move |(mut connection, value, client): (Connection, Bytes, u32), turn: u64| async move {
            let at = (u64::from(client) + turn * u64::from(clients)) % KEYS;

            match operation {
                Operation::Put => connection.put(key(at), value).await.is_ok(),
                Operation::Get => connection.get(key(at)).await.is_ok_and(|got| got == Some(value)),
            }
        };
        let load = closed_loop(clients, time, caller, call).await?;
        let us_each = |cpu_s: f64| cpu_s * 1e6 / load.done();
        Ok(Figures {
            per_second: load.per_second(),
            p50_us: load.quantile_us(0.5),
            p99_us: load.quantile_us(0.99),
            servers_us: us_each(self.cpu_s()? - servers),
            client_us: us_each(own_cpu_s()? - own),
            not_ok: load.not_ok as f64,
        })
    }
}
