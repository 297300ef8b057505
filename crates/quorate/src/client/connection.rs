//! The client: the links it dials, and how it learns the members of the cluster.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quorate_bridge::{Bridge, BridgeHandle, BridgeOptions, Identity, Net, PeerAddress, TokioNet};
use quorate_core::NodeId;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::address::is_host_and_port;
use crate::attempt::call_group;
use crate::client::nodes::{Changes, Nodes};
use crate::client::one_cluster::OneCluster;
use crate::machine::ClientId;
use crate::protocol::{GroupProtocol, Request, Response};
use crate::{clock, instance};

/// How long the answer to who the members are is waited for.
const LEARN_MAX: Duration = Duration::from_secs(1);

/// What one client may choose.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// How long a proposal or query may take with all its retries: five seconds if not given, here or with the call.
    pub timeout: Duration,
    /// Calls under way at once: 4,096 if not given. Above it, callers wait for their turn.
    pub in_flight_max: usize,
    /// The largest command, in bytes of MessagePack: 1 MiB if not given. A node may take less.
    pub command_bytes_max: usize,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(5), in_flight_max: 4_096, command_bytes_max: 1 << 20 }
    }
}

/// Why a client did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The list of addresses is empty.
    #[error("no address was given: name one node of the cluster as host:port, better several")]
    NoAddress,
    /// An address the bridge does not take.
    #[error("address {address:?} cannot be dialled: {detail}")]
    Address {
        /// The address as given.
        address: String,
        /// Why the bridge does not take it.
        detail: String,
    },
    /// The bridge.
    #[error(transparent)]
    Bridge(#[from] quorate_bridge::StartError),
}

/// A connection to a cluster from outside. Cloning is cheap; every clone is the same client.
///
/// ```no_run
/// # async fn example() -> anyhow::Result<()> {
/// use quorate::machine::{Add, Counter, Total};
/// use quorate::{Client, ClientOptions, Consistency};
///
/// let client = Client::connect(["127.0.0.1:7000", "127.0.0.1:7001"], ClientOptions::default()).await?;
/// let count = client.group::<Counter>("counter");
/// count.propose(Add(5)).await?;
/// let total = count.query(Total, Consistency::Linearizable).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client {
    pub(super) inner: Arc<ClientInner>,
}

pub(super) struct ClientInner {
    pub(super) bridge: BridgeHandle,
    pub(super) nodes: Nodes,
    cluster: Arc<OneCluster>,
    /// Its sessions are named after this number and a count.
    entropy: u128,
    sessions: AtomicU64,
    pub(super) permits: Semaphore,
    pub(super) options: ClientOptions,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("nodes", &self.inner.nodes).finish_non_exhaustive()
    }
}

impl Client {
    /// Starts to dial these nodes and returns at once: `host:port` where they listen for each other
    /// ([`NodeBuilder::listen`](crate::NodeBuilder::listen)), which is not the port of their API. The first call shows whether
    /// any of them answers; from one that does it learns the others, so one address is enough, and more help only while that one is
    /// away.
    pub async fn connect<A: Into<String>>(
        addresses: impl IntoIterator<Item = A>,
        options: ClientOptions,
    ) -> Result<Self, ClientError> {
        let entropy = u128::from(clock::entropy()) << 64 | u128::from(clock::entropy());
        Self::connect_over(Arc::new(TokioNet::default()), entropy, addresses, options).await
    }

    /// As [`connect`](Self::connect), by another network than the system's TCP, and with `entropy` in place of the system's
    /// randomness: for simulation. No two clients of a cluster may ever have the same.
    pub async fn connect_over<A: Into<String>>(
        net: Arc<dyn Net>,
        entropy: u128,
        addresses: impl IntoIterator<Item = A>,
        options: ClientOptions,
    ) -> Result<Self, ClientError> {
        let peers: Vec<_> =
            addresses.into_iter().map(|address| PeerAddress::any_node(address.into())).collect();
        if peers.is_empty() {
            return Err(ClientError::NoAddress);
        }
        if let Some(PeerAddress { address, .. }) = peers.iter().find(|peer| !is_host_and_port(&peer.address))
        {
            let detail = "it is not host:port, for example 10.0.0.1:7000".to_owned();
            return Err(ClientError::Address { address: address.chars().take(120).collect(), detail });
        }
        let mut bridge = BridgeOptions::new(instance::unique_name("client"), Identity::client());
        (bridge.seed, bridge.net) = (entropy as u64, net);
        let cluster = Arc::new(OneCluster::default());
        bridge.admission = cluster.clone();
        let bridge = Bridge::start(bridge, None).await?;
        let nodes = Nodes::given(&peers);
        for peer in peers {
            let address = peer.address.clone();
            if let Err(error) = bridge.add_peer(peer) {
                bridge.stop().await;
                return Err(ClientError::Address { address, detail: error.to_string() });
            }
        }
        let permits = Semaphore::new(options.in_flight_max.clamp(1, Semaphore::MAX_PERMITS));
        let sessions = AtomicU64::new(0);
        let inner = ClientInner { bridge, nodes, cluster, entropy, sessions, permits, options };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Ends the connections. Calls under way reach no node then, and end at their deadline.
    pub async fn close(&self) {
        self.inner.bridge.stop().await;
    }
}

impl ClientInner {
    /// The id of a client session that is not in use anywhere.
    pub(super) fn new_session(&self) -> ClientId {
        let count = self.sessions.fetch_add(1, Ordering::Relaxed);
        ClientId::of_name(&format!("{:032x}/{count}", self.entropy))
    }

    /// A node has answered: from now on the client talks to its cluster only.
    pub(super) fn answered(&self, node: &str) {
        if self.cluster.is_known() {
            return;
        }
        let peer = self.bridge.link(node).and_then(|link| link.peer);
        if peer.is_some_and(|peer| self.cluster.answered(peer.cluster)) {
            self.drop_other_clusters();
        }
    }

    /// Dials again where a link leads to another cluster: from now on it is refused while that cluster is at its address.
    pub(super) fn drop_other_clusters(&self) {
        for link in self.bridge.links().iter().filter(|link| self.cluster.is_other(link)) {
            let Some(peer) = self.nodes.address_of(&link.node) else { continue };
            self.bridge.remove_peer(&link.node);
            // It was added before.
            let _ = self.bridge.add_peer(peer);
        }
    }

    /// Asks a node that has answered who the members are, and dials them. One that does not know, or is of a build that does
    /// not say, changes nothing.
    pub(super) async fn learn_from(&self, node: &str, group: &str, deadline: Instant) {
        let Ok(remote) = self.bridge.remote::<GroupProtocol>(node, group) else { return };
        let deadline = deadline.min(Instant::now() + LEARN_MAX);
        let Ok(Response::Members { leader, members }) =
            call_group((&remote, group), &Request::Members, deadline).await
        else {
            return;
        };
        let leader = leader.as_ref().map(NodeId::as_str);
        let answers = |label: &str| Some(self.bridge.link(label)?.peer?.node.clone());
        let Changes { add, remove } = self.nodes.learned(&members, leader, answers);
        for label in remove {
            self.bridge.remove_peer(&label);
        }
        for peer in add {
            // An id and an address that a member has are no longer than the bridge takes; if they are, it is not dialled.
            let _ = self.bridge.add_peer(peer);
        }
    }
}
