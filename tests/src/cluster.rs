//! Nodes of one cluster in one process, on loopback and in temporary directories.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Once};

use anyhow::{Context, Result, bail};
use quorate::machine::{Add, Added, Counter, CounterQuery};
use quorate::store::SimDisk;
use quorate::{Config, Consistency, GroupHandle, Net, Node, NodeBuilder, StateMachine};
use tempfile::TempDir;

use crate::wait::eventually;

/// Timings for tests: elections in tenths of a second, on a machine that may stall.
pub fn quick() -> Config {
    let mut config = Config::default();
    config.cluster.election_timeout_ms = 300;
    config.node.heartbeat_interval_ms = 50;
    config
}

/// Below the ports that the system gives to those who ask for any: a port that was seen free is not taken by a connection
/// that another test makes meanwhile.
const PORTS: std::ops::Range<usize> = 18_000..32_000;

/// Free ports of the loopback, none of them given twice by this process. Two processes begin at different places.
pub fn free_ports(count: usize) -> Result<Vec<u16>> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let begin = std::process::id() as usize * 101;
    let mut free = Vec::new();
    for _ in PORTS {
        if free.len() == count {
            return Ok(free);
        }
        let at = begin + NEXT.fetch_add(1, Ordering::Relaxed) as usize;
        let port = (PORTS.start + at % PORTS.len()) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            free.push(port);
        }
    }
    anyhow::bail!("not {count} free ports in {PORTS:?}")
}

/// Shows the nodes' log on stderr where `QUORATE_LOG` says how much: `QUORATE_LOG=info`.
pub fn log_if_asked() {
    if let Ok(filter) = std::env::var("QUORATE_LOG") {
        let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
        // Set once; later tests of the same process find it there.
        let _ = subscriber.try_init();
    }
}

/// Panics in this process that no test ordered: each is a bug, although a supervisor restarts the actor.
static UNORDERED: AtomicU64 = AtomicU64::new(0);

/// The message of an ordered panic is not printed. Any other panic of an actor or of a thread that a node owns fails the test
/// whose cluster ends next. The panic of a failed assertion in a test is the test's own result and fails no other.
pub fn quiet_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let said = info.payload();
            let text = said
                .downcast_ref::<&str>()
                .copied()
                .or_else(|| said.downcast_ref::<String>().map(String::as_str));
            if !text.is_some_and(|text| text.contains("told to panic")) {
                let thread = std::thread::current();
                // The test runner names a thread after its test, or runs it on the main thread.
                let is_of_test = thread.name().is_some_and(|name| name == "main" || name.contains("::"));
                if !is_of_test || tokio::task::try_id().is_some() {
                    UNORDERED.fetch_add(1, Ordering::Relaxed);
                }
                usual(info);
            }
        }));
    });
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let unordered = UNORDERED.load(Ordering::Relaxed);
        assert!(
            unordered == 0 || std::thread::panicking(),
            "{unordered} panics that no test ordered: their messages are above"
        );
    }
}

/// A cluster whose nodes can be stopped, killed and started again.
pub struct Cluster {
    directory: TempDir,
    ports: Vec<u16>,
    config: Config,
    nodes: BTreeMap<usize, Node>,
}

impl Cluster {
    /// Starts `count` nodes.
    pub async fn start(count: usize, config: Config) -> Result<Self> {
        let mut cluster = Self::idle(count, config)?;
        for at in 0..count {
            cluster.start_node(at).await?;
        }
        Ok(cluster)
    }

    /// `count` nodes, none of them running yet.
    pub fn idle(count: usize, config: Config) -> Result<Self> {
        log_if_asked();
        let (directory, ports) = (tempfile::tempdir()?, free_ports(count)?);
        Ok(Self { directory, ports, config, nodes: BTreeMap::new() })
    }

    /// The builder of a node, for what a test wants otherwise.
    pub fn builder(&self, at: usize) -> NodeBuilder {
        let address = |at: usize| format!("127.0.0.1:{}", self.ports[at]);
        let mut builder = Node::builder(&format!("node{at}"), self.data(at))
            .listen(&address(at))
            .config(self.config.clone());
        for peer in (0..self.ports.len()).filter(|peer| *peer != at) {
            builder = builder.peer(&format!("node{peer}"), &address(peer));
        }
        builder
    }

    /// A node's data directory.
    pub fn data(&self, at: usize) -> std::path::PathBuf {
        self.directory.path().join(format!("node{at}"))
    }

    /// The port of a node's bridge.
    pub fn port(&self, at: usize) -> u16 {
        self.ports[at]
    }

    /// Starts a node that is not running, on a disk of its own.
    pub async fn start_node_on(&mut self, at: usize, disk: SimDisk) -> Result<Node> {
        let node = self.builder(at).disk(Box::new(disk)).start().await?;
        self.nodes.insert(at, node.clone());
        Ok(node)
    }

    /// Starts a node that is not running, over this network.
    pub async fn start_node_over(&mut self, at: usize, net: Arc<dyn Net>) -> Result<Node> {
        let node =
            self.builder(at).net(net).start().await.with_context(|| format!("node{at} does not start"))?;
        self.nodes.insert(at, node.clone());
        Ok(node)
    }

    /// Starts a node that is not running.
    pub async fn start_node(&mut self, at: usize) -> Result<Node> {
        let node = self.builder(at).start().await.with_context(|| format!("node{at} does not start"))?;
        self.nodes.insert(at, node.clone());
        Ok(node)
    }

    /// A running node.
    pub fn node(&self, at: usize) -> &Node {
        &self.nodes[&at]
    }

    /// The running nodes.
    pub fn nodes(&self) -> impl Iterator<Item = (usize, &Node)> {
        self.nodes.iter().map(|(at, node)| (*at, node))
    }

    /// Ends a node as a killed process would.
    pub async fn kill(&mut self, at: usize) {
        if let Some(node) = self.nodes.remove(&at) {
            node.kill().await;
        }
    }

    /// Ends a node in order.
    pub async fn stop(&mut self, at: usize) {
        if let Some(node) = self.nodes.remove(&at) {
            node.stop().await;
        }
    }

    /// Ends all of them.
    pub async fn stop_all(mut self) {
        for at in self.nodes.keys().copied().collect::<Vec<_>>() {
            self.stop(at).await;
        }
    }

    /// Opens a group on every running node.
    pub async fn group<M: StateMachine>(
        &self,
        name: &str,
        machine: impl Fn() -> M,
    ) -> Result<Vec<GroupHandle<M>>> {
        let mut handles = Vec::new();
        for node in self.nodes.values() {
            handles.push(node.group(name, machine()).await?);
        }
        Ok(handles)
    }

    /// The running node that leads a group, once all running nodes agree on it.
    pub async fn leader<M: StateMachine>(&self, handles: &[GroupHandle<M>]) -> Result<usize> {
        let agreed = eventually("one leader on all nodes", async || {
            let known: Vec<_> = handles.iter().map(GroupHandle::leader).collect();
            known[0].clone().filter(|first| known.iter().all(|leader| leader.as_ref() == Some(first)))
        });
        let leader = agreed.await?;
        let at = leader.as_str().trim_start_matches("node").parse()?;
        Ok(at)
    }
}

/// Adds one so many times, and returns what the last answer said.
pub async fn add(count: &GroupHandle<Counter>, times: i64) -> Result<i64> {
    let mut total = 0;
    for _ in 0..times {
        let Added::Now(now) = count.propose(Add(1)).await? else { bail!("it overflows") };
        total = now;
    }
    Ok(total)
}

/// What a counter's digest query answers, on each node, once all have applied the same.
pub async fn same_digest(handles: &[GroupHandle<Counter>]) -> Result<String> {
    eventually("the same chain hash on all nodes", async || {
        let mut digests = Vec::new();
        for handle in handles {
            let answer = handle.query(CounterQuery::Digest, Consistency::Stale).await.ok()?;
            digests.push(format!("{answer:?}"));
        }
        digests.iter().all(|digest| *digest == digests[0]).then(|| digests[0].clone())
    })
    .await
}
