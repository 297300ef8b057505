//! The handle of a bridge: everything callers do with it.

use crate::actors::bridge::{BridgeArguments, BridgeMessage};
use crate::core::Core;
use crate::error::{NameError, StartError, check_name};
use crate::event::{LinkEvent, LinkStatus, MonitorEvent, MonitorId};
use crate::expose::Exposed;
use crate::frame::{NAME_BYTES_MAX, NODE_BYTES_MAX, TEXT_BYTES_MAX};
use crate::options::{Identity, check_identity};
use crate::protocol::{PeerInfo, Protocol};
use crate::remote::RemoteRef;
use crate::slot::Target;
use ractor::ActorRef;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Where a peer is dialled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerAddress {
    /// Its node id. With `any_node`, only our label for the link.
    pub node: String,
    /// `host:port`, resolved at each connect; all addresses of the host are tried.
    pub address: String,
    /// Accept whichever node answers: for clients and joiners that know addresses only.
    pub any_node: bool,
}

impl PeerAddress {
    /// The node of this id at this address; another node there is refused.
    pub fn new(node: impl Into<String>, address: impl Into<String>) -> Self {
        Self { node: node.into(), address: address.into(), any_node: false }
    }

    /// Whichever node answers at `address`; the address is the link's name too.
    pub fn anyone(address: impl Into<String>) -> Self {
        let address = address.into();
        let node = address.chars().take(NODE_BYTES_MAX).collect();
        Self { node, address, any_node: true }
    }
}

/// A bridge, as its owner sees it. Cheap to clone; it works on across restarts of the Bridge actor.
#[derive(Clone)]
pub struct BridgeHandle {
    pub(crate) core: Arc<Core>,
}

impl BridgeHandle {
    /// Where it listens; `None` if it only dials.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.core.local_addr
    }

    /// The Bridge actor of the moment. It may be dead, while its supervisor starts the next.
    pub fn actor(&self) -> ActorRef<BridgeMessage> {
        self.core
            .actor
            .borrow()
            .clone()
            .expect("a handle exists only once the first Bridge actor was spawned")
    }

    /// What the next Bridge actor is spawned with, for a supervisor that spawns it itself.
    pub fn arguments(&self) -> BridgeArguments {
        BridgeArguments { core: self.core.clone() }
    }

    /// Makes an actor or sink reachable under `name`, instead of what had the name before.
    pub fn expose(&self, name: &str, exposed: Exposed) -> Result<(), NameError> {
        check_name("actor name", name, NAME_BYTES_MAX)?;
        self.core.expose(name, exposed);
        Ok(())
    }

    /// Ends the reachability of `name`; false if there was none. Those who monitor it are told.
    pub fn withdraw(&self, name: &str) -> bool {
        self.core.withdraw(name)
    }

    /// Keeps a link to this peer from now on. For a peer that has one: under the new address, if that changed.
    pub fn add_peer(&self, peer: PeerAddress) -> Result<(), NameError> {
        let PeerAddress { node, address, any_node } = peer;
        check_name("node id", &node, NODE_BYTES_MAX)?;
        check_name("address", &address, TEXT_BYTES_MAX)?;
        self.core.slot(&node).info.lock().target = Some(Target { address, any_node });
        self.core.tell(BridgeMessage::PeerAdded { node });
        Ok(())
    }

    /// Ends the link to this peer and forgets the boot number seen. Refs to it stay valid and say `NotConnected`.
    pub fn remove_peer(&self, node: &str) {
        self.core.slot(node).info.lock().target = None;
        self.core.forget(node);
        self.core.tell(BridgeMessage::PeerRemoved { node: node.to_owned() });
    }

    /// A reference to the actor called `name` on `node`. Neither needs to exist yet.
    pub fn remote<P: Protocol>(&self, node: &str, name: &str) -> Result<RemoteRef<P>, NameError> {
        check_name("node id", node, NODE_BYTES_MAX)?;
        check_name("actor name", name, NAME_BYTES_MAX)?;
        Ok(RemoteRef::new(self.core.slot(node), name))
    }

    /// Tells `subscriber` how the actor called `name` on `node` fares: how it stands at once, then every change.
    /// The loss of the link counts as the end of all actors of the node, since nothing is known of them then; when it
    /// is back, `Up` follows if the name is exposed.
    ///
    /// The subscriber runs on the connection's task: it must not block; cast to an actor. The end of an actor that was
    /// told `Up` is always told, even if its successor is there at once; a life that begins and ends between two looks
    /// of the connection may go untold as a whole.
    pub fn monitor(
        &self,
        node: &str,
        name: &str,
        subscriber: impl Fn(MonitorEvent) + Send + Sync + 'static,
    ) -> Result<MonitorId, NameError> {
        check_name("node id", node, NODE_BYTES_MAX)?;
        check_name("actor name", name, NAME_BYTES_MAX)?;
        let id = self.core.slot(node).monitor(name, Arc::new(subscriber));
        Ok(MonitorId { node: node.to_owned(), id })
    }

    /// Ends a monitor. An event under way on another thread may still arrive.
    pub fn demonitor(&self, monitor: &MonitorId) {
        self.core.slot(&monitor.node).demonitor(monitor.id);
    }

    /// Tells `subscriber` of every change of any link from now on, for the life of the bridge. It must not block.
    pub fn on_link_event(&self, subscriber: impl Fn(LinkEvent) + Send + Sync + 'static) {
        self.core.subscribe(Arc::new(subscriber));
    }

    /// Every link, by node id.
    pub fn links(&self) -> Vec<LinkStatus> {
        let slots: Vec<_> = self.core.slots.lock().values().cloned().collect();
        slots.into_iter().map(|slot| slot.status()).collect()
    }

    /// The link to one node, if it was ever named.
    pub fn link(&self, node: &str) -> Option<LinkStatus> {
        let slot = self.core.slots.lock().get(node).cloned();
        slot.map(|slot| slot.status())
    }

    /// The nodes (peers and joiners) that have a connection to us, by id.
    pub fn sessions(&self) -> Vec<Arc<PeerInfo>> {
        self.core.sessions()
    }

    /// Frames of inbound connections that closed them, and handshakes that failed, since the start.
    pub fn inbound_malformed(&self) -> u64 {
        self.core.inbound.malformed.load(Ordering::Relaxed)
    }

    /// What we say we are in handshakes from now on; connections that are up stay as they are.
    pub fn set_identity(&self, identity: Identity) -> Result<(), StartError> {
        check_identity(&identity)?;
        self.core.set_identity(identity);
        Ok(())
    }

    /// Ends the bridge for good: Listener, Sessions, Links, then the listening socket.
    pub async fn stop(&self) {
        self.core.stopping.store(true, Ordering::Release);
        let actor = self.actor();
        // Past the limit the children are killed by ractor, with the actor.
        let limit = Duration::from_secs(5);
        let _ = actor.get_cell().stop_and_wait(Some("stopped by its owner".into()), Some(limit)).await;
        self.core.acceptor.lock().take();
    }
}
