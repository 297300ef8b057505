//! One running node with its API.
//!
//! Owns the node, and one task that owns the API's listeners and connections. The order at the end: nothing new is
//! accepted, leadership is handed over, what is under way is answered, the store is closed. A crash of a handler costs
//! its connection.

mod listen;
mod options;
mod signals;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use quorate::{Node, NodeBuilder, NodeFailure};
use tokio::net::TcpListener;
use tokio::sync::watch;

use self::listen::Phase;
pub(crate) use self::options::join;
pub use self::options::{ApiOptions, Listed, ServeOptions};
pub(crate) use self::signals::until_signal;
use crate::GROUP;
use crate::machine::Store;
use crate::rest::AppState;

/// Why a node was not served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The API could not be bound.
    #[error("cannot listen for the API at {address}: {source}")]
    Api {
        /// Where.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// `id` is not in the list.
    #[error("node {id} is not in the cluster list ({listed}); name it there, or give another id")]
    NotListed {
        /// This node.
        id: String,
        /// Who is.
        listed: String,
    },
    /// Peers dial what the list says.
    #[error(
        "{advertise} is advertised, but the cluster list says {listed} for {id}, and peers dial that; make them alike"
    )]
    Advertise {
        /// This node.
        id: String,
        /// What was given.
        advertise: String,
        /// What the list says.
        listed: String,
    },
    /// The data directory could not be made.
    #[error("cannot make the data directory {}: {source}", path.display())]
    DataDir {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The node did not start.
    #[error(transparent)]
    Start(#[from] quorate::StartError),
    /// The group did not open.
    #[error(transparent)]
    Group(#[from] quorate::GroupError),
}

/// How a served node ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// It was told to, and ended in order.
    Stopped,
    /// It was told twice: it ended at once.
    Forced,
    /// It had to stop by itself.
    Failed(NodeFailure),
}

/// A node that is served. Clones are the same node; dropping the last one ends it without order.
#[derive(Debug, Clone)]
pub struct Running {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: AppState,
    api_addrs: Vec<SocketAddr>,
    raft_addr: SocketAddr,
    /// Told how to end; dropping it ends the API.
    phase: watch::Sender<Phase>,
    /// True once the API is over.
    over: watch::Receiver<bool>,
}

/// Starts a node, opens its group and serves the API. Returns once both ports are bound; a leader need not be known.
pub async fn serve(options: ServeOptions) -> Result<Running, ServeError> {
    boxed(options).await
}

/// In a box, so that it is compiled with this crate and not where it is awaited.
fn boxed(options: ServeOptions) -> Pin<Box<dyn Future<Output = Result<Running, ServeError>> + Send>> {
    Box::pin(started(options))
}

async fn started(options: ServeOptions) -> Result<Running, ServeError> {
    let entry = own_entry(&options)?;
    std::fs::create_dir_all(&options.data_dir)
        .map_err(|source| ServeError::DataDir { path: options.data_dir.clone(), source })?;
    let listeners = listen::bind(&options.host, options.api_port).await?;
    let api_addrs: Vec<SocketAddr> = listeners.iter().filter_map(|l| l.local_addr().ok()).collect();
    let port = api_addrs.first().map_or(options.api_port, SocketAddr::port);
    let host = entry.map_or(options.host.as_str(), |entry| entry.host.as_str());
    let api = options.api_advertise.clone().unwrap_or_else(|| join(host, port));
    let node = builder(&options, entry, &api).start().await?;
    let group = match node.group(GROUP, Store::default()).await {
        Ok(group) => group,
        Err(error) => {
            node.kill().await;
            return Err(error.into());
        }
    };
    let raft_addr = node.local_addr().expect("a node with an address to listen at listens");
    tracing::info!(node = %node.id(), raft = %raft_addr, api = %api, data = %options.data_dir.display(), "serving");
    let state = AppState::new(node, group, api, options.api);
    state.note_start().await;
    Ok(start(listeners, state, api_addrs, raft_addr))
}

fn own_entry(options: &ServeOptions) -> Result<Option<&Listed>, ServeError> {
    if options.cluster.is_empty() {
        return Ok(None);
    }
    let Some(entry) = options.cluster.iter().find(|entry| entry.id == options.id) else {
        let listed: Vec<&str> = options.cluster.iter().map(|entry| entry.id.as_str()).collect();
        return Err(ServeError::NotListed { id: options.id.clone(), listed: listed.join(", ") });
    };
    match &options.advertise {
        Some(advertise) if *advertise != entry.address() => Err(ServeError::Advertise {
            id: options.id.clone(),
            advertise: advertise.clone(),
            listed: entry.address(),
        }),
        Some(_) | None => Ok(Some(entry)),
    }
}

fn builder(options: &ServeOptions, entry: Option<&Listed>, api: &str) -> NodeBuilder {
    let mut builder = Node::builder(&options.id, &options.data_dir)
        .listen(&join(&options.host, options.port))
        .api(api)
        .cluster_token(&options.cluster_token)
        .config(options.config.clone());
    if let Some(address) = options.advertise.clone().or_else(|| entry.map(Listed::address)) {
        builder = builder.advertise(&address);
    }
    for peer in options.cluster.iter().filter(|peer| peer.id != options.id) {
        builder = builder.peer(&peer.id, &peer.address());
    }
    builder
}

#[expect(clippy::disallowed_methods, reason = "the one task that owns the API; it ends with the node")]
fn start(
    listeners: Vec<TcpListener>,
    state: AppState,
    api_addrs: Vec<SocketAddr>,
    raft_addr: SocketAddr,
) -> Running {
    let (phase, told) = watch::channel(Phase::Serving);
    let (is_over, over) = watch::channel(false);
    let api = listen::run(listeners, state.clone(), told);
    tokio::spawn(async move {
        api.await;
        is_over.send_replace(true);
    });
    Running { inner: Arc::new(Inner { state, api_addrs, raft_addr, phase, over }) }
}

impl Running {
    /// Where the API listens: the first address, if the host has several.
    pub fn api_addr(&self) -> SocketAddr {
        self.api_addrs()[0]
    }

    /// Where the API listens: every address of the host, IPv4 first.
    pub fn api_addrs(&self) -> &[SocketAddr] {
        &self.inner.api_addrs
    }

    /// Where peers connect.
    pub fn raft_addr(&self) -> SocketAddr {
        self.inner.raft_addr
    }

    /// The node.
    pub fn node(&self) -> &Node {
        self.inner.state.node()
    }

    /// What the API's handlers share.
    pub fn state(&self) -> &AppState {
        &self.inner.state
    }

    /// Waits until the node and its API have ended: by themselves, or because [`shutdown`](Self::shutdown) was called.
    pub async fn wait(&self) -> Ended {
        let mut over = self.inner.over.clone();
        // An error: its task ended without saying so, because the runtime did.
        drop(over.wait_for(|over| *over).await);
        self.node().failed().await.map_or(Ended::Stopped, Ended::Failed)
    }

    /// Ends the node and its API. In order: no new connections, leadership handed over, requests under way answered,
    /// the store closed. Otherwise as a killed process would.
    pub async fn shutdown(&self, graceful: bool) {
        self.inner.state.drain();
        if graceful {
            self.inner.phase.send_replace(Phase::Ending);
            self.node().stop().await;
        } else {
            self.inner.phase.send_replace(Phase::Over);
            self.node().kill().await;
        }
        self.wait().await;
    }

    /// Serves until the process is told to end (SIGTERM, Ctrl-C) and has done so in order, or is told a second time,
    /// or the node fails.
    pub async fn until_signal(self) -> Ended {
        until_signal(self.wait(), self.shutdown(true), self.wait()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn refused(change: impl FnOnce(&mut ServeOptions)) -> String {
        let directory = tempfile::tempdir().expect("a directory");
        let mut options = ServeOptions::new("node0", directory.path().join("node0"));
        let entry = |id: &str, port| Listed { id: id.to_owned(), host: "127.0.0.1".to_owned(), port };
        options.cluster = vec![entry("node0", 7_000), entry("node1", 7_001)];
        change(&mut options);
        serve(options).await.expect_err("not served").to_string()
    }

    #[tokio::test]
    async fn wrong_options_name_the_mistake() {
        let said = refused(|options| "node7".clone_into(&mut options.id)).await;
        assert!(said.contains("node7 is not in the cluster list (node0, node1)"), "{said}");
        let said = refused(|options| options.advertise = Some("10.0.0.1:7000".into())).await;
        assert!(said.contains("10.0.0.1:7000") && said.contains("127.0.0.1:7000"), "{said}");
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = taken.local_addr().expect("bound").port();
        let said = refused(|options| (options.host, options.api_port) = ("127.0.0.1".into(), port)).await;
        assert!(said.contains(&format!("127.0.0.1:{port}")) && said.contains("in use"), "{said}");
        let file = tempfile::NamedTempFile::new().expect("a file");
        let said = refused(|options| options.data_dir = file.path().join("below")).await;
        assert!(said.contains("cannot make the data directory"), "{said}");
    }
}
