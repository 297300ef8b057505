//! A whole cluster in one process, for a first look and for developing an application.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::pin::Pin;

use quorate::Config;
use tokio::task::JoinSet;

use crate::address::{Listed, is_wildcard, join};
use crate::api::ApiOptions;
use crate::serve::{
    Ended, RAFT_CONNECTIONS_MAX, Running, ServeError, ServeOptions, Signals, serve, until_signal,
};

/// Settings of a cluster in one process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevOptions {
    /// How many nodes: `node0`, `node1`, ...
    pub nodes: u16,
    /// The name or interface to bind.
    pub host: String,
    /// The first node's port for peers; the others take the next ones. 0: free ones.
    pub port: u16,
    /// The first node's port for the API; the others take the next ones. 0: free ones.
    pub api_port: u16,
    /// Where the data is; `None`: a temporary directory that is deleted at the end.
    pub data_dir: Option<PathBuf>,
    /// The settings of every node.
    pub config: Config,
    /// The settings of every node's API.
    pub api: ApiOptions,
    /// Connections at each node's port for the others, at most.
    pub raft_connections_max: usize,
}

impl Default for DevOptions {
    fn default() -> Self {
        Self {
            nodes: 3,
            host: "localhost".into(),
            port: 7_000,
            api_port: 8_000,
            data_dir: None,
            config: Config::default(),
            // The cluster is for trying things out: stopping an actor, to see it start again, is one of them.
            api: ApiOptions { actions: true, ..ApiOptions::default() },
            raft_connections_max: RAFT_CONNECTIONS_MAX,
        }
    }
}

/// A running cluster. Dropping it ends the nodes as a killed process would.
#[derive(Debug)]
pub struct RunningDev {
    nodes: Vec<Running>,
    data_dir: PathBuf,
    /// Deleted when this is dropped.
    _temporary: Option<tempfile::TempDir>,
}

/// Starts all nodes; returns once all their ports are bound.
pub async fn dev(options: DevOptions) -> Result<RunningDev, ServeError> {
    boxed(options).await
}

/// Boxed, so that the body is compiled with this crate and not where it is awaited (decision 0015).
fn boxed(options: DevOptions) -> Pin<Box<dyn Future<Output = Result<RunningDev, ServeError>> + Send>> {
    Box::pin(started(options))
}

async fn started(options: DevOptions) -> Result<RunningDev, ServeError> {
    let temporary = match &options.data_dir {
        Some(_) => None,
        None => Some(temporary()?),
    };
    let data_dir = match (&options.data_dir, &temporary) {
        (Some(data_dir), _) => data_dir.clone(),
        (None, Some(temporary)) => temporary.path().to_owned(),
        (None, None) => unreachable!("made above"),
    };
    let cluster = cluster(&options)?;
    check_nodes(&data_dir, options.nodes.max(1))?;
    let mut nodes: Vec<Running> = Vec::new();
    for (at, entry) in (0_u16..).zip(&cluster) {
        let started = serve(ServeOptions {
            host: options.host.clone(),
            port: entry.port,
            port_as_founded: true,
            api_port: if options.api_port == 0 { 0 } else { options.api_port + at },
            cluster: cluster.clone(),
            // Keeps it apart from a real cluster on the same ports, and from a `dev` with other data.
            cluster_token: format!("dev {}", data_dir.display()),
            config: options.config.clone(),
            api: options.api.clone(),
            raft_connections_max: options.raft_connections_max,
            ..ServeOptions::new(&entry.id, data_dir.join(&entry.id))
        });
        match started.await {
            Ok(node) => nodes.push(node),
            Err(error) => {
                end(&nodes, false).await;
                return Err(error);
            }
        }
    }
    Ok(RunningDev { nodes, data_dir, _temporary: temporary })
}

/// A cluster that was founded by other nodes would not be this one: each of its nodes would be refused by the others.
fn check_nodes(data_dir: &Path, nodes: u16) -> Result<(), ServeError> {
    let is_there = |at: &u16| data_dir.join(format!("node{at}")).join("anchor").exists();
    let found = u16::try_from((0..u16::MAX).take_while(is_there).count()).unwrap_or(u16::MAX);
    if found == 0 || found == nodes {
        return Ok(());
    }
    Err(ServeError::OtherNodes { path: data_dir.to_owned(), found, nodes })
}

fn temporary() -> Result<tempfile::TempDir, ServeError> {
    let made = tempfile::Builder::new().prefix("quorate-dev-").tempdir();
    made.map_err(|source| ServeError::DataDir { path: std::env::temp_dir(), source })
}

/// Peers dial the loopback where the host is a wildcard.
fn cluster(options: &DevOptions) -> Result<Vec<Listed>, ServeError> {
    let count = options.nodes.max(1);
    let host = if is_wildcard(&options.host) { "localhost" } else { options.host.as_str() };
    let ports = match options.port {
        0 => free_ports(host, count).map_err(|source| ServeError::Api { address: join(host, 0), source })?,
        first => (0..count).map(|at| first.saturating_add(at)).collect(),
    };
    let entry = |(at, port)| Listed { id: format!("node{at}"), host: host.to_owned(), port };
    Ok(ports.into_iter().enumerate().map(entry).collect())
}

/// All are bound before any is released, so that they differ.
fn free_ports(host: &str, count: u16) -> std::io::Result<Vec<u16>> {
    let bound: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind((host, 0))).collect::<Result<_, _>>()?;
    bound.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}

async fn end(nodes: &[Running], graceful: bool) {
    let mut ending = JoinSet::new();
    for node in nodes {
        let node = node.clone();
        ending.spawn(async move {
            if graceful { node.shutdown_with_others().await } else { node.shutdown(false).await }
        });
    }
    ending.join_all().await;
}

impl RunningDev {
    /// The nodes, in order of their numbers.
    pub fn nodes(&self) -> &[Running] {
        &self.nodes
    }

    /// Where the data is.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Waits until all nodes have ended because they were told to, or until one ends otherwise.
    pub async fn wait(&self) -> Ended {
        let mut waiting = JoinSet::new();
        for node in &self.nodes {
            let node = node.clone();
            waiting.spawn(async move { node.wait().await });
        }
        while let Some(ended) = waiting.join_next().await {
            match ended {
                // It was drained, and the others go on.
                Ok(Ended::Stopped) => {}
                Ok(ended) => return ended,
                Err(_) => return Ended::Unasked,
            }
        }
        Ended::Stopped
    }

    /// Ends all nodes.
    pub async fn shutdown(&self, graceful: bool) {
        end(&self.nodes, graceful).await;
    }

    /// Serves until the process is told to end, as [`Running::until`].
    pub async fn until(self, signals: Signals) -> Ended {
        until_signal(signals, self.wait(), self.shutdown(true), self.wait()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_of_other_nodes_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path();
        check_nodes(path, 5).expect("it is empty");
        for at in 0..3 {
            let node = path.join(format!("node{at}"));
            std::fs::create_dir(&node).expect("made");
            std::fs::write(node.join("anchor"), "").expect("written");
        }
        check_nodes(path, 3).expect("the same nodes");
        let said = check_nodes(path, 5).expect_err("others").to_string();
        assert!(said.contains("a cluster of 3 nodes, not of 5; give --nodes 3"), "{said}");
    }
}
