//! Starts a node with its API, and ends both in order.

use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use quorate::{GroupHandle, Node, NodeBuilder};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::connection::Limits;
use super::error::ServeError;
use super::listen::{self, answer_while_starting};
use super::listening::Listening;
use super::options::ServeOptions;
use super::signals::{Ended, Signals, until_signal};
use super::starting;
use crate::address::{Listed, is_wildcard, join, split};
use crate::api::{ApiOptions, AppState};
use crate::machine::{DataMachine, GROUP};

/// The first moment of the year 10000, in milliseconds since 1970.
const DATES_END_MS: u64 = 253_402_300_800_000;

/// A served node. Clones are the same node; dropping the last one ends it as a killed process would.
#[derive(Debug, Clone)]
pub struct Running {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: AppState,
    api_addrs: Vec<SocketAddr>,
    raft_addr: SocketAddr,
    /// Tells the API how to end; dropping it ends the API at once.
    listening: watch::Sender<Listening>,
    /// True once the API has ended.
    over: watch::Receiver<bool>,
}

/// Starts a node, opens its group and serves the API. Returns once both ports are bound; a leader need not be known.
pub async fn serve(options: ServeOptions) -> Result<Running, ServeError> {
    boxed(options).await
}

/// Boxed, so that the body is compiled with this crate and not where it is awaited (decision 0015).
fn boxed(options: ServeOptions) -> Pin<Box<dyn Future<Output = Result<Running, ServeError>> + Send>> {
    Box::pin(started(options))
}

async fn started(options: ServeOptions) -> Result<Running, ServeError> {
    let entry = own_entry(&options)?;
    check_clock(quorate::system_wall_ms())?;
    make_private(&options.data_dir)
        .map_err(|source| ServeError::DataDir { path: options.data_dir.clone(), source })?;
    let listeners = listen::bind(&options.host, options.api_port).await?;
    let api_addrs: Vec<SocketAddr> = listeners.iter().filter_map(|l| l.local_addr().ok()).collect();
    let port = api_addrs.first().map_or(options.api_port, SocketAddr::port);
    let api = options.api_advertise.clone().unwrap_or_else(|| join(&told_host(&options, entry), port));
    let limits = Limits::new(&options.id, &options.api);
    let opening = opened(builder(&options, entry, &api));
    let starts = if options.join.is_empty() { starting::Starts::Alone } else { starting::Starts::Joining };
    let (node, group) =
        answer_while_starting(&listeners, &starting::router(starts), &limits, opening).await?;
    let raft_addr = node.local_addr().expect("a node that was given an address listens");
    let (api_places, raft_places) = (options.api.connections_max, options.raft_connections_max);
    tracing::info!(
        node = %node.id(), raft = %raft_addr, api = %api, data = %options.data_dir.display(), api_places, raft_places,
        "serving"
    );
    let known = known_hosts(&options);
    let state = AppState::new(node, group, api, ApiOptions { hosts: known, ..options.api });
    state.note_start().await;
    let (listening, told) = watch::channel(Listening::Accepting);
    let over = start(listeners, state.clone(), limits, told);
    let running = Running { inner: Arc::new(Inner { state, api_addrs, raft_addr, listening, over }) };
    running.end_on_request();
    Ok(running)
}

/// The host that clients are told: the one that peers dial.
fn told_host(options: &ServeOptions, entry: Option<&Listed>) -> String {
    let advertised = options.advertise.as_deref().and_then(|address| Some(split(address).ok()?.0));
    entry.map(|entry| entry.host.clone()).or(advertised).unwrap_or_else(|| options.host.clone())
}

/// The node with its group.
async fn opened(builder: NodeBuilder) -> Result<(Node, GroupHandle<DataMachine>), ServeError> {
    let node = builder.start().await?;
    match node.group(GROUP, DataMachine::default()).await {
        Ok(group) => Ok((node, group)),
        Err(error) => {
            node.kill().await;
            // A node that ended by itself has a reason, which comes first.
            Err(node.failed().await.map_or_else(|| error.into(), ServeError::Ended))
        }
    }
}

/// What writes the date of each answer panics beyond the year 9999.
fn check_clock(wall_ms: u64) -> Result<(), ServeError> {
    if wall_ms < DATES_END_MS { Ok(()) } else { Err(ServeError::Clock { wall_ms }) }
}

/// Makes a directory that no one else can read: keys, values and the cluster's token are in it. One that exists stays as it is.
pub(super) fn make_private(path: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// The names of this node and its cluster in its own settings. A wildcard is none; addresses need not be there.
fn known_hosts(options: &ServeOptions) -> Vec<String> {
    let advertised = [&options.advertise, &options.api_advertise].into_iter().flatten();
    let advertised = advertised.filter_map(|address| Some(split(address).ok()?.0));
    let listed = options.cluster.iter().map(|entry| entry.host.clone());
    let hosts = options.api.hosts.iter().chain([&options.host]).cloned();
    hosts.chain(advertised).chain(listed).filter(|host| !is_wildcard(host)).collect()
}

/// This node's entry, which is what peers dial.
pub(super) fn own_entry(options: &ServeOptions) -> Result<Option<&Listed>, ServeError> {
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

pub(super) fn builder(options: &ServeOptions, entry: Option<&Listed>, api: &str) -> NodeBuilder {
    let mut builder = Node::builder(&options.id, &options.data_dir)
        .listen(&join(&options.host, options.port))
        .api(api)
        .cluster_token(&options.cluster_token)
        .connections_max(options.raft_connections_max)
        .config(options.config.clone());
    if let Some(address) = options.advertise.clone().or_else(|| entry.map(Listed::address)) {
        builder = builder.advertise(&address);
    }
    if options.port_as_founded {
        builder = builder.port_as_founded();
    }
    if entry.is_some() {
        builder = builder.listed();
    }
    builder = builder.join(options.join.iter().cloned());
    if options.learner {
        builder = builder.as_learner();
    }
    for peer in options.cluster.iter().filter(|peer| peer.id != options.id) {
        builder = builder.peer(&peer.id, &peer.address());
    }
    builder
}

#[expect(clippy::disallowed_methods, reason = "the one task that owns the API; it ends with the node")]
fn start(
    listeners: Vec<Arc<TcpListener>>,
    state: AppState,
    limits: Limits,
    told: watch::Receiver<Listening>,
) -> watch::Receiver<bool> {
    let (is_over, over) = watch::channel(false);
    let api = listen::run(listeners, state, limits, told);
    tokio::spawn(async move {
        api.await;
        is_over.send_replace(true);
    });
    over
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
        // An error: the runtime ended, and the task with it.
        drop(over.wait_for(|over| *over).await);
        match self.node().failed().await {
            Some(failure) => Ended::Failed(failure),
            None if self.inner.state.is_draining() => Ended::Stopped,
            None => Ended::Unasked,
        }
    }

    /// Ends the node and its API. In order: not ready from now on, for as long as the drain delay; then no new connections,
    /// leadership handed over, requests under way answered, the store closed. Otherwise as a killed process would.
    pub async fn shutdown(&self, graceful: bool) {
        if graceful {
            self.drain().await;
            self.node().stop().await;
        } else {
            self.inner.state.drain(Duration::ZERO);
            self.inner.listening.send_replace(Listening::Closed);
            self.node().kill().await;
        }
        self.wait().await;
    }

    /// In order, together with all other nodes of its cluster.
    pub(crate) async fn shutdown_with_others(&self) {
        self.drain().await;
        self.node().stop_with_others().await;
        self.wait().await;
    }

    /// Not ready from now on; no new connections after the drain delay, or sooner if a request asked for that.
    async fn drain(&self) {
        let state = &self.inner.state;
        state.drain(state.options().drain_delay);
        // A node that fails meanwhile is not waited for.
        tokio::select! {
            () = state.drained() => {}
            _ = self.node().failed() => {}
        }
        self.inner.listening.send_replace(Listening::Draining);
    }

    /// Ends the node in order once a request tells it to, after the delay that the request asked for. The task does not keep what is
    /// served, and ends with the API.
    #[expect(clippy::disallowed_methods, reason = "a task without an owner, that ends with the API")]
    fn end_on_request(&self) {
        let (inner, state, mut over) =
            (Arc::downgrade(&self.inner), self.inner.state.clone(), self.inner.over.clone());
        tokio::spawn(async move {
            let is_time = async {
                state.told_to_end().await;
                state.drained().await;
            };
            tokio::select! {
                () = is_time => {}
                _ = over.wait_for(|over| *over) => return,
            }
            if let Some(inner) = inner.upgrade() {
                inner.listening.send_replace(Listening::Draining);
                inner.state.node().stop().await;
            }
        });
    }

    /// Serves until the node fails, or until a request or a signal (SIGTERM, SIGHUP, Ctrl-C) has ended it in order. A second signal
    /// does not wait.
    pub async fn until(self, signals: Signals) -> Ended {
        until_signal(signals, self.wait(), self.shutdown(true), self.wait()).await
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
    async fn a_node_that_ends_without_being_told_to_says_so() {
        let directory = tempfile::tempdir().expect("a directory");
        let options = |id: &str| ServeOptions::new(id, directory.path().join(id));
        let lost = serve(options("lost")).await.expect("serves");
        // As if its task were lost: the server has told it nothing.
        lost.node().kill().await;
        assert_eq!(lost.wait().await, Ended::Unasked);
        let told = serve(options("told")).await.expect("serves");
        told.shutdown(true).await;
        assert_eq!(told.wait().await, Ended::Stopped);
    }

    #[test]
    fn a_clock_that_http_cannot_write_is_refused_and_not_met_by_a_panic() {
        check_clock(DATES_END_MS - 1).expect("the last moment");
        let said = check_clock(DATES_END_MS).expect_err("beyond it").to_string();
        assert!(said.contains("beyond the year 9999") && said.contains("set the clock"), "{said}");
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
