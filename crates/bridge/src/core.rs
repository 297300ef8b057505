//! What is owned above the Bridge actor and its children, so that their crashes lose connections and nothing else:
//! the listening socket, the export table, the peers with their slots, and what was seen of each node.

use crate::actors::bridge::BridgeMessage;
use crate::admission::{Refusal, RefusalCode};
use crate::event::{LinkChange, LinkEvent};
use crate::expose::{Exposed, Exposure, Table};
use crate::frame::CastFailed;
use crate::handshake::{HandshakeError, Hello};
use crate::lock::Lock;
use crate::net::Acceptor;
use crate::options::{BridgeOptions, Identity};
use crate::outbox::{Outbox, Subscriber};
use crate::protocol::{Kind, PeerInfo};
use crate::slot::{Counters, Slot};
use crate::wire::Wire;
use ractor::{ActorId, ActorRef};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

/// See the module header. Reached through [`crate::BridgeHandle`].
pub(crate) struct Core {
    pub(crate) options: BridgeOptions,
    identity: Lock<Identity>,
    /// `None` for a process that only dials, and once the bridge was stopped for good.
    pub(crate) acceptor: Lock<Option<Arc<dyn Acceptor>>>,
    pub(crate) local_addr: Option<SocketAddr>,
    pub(crate) exposures: watch::Sender<Table>,
    pub(crate) slots: Lock<BTreeMap<String, Arc<Slot>>>,
    /// Highest boot seen of each (node, incarnation) admitted.
    seen: Lock<BTreeMap<String, (u64, u64)>>,
    /// The inbound connection that speaks for each node.
    sessions: Lock<BTreeMap<String, Arc<Wire>>>,
    /// Figures of inbound connections, all together.
    pub(crate) inbound: Arc<Counters>,
    pub(crate) permits: Arc<Semaphore>,
    pub(crate) actor: watch::Sender<Option<ActorRef<BridgeMessage>>>,
    pub(crate) stopping: AtomicBool,
    serial: AtomicU64,
    subscribers: Lock<Vec<Subscriber<LinkEvent>>>,
    outbox: Outbox<LinkEvent>,
}

impl Core {
    pub(crate) fn new(
        options: BridgeOptions,
        acceptor: Option<Arc<dyn Acceptor>>,
        local_addr: Option<SocketAddr>,
    ) -> Self {
        Self {
            identity: Lock::new(options.identity.clone()),
            acceptor: Lock::new(acceptor),
            local_addr,
            exposures: watch::Sender::default(),
            slots: Lock::default(),
            seen: Lock::default(),
            sessions: Lock::default(),
            inbound: Arc::default(),
            permits: Arc::new(Semaphore::new(options.sessions_max)),
            actor: watch::Sender::new(None),
            stopping: AtomicBool::new(false),
            serial: AtomicU64::new(0),
            subscribers: Lock::default(),
            outbox: Outbox::default(),
            options,
        }
    }

    pub(crate) fn identity(&self) -> Identity {
        self.identity.lock().clone()
    }

    pub(crate) fn set_identity(&self, identity: Identity) {
        *self.identity.lock() = identity;
    }

    pub(crate) fn serial(&self) -> u64 {
        self.serial.fetch_add(1, Ordering::Relaxed)
    }

    /// A name no other actor of this process has, now or while an older one of its kind still ends.
    pub(crate) fn actor_name(&self, role: &str) -> String {
        format!("{}/bridge/{role}#{}", self.options.name_prefix, self.serial())
    }

    /// Casts to the Bridge actor of the moment. If there is none, its successor reads the tables when it starts.
    pub(crate) fn tell(&self, message: BridgeMessage) {
        if let Some(actor) = self.actor.borrow().as_ref() {
            let _ = actor.send_message(message);
        }
    }

    pub(crate) fn slot(&self, node: &str) -> Arc<Slot> {
        self.slots.lock().entry(node.to_owned()).or_insert_with(|| Slot::new(node)).clone()
    }

    // Export table

    pub(crate) fn expose(&self, name: &str, exposed: Exposed) {
        let exposure = Arc::new(exposed.under(name, self.serial()));
        self.exposures.send_modify(|table| {
            Arc::make_mut(table).insert(exposure.name.clone(), exposure);
        });
        self.tell(BridgeMessage::Exposed { name: name.to_owned() });
    }

    pub(crate) fn withdraw(&self, name: &str) -> bool {
        let mut removed = None;
        self.exposures.send_if_modified(|table| {
            removed = Arc::make_mut(table).remove(name);
            removed.is_some()
        });
        if let Some(cell) = removed.as_ref().and_then(|exposure| exposure.cell.clone()) {
            self.tell(BridgeMessage::Withdrawn { actor: cell });
        }
        removed.is_some()
    }

    /// Marks one life of a name as ended; a later life stays.
    pub(crate) fn exposure_gone(&self, exposure: &Arc<Exposure>, how: &str) {
        self.exposures.send_if_modified(|table| {
            let current =
                table.get(&exposure.name).filter(|current| current.generation == exposure.generation);
            let Some(current) = current.filter(|current| current.gone.is_none()) else { return false };
            let dead = Arc::new(current.dead(how));
            Arc::make_mut(table).insert(exposure.name.clone(), dead);
            true
        });
    }

    /// The end of an exposed actor, under every name it has.
    pub(crate) fn actor_gone(&self, actor: ActorId, how: &str) {
        let table = self.exposures.borrow().clone();
        let is_it =
            |exposure: &&Arc<Exposure>| exposure.cell.as_ref().is_some_and(|cell| cell.get_id() == actor);
        for exposure in table.values().filter(is_it) {
            self.exposure_gone(exposure, how);
        }
    }

    // Peers seen

    pub(crate) fn check_boot(&self, hello: &Hello) -> Result<(), Refusal> {
        match hello.kind {
            Kind::Client | Kind::Joiner => return Ok(()),
            Kind::Peer => {}
        }
        match self.seen.lock().get(&hello.node) {
            Some((incarnation, boot)) if *incarnation == hello.incarnation && *boot > hello.boot => {
                Err(Refusal::new(
                    RefusalCode::StaleBoot,
                    format!("boot {} of node {} was seen, this is boot {}", boot, hello.node, hello.boot),
                    "two processes run on copies of one data directory, or it was restored from a copy: stop the older",
                ))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Remembers an admitted peer. Checked again: another connection may have been admitted meanwhile.
    pub(crate) fn saw(&self, hello: &Hello) -> Result<(), Refusal> {
        self.check_boot(hello)?;
        if hello.kind == Kind::Peer {
            self.seen.lock().insert(hello.node.clone(), (hello.incarnation, hello.boot));
        }
        Ok(())
    }

    pub(crate) fn forget(&self, node: &str) {
        self.seen.lock().remove(node);
    }

    /// Makes `wire` the inbound connection of its node. The one before is closed, and nothing more comes from it.
    pub(crate) fn session_up(&self, wire: &Arc<Wire>) {
        if wire.peer.kind == Kind::Client {
            return;
        }
        let older = self.sessions.lock().insert(wire.peer.node.clone(), wire.clone());
        if let Some(older) = older {
            older.close("replaced by a newer connection of the same node");
            older.wait_for_gate();
        }
    }

    pub(crate) fn session_down(&self, wire: &Arc<Wire>) {
        let mut sessions = self.sessions.lock();
        if sessions.get(&wire.peer.node).is_some_and(|current| Arc::ptr_eq(current, wire)) {
            sessions.remove(&wire.peer.node);
        }
    }

    pub(crate) fn sessions(&self) -> Vec<Arc<PeerInfo>> {
        self.sessions.lock().values().map(|wire| wire.peer.clone()).collect()
    }

    // Link events

    pub(crate) fn subscribe(&self, subscriber: Subscriber<LinkEvent>) {
        self.subscribers.lock().push(subscriber);
    }

    pub(crate) fn link_event(&self, node: &str, peer: Option<&PeerInfo>, change: &LinkChange) {
        let event = LinkEvent {
            node: node.to_owned(),
            incarnation: peer.map_or(0, |peer| peer.incarnation),
            boot: peer.map_or(0, |peer| peer.boot),
            change: change.clone(),
        };
        {
            let subscribers = self.subscribers.lock();
            self.outbox.append(subscribers.iter().map(|subscriber| (subscriber.clone(), event.clone())));
        }
        self.outbox.deliver();
    }

    /// Counts casts the other end turned away; tells at most once per keepalive interval.
    pub(crate) fn casts_undelivered(&self, slot: &Slot, wire: &Wire, failed: &CastFailed) {
        slot.counters.casts_undelivered.fetch_add(failed.count, Ordering::Relaxed);
        let count = {
            let mut info = slot.info.lock();
            let (count, told) = &mut info.undelivered;
            *count = count.saturating_add(failed.count);
            let interval = Duration::from_millis(self.options.keepalive_interval_ms);
            if told.is_some_and(|told| told.elapsed() < interval) {
                return;
            }
            *told = Some(Instant::now());
            std::mem::take(count)
        };
        tracing::debug!(node = %slot.node, name = %failed.name, count, code = ?failed.code, "casts found no actor");
        let (name, detail) = (failed.name.clone(), failed.detail.clone());
        self.link_event(&slot.node, Some(&wire.peer), &LinkChange::Undelivered { name, count, detail });
    }
}

impl Core {
    /// Counts and logs an inbound connection that did not get through its handshake.
    pub(crate) fn handshake_failed(&self, address: &str, error: &HandshakeError) {
        match error {
            HandshakeError::Frame(frame) => {
                self.inbound.malformed.fetch_add(1, Ordering::Relaxed);
                let remedy = "something else dials this port, or its version is too old";
                tracing::warn!(%address, what = %frame, remedy, "malformed frame in the handshake, connection closed");
            }
            HandshakeError::ByUs(_)
            | HandshakeError::ByThem(_)
            | HandshakeError::TimedOut(_)
            | HandshakeError::Io(_)
            | HandshakeError::Closed => tracing::warn!(%address, %error, "inbound connection not admitted"),
        }
    }
}
