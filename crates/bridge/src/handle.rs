//! The API of a bridge: starting it, and everything callers do with it.

use crate::actors::{BridgeActor, BridgeMessage, Tables};
use crate::connection::REPLACED_MAX;
use crate::endpoint::{Exposed, Protocol, RemoteRef, Target};
use crate::error::{NameError, StartError, check_name};
use crate::event::{LinkEvent, LinkStatus, MonitorEvent, MonitorId};
use crate::frame::{NAME_BYTES_MAX, NODE_BYTES_MAX, TEXT_BYTES_MAX};
use crate::identity::PeerInfo;
use crate::options::BridgeOptions;
use ractor::ActorCell;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// How long `stop` waits for the children; after that ractor kills them with the Bridge actor.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Where a peer is dialled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerAddress {
    /// Its node id. With `any_node`, only a local name for the link.
    pub node: String,
    /// `host:port`, resolved at each attempt; all addresses of the host are tried.
    pub address: String,
    /// Accept any node that answers: for clients and joiners, which know addresses only.
    pub any_node: bool,
}

impl PeerAddress {
    /// The node of this id at this address; another node there is refused.
    pub fn new(node: impl Into<String>, address: impl Into<String>) -> Self {
        Self { node: node.into(), address: address.into(), any_node: false }
    }

    /// Any node that answers at `address`; the address is the link's name, too.
    pub fn any_node(address: impl Into<String>) -> Self {
        let address = address.into();
        let node = address.chars().take(NODE_BYTES_MAX).collect();
        Self { node, address, any_node: true }
    }
}

/// Starts bridges. The supervision tree of one: Bridge above the Listener, a Session per inbound connection and a Link
/// per peer.
pub struct Bridge;

impl Bridge {
    /// Checks the options, binds the listening address and spawns the Bridge actor, linked to the supervisor if one is
    /// given. To be called on the runtime the bridge shall run on.
    pub async fn start(
        options: BridgeOptions,
        supervisor: Option<ActorCell>,
    ) -> Result<BridgeHandle, StartError> {
        boxed_start(options, supervisor).await
    }

    /// Spawns a Bridge actor over the tables of `handle`, after the previous one has ended. For its supervisor: a crash
    /// of the actor loses the node's connections; remote refs, monitors, exposures and peers stay.
    pub async fn respawn(
        handle: &BridgeHandle,
        supervisor: Option<ActorCell>,
    ) -> Result<ActorCell, StartError> {
        let tables = handle.tables.clone();
        let prefix = tables.options.name_prefix.clone();
        BridgeActor::spawn(tables, supervisor).await.map_err(|source| StartError::Spawn { prefix, source })
    }
}

/// In a box, so that it is compiled with this crate and not where it is awaited.
fn boxed_start(
    options: BridgeOptions,
    supervisor: Option<ActorCell>,
) -> Pin<Box<dyn Future<Output = Result<BridgeHandle, StartError>> + Send>> {
    Box::pin(async move {
        options.validate()?;
        let (mut acceptor, mut local_addr) = (None, None);
        if let Some(address) = &options.listen {
            let failed = |source| StartError::Listen { address: address.clone(), source };
            let bound = options.net.bind(address).await.map_err(failed)?;
            local_addr = Some(bound.local_addr().map_err(failed)?);
            acceptor = Some(Arc::from(bound));
        }
        let handle = BridgeHandle { tables: Tables::new(options, acceptor, local_addr) };
        Bridge::respawn(&handle, supervisor).await?;
        Ok(handle)
    })
}

/// A bridge, as its owner sees it. Cheap to clone; it keeps working across restarts of the Bridge actor.
#[derive(Clone)]
pub struct BridgeHandle {
    tables: Arc<Tables>,
}

impl BridgeHandle {
    /// Where it listens; `None` if it only dials.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.tables.local_addr
    }

    /// The current Bridge actor. It may have ended, while its supervisor starts the next one.
    pub fn actor(&self) -> ActorCell {
        let actor = self.tables.bridge.get();
        actor.expect("a handle exists only once the first Bridge actor was spawned").get_cell()
    }

    /// Makes an actor or sink reachable under `name`, in place of what had the name before.
    pub fn expose(&self, name: &str, exposed: Exposed) -> Result<(), NameError> {
        check_name("actor name", name, NAME_BYTES_MAX)?;
        self.tables.exposures.expose(name, exposed);
        self.tables.bridge.tell(BridgeMessage::Exposed { name: name.to_owned() });
        Ok(())
    }

    /// Makes `name` unreachable, which its monitors are told; false if it was not exposed.
    pub fn withdraw(&self, name: &str) -> bool {
        let Some(removed) = self.tables.exposures.withdraw(name) else { return false };
        if let Some(actor) = removed.cell.clone() {
            self.tables.bridge.tell(BridgeMessage::Withdrawn { actor });
        }
        true
    }

    /// Keeps a link to this peer from now on. A peer that has one is redialled if the address changed.
    pub fn add_peer(&self, peer: PeerAddress) -> Result<(), NameError> {
        let PeerAddress { node, address, any_node } = peer;
        check_name("node id", &node, NODE_BYTES_MAX)?;
        check_name("address", &address, TEXT_BYTES_MAX)?;
        self.tables.peers.get_or_insert(&node).set_target(Some(Target { address, any_node }));
        self.tables.bridge.tell(BridgeMessage::PeerAdded { node });
        Ok(())
    }

    /// Ends the link to this peer and its connections to us, and forgets the boot number seen. Refs to it stay valid and return
    /// `NotConnected`.
    pub fn remove_peer(&self, node: &str) {
        self.tables.peers.get_or_insert(node).set_target(None);
        self.tables.handshake.boots.forget(node);
        self.tables.handshake.present.end(node);
        self.tables.bridge.tell(BridgeMessage::PeerRemoved { node: node.to_owned() });
    }

    /// From now on the node of this name has this incarnation, or a later one that says that it has replaced it; any, if there is none. When this
    /// returns, nothing more is delivered from connections of others, and nothing is sent to them. It waits for a delivery that is under way: not to be
    /// called with a lock that a sink takes.
    pub fn keep_only(&self, node: &str, incarnation: Option<u64>) {
        self.tables.handshake.present.keep_only(node, incarnation);
    }

    /// From now on we say to peers that we have replaced these incarnations of our name, each in the group of this number; the first 256 are
    /// said, on connections made from now on.
    pub fn say_replaced(&self, mut replaced: Vec<(u64, u64)>) {
        replaced.truncate(REPLACED_MAX);
        self.tables.handshake.say_replaced(replaced);
    }

    /// A reference to the actor called `name` on `node`. Neither needs to exist yet.
    pub fn remote<P: Protocol>(&self, node: &str, name: &str) -> Result<RemoteRef<P>, NameError> {
        check_name("node id", node, NODE_BYTES_MAX)?;
        check_name("actor name", name, NAME_BYTES_MAX)?;
        Ok(RemoteRef::new(self.tables.peers.get_or_insert(node), name))
    }

    /// Reports the present state of the actor called `name` on `node` to `subscriber`, then each change. The loss of the
    /// link counts as the end of all actors of the node, since nothing is known of them then; when the link is back,
    /// `Up` follows if the name is exposed.
    ///
    /// The subscriber runs on the connection's task: it must not block, only cast to an actor. The end of an actor that
    /// was reported `Up` is always reported, even if its successor starts at once; an actor that starts and ends between
    /// two looks of the connection may not be reported at all.
    pub fn monitor(
        &self,
        node: &str,
        name: &str,
        subscriber: impl Fn(MonitorEvent) + Send + Sync + 'static,
    ) -> Result<MonitorId, NameError> {
        check_name("node id", node, NODE_BYTES_MAX)?;
        check_name("actor name", name, NAME_BYTES_MAX)?;
        let id = self.tables.peers.get_or_insert(node).monitor(name, Arc::new(subscriber));
        Ok(MonitorId { node: node.to_owned(), id })
    }

    /// Ends a monitor. An event that another thread is delivering may still arrive.
    pub fn demonitor(&self, monitor: &MonitorId) {
        self.tables.peers.get_or_insert(&monitor.node).demonitor(monitor.id);
    }

    /// Reports every change of any link to `subscriber`, for the life of the bridge. It must not block.
    pub fn on_link_event(&self, subscriber: impl Fn(LinkEvent) + Send + Sync + 'static) {
        self.tables.observers.subscribe(Arc::new(subscriber));
    }

    /// Every link, by node id.
    pub fn links(&self) -> Vec<LinkStatus> {
        self.tables.peers.all().into_iter().map(|peer| peer.status()).collect()
    }

    /// The link to one node; `None` if the node was never named to this bridge.
    pub fn link(&self, node: &str) -> Option<LinkStatus> {
        self.tables.peers.get(node).map(|peer| peer.status())
    }

    /// The nodes (peers and joiners) that have a connection to us, by id.
    pub fn sessions(&self) -> Vec<Arc<PeerInfo>> {
        self.tables.inbound.peers()
    }

    /// Malformed frames on inbound connections since the start; each closed its connection.
    pub fn inbound_malformed(&self) -> u64 {
        self.tables.inbound.counters.malformed.get()
    }

    /// Ends the bridge permanently: Listener, Sessions, Links, then the listening socket.
    pub async fn stop(&self) {
        self.tables.stop();
        let _ = self.actor().stop_and_wait(Some("stopped by its owner".into()), Some(STOP_TIMEOUT)).await;
        self.tables.acceptor.lock().take();
    }
}
