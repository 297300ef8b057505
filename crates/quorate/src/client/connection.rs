//! The client: the links it dials, and the node it asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use quorate_bridge::{Bridge, BridgeHandle, BridgeOptions, Identity, Net, PeerAddress, TokioNet};
use tokio::sync::Semaphore;

use crate::machine::ClientId;
use crate::{clock, instance};

/// What one client may choose.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// How long a proposal or query may take with all its retries.
    pub timeout: Duration,
    /// Calls under way at once.
    pub in_flight_max: usize,
    /// The largest command, in bytes of MessagePack.
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
    #[error("no address was given: name one node of the cluster as host:port, better all of them")]
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
    /// The labels of the links, one per address.
    pub(super) nodes: Vec<String>,
    /// The node that answered last.
    current: AtomicUsize,
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
    /// Starts to dial these nodes and returns at once. The first call shows whether any of them answers.
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
        let mut bridge = BridgeOptions::new(instance::unique_name("client"), Identity::client());
        (bridge.seed, bridge.net) = (entropy as u64, net);
        let bridge = Bridge::start(bridge, None).await?;
        let nodes = peers.iter().map(|peer| peer.node.clone()).collect();
        for peer in peers {
            let address = peer.address.clone();
            if let Err(error) = bridge.add_peer(peer) {
                bridge.stop().await;
                return Err(ClientError::Address { address, detail: error.to_string() });
            }
        }
        let permits = Semaphore::new(options.in_flight_max.clamp(1, Semaphore::MAX_PERMITS));
        let (current, sessions) = (AtomicUsize::new(0), AtomicU64::new(0));
        let inner = ClientInner { bridge, nodes, current, entropy, sessions, permits, options };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Ends the connections. Calls under way end with them.
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

    /// The index of the node that is asked.
    pub(super) fn current(&self) -> usize {
        self.current.load(Ordering::Relaxed)
    }

    /// Asks the next node from now on, unless another call has rotated already.
    pub(super) fn rotate_from(&self, node: usize) {
        let next = (node + 1) % self.nodes.len();
        let _ = self.current.compare_exchange(node, next, Ordering::Relaxed, Ordering::Relaxed);
    }
}
