//! What lives above the Bridge actor and its children, so that their crashes lose connections and nothing else: the
//! listening socket, the exposed names, the peers, the boots seen, the observers.
//!
//! Only the handle and the Bridge see all of it; each child gets the parts it works with.

use super::messages::BridgeAddress;
use crate::connection::{Handshake, InboundConnections};
use crate::endpoint::{Exposures, LinkObservers, Peers};
use crate::lock::Lock;
use crate::net::Acceptor;
use crate::options::BridgeOptions;
use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

pub(crate) struct Tables {
    pub(crate) options: Arc<BridgeOptions>,
    /// `None` for a process that only dials, and after `stop`.
    pub(crate) acceptor: Lock<Option<Arc<dyn Acceptor>>>,
    pub(crate) local_addr: Option<SocketAddr>,
    pub(crate) handshake: Arc<Handshake>,
    pub(crate) inbound: Arc<InboundConnections>,
    pub(crate) exposures: Arc<Exposures>,
    pub(crate) peers: Arc<Peers>,
    pub(crate) observers: Arc<LinkObservers>,
    pub(crate) bridge: BridgeAddress,
    stopping: AtomicBool,
    serial: AtomicU64,
}

impl Tables {
    pub(crate) fn new(
        options: BridgeOptions,
        acceptor: Option<Arc<dyn Acceptor>>,
        local_addr: Option<SocketAddr>,
    ) -> Arc<Self> {
        let options = Arc::new(options);
        Arc::new(Self {
            acceptor: Lock::new(acceptor),
            local_addr,
            handshake: Arc::new(Handshake::new(options.clone())),
            options,
            inbound: Arc::default(),
            exposures: Arc::default(),
            peers: Arc::default(),
            observers: Arc::default(),
            bridge: BridgeAddress::default(),
            stopping: AtomicBool::new(false),
            serial: AtomicU64::new(0),
        })
    }

    /// From now on no child is started.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// A number that no other call gets.
    pub(crate) fn next_serial(&self) -> u64 {
        self.serial.fetch_add(1, Ordering::Relaxed)
    }

    /// An actor name unique in this process, even while an older actor of its kind is still ending.
    pub(crate) fn actor_name(&self, role: &dyn Display) -> String {
        format!("{}/bridge/{role}#{}", self.options.name_prefix, self.next_serial())
    }
}
