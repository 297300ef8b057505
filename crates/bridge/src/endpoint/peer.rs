//! A remote node as the bridge knows it: its address, the state of its link, its current connection, its monitors.
//!
//! It outlives the connections to the node, and the Link and Bridge actors. Remote refs hold it and find the current
//! connection in a watch cell (a read lock of nanoseconds, never held across an await), so a ref keeps working across
//! reconnects and restarts.

use super::monitor::Monitors;
use super::outbox::{Outbox, Subscriber};
use crate::connection::{Connection, Counters, Flaps};
use crate::event::{DownReason, Gap, LinkState, LinkStatus, MonitorChange, MonitorEvent};
use crate::frame::{self, Down, FrameKind, Name};
use crate::lock::Lock;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Every peer that was ever named, by node id.
#[derive(Default)]
pub(crate) struct Peers(Lock<BTreeMap<String, Arc<Peer>>>);

impl Peers {
    pub(crate) fn get_or_insert(&self, node: &str) -> Arc<Peer> {
        self.0.lock().entry(node.to_owned()).or_insert_with(|| Peer::new(node)).clone()
    }

    pub(crate) fn get(&self, node: &str) -> Option<Arc<Peer>> {
        self.0.lock().get(node).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Peer>> {
        self.0.lock().values().cloned().collect()
    }
}

/// Where a peer is dialled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// `host:port`.
    pub(crate) address: String,
    /// Any node may answer there.
    pub(crate) any_node: bool,
}

struct Link {
    /// `None`: not added, or removed.
    target: Option<Target>,
    state: LinkState,
    /// While the peer is dialled, and there is no connection.
    down_since: Option<Instant>,
    last_error: Option<String>,
    /// In which boot the peer spoke another version of a protocol, and what it said.
    incompatible: Option<(u64, String)>,
}

pub(crate) struct Peer {
    pub(crate) node: Arc<str>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) flaps: Lock<Flaps>,
    link: Lock<Link>,
    current: watch::Sender<Option<Arc<Connection>>>,
    monitors: Lock<Monitors>,
    outbox: Outbox<MonitorEvent>,
}

impl Peer {
    fn new(node: &str) -> Arc<Self> {
        Arc::new(Self {
            node: node.into(),
            counters: Arc::default(),
            flaps: Lock::default(),
            link: Lock::new(Link {
                target: None,
                state: LinkState::Idle,
                down_since: None,
                last_error: None,
                incompatible: None,
            }),
            current: watch::Sender::new(None),
            monitors: Lock::default(),
            outbox: Outbox::default(),
        })
    }

    pub(crate) fn target(&self) -> Option<Target> {
        self.link.lock().target.clone()
    }

    pub(crate) fn set_target(&self, target: Option<Target>) {
        let mut link = self.link.lock();
        let is_down = target.is_some() && link.state != LinkState::Up;
        link.down_since = is_down.then(|| link.down_since.unwrap_or_else(Instant::now));
        link.target = target;
    }

    pub(crate) fn connecting(&self) {
        self.link.lock().state = LinkState::Connecting;
    }

    /// Records a failed attempt; true if the reason differs from the last one.
    pub(crate) fn connect_failed(&self, reason: &str) -> bool {
        let mut link = self.link.lock();
        link.state = LinkState::Backoff;
        link.last_error.replace(reason.to_owned()).as_deref() != Some(reason)
    }

    /// The connection to send over, if the link is up.
    pub(crate) fn current(&self) -> Option<Arc<Connection>> {
        self.current.borrow().clone()
    }

    pub(crate) fn why_not_connected(&self) -> String {
        let link = self.link.lock();
        match (&link.last_error, link.state) {
            (_, LinkState::Idle) => "the peer was not added to this bridge, or was removed".into(),
            (Some(error), _) => error.clone(),
            (None, LinkState::Connecting | LinkState::Backoff | LinkState::Up) => "still connecting".into(),
        }
    }

    /// Makes `connection` the current one and asks it about every monitored name.
    pub(crate) fn connection_up(&self, connection: &Arc<Connection>) {
        {
            let mut link = self.link.lock();
            link.state = LinkState::Up;
            link.down_since = None;
            link.last_error = None;
            // A client is not told the boot: behind each new connection there may be another build.
            link.incompatible.take_if(|(boot, _)| *boot == 0 || *boot != connection.peer.boot);
        }
        self.counters.ups.add(1);
        let monitors = self.monitors.lock();
        self.current.send_replace(Some(connection.clone()));
        for name in monitors.names() {
            send_name(connection, FrameKind::Monitor, name);
        }
    }

    /// The peer cannot read what is cast to it. It is the same until it restarts, whatever else is cast, and is logged once.
    pub(crate) fn speaks_otherwise(&self, connection: &Connection, detail: &str) {
        let boot = connection.peer.boot;
        let mut link = self.link.lock();
        if link.incompatible.as_ref().is_some_and(|(known, _)| *known == boot) {
            return;
        }
        link.incompatible = Some((boot, detail.to_owned()));
        drop(link);
        tracing::warn!(
            node = %self.node,
            detail,
            "a peer speaks another version of a protocol and takes no messages of it; bring both nodes to one version"
        );
    }

    /// The end of `connection`: every monitored name of the node is down. False, and nothing is done, if a newer connection has
    /// taken its place.
    pub(crate) fn connection_down(&self, connection: &Arc<Connection>, reason: &str) -> bool {
        {
            let mut monitors = self.monitors.lock();
            let was_current = self.current.send_if_modified(|current| {
                let is_ours = current.as_ref().is_some_and(|current| Arc::ptr_eq(current, connection));
                if is_ours {
                    *current = None;
                }
                is_ours
            });
            if !was_current {
                return false;
            }
            let mut link = self.link.lock();
            link.last_error = Some(reason.to_owned());
            link.state = if link.target.is_some() { LinkState::Backoff } else { LinkState::Idle };
            link.down_since = link.target.is_some().then(Instant::now);
            drop(link);
            let change = MonitorChange::Down { reason: DownReason::NodeLost(reason.to_owned()) };
            self.outbox.append(monitors.events(&self.node, None, &change));
        }
        self.outbox.deliver();
        true
    }

    /// `connection` reports a change of `name`. Ignored unless it is the current one: a late frame of an older
    /// connection must not count.
    fn actor_changed(&self, connection: &Arc<Connection>, name: &str, change: &MonitorChange) {
        {
            let mut monitors = self.monitors.lock();
            if self.current.borrow().as_ref().is_some_and(|current| Arc::ptr_eq(current, connection)) {
                self.outbox.append(monitors.events(&self.node, Some(name), change));
            }
        }
        self.outbox.deliver();
    }

    pub(crate) fn actor_up(&self, connection: &Arc<Connection>, name: &str) {
        let (incarnation, boot) = (connection.peer.incarnation, connection.peer.boot);
        self.actor_changed(connection, name, &MonitorChange::Up { incarnation, boot });
    }

    pub(crate) fn actor_down(&self, connection: &Arc<Connection>, down: Down) {
        let Down { name, reason, detail } = down;
        let reason = match reason.as_str() {
            "withdrawn" => DownReason::Withdrawn,
            "not_exposed" => DownReason::NotExposed,
            _ => DownReason::Died(detail),
        };
        self.actor_changed(connection, &name, &MonitorChange::Down { reason });
    }

    pub(crate) fn monitor(&self, name: &str, subscriber: Subscriber<MonitorEvent>) -> u64 {
        let id = {
            let mut monitors = self.monitors.lock();
            let id = monitors.add(name, subscriber);
            if let Some(connection) = self.current() {
                // Asked again even if another monitor did: the answer is the first event of this one.
                send_name(&connection, FrameKind::Monitor, name);
            } else {
                let reason = DownReason::NodeLost(self.why_not_connected());
                let change = MonitorChange::Down { reason };
                self.outbox.append(monitors.events(&self.node, Some(name), &change));
            }
            id
        };
        self.outbox.deliver();
        id
    }

    pub(crate) fn demonitor(&self, id: u64) {
        let mut monitors = self.monitors.lock();
        let no_longer_monitored = monitors.remove(id);
        if let (Some(name), Some(connection)) = (no_longer_monitored, self.current()) {
            send_name(&connection, FrameKind::Demonitor, &name);
        }
    }

    pub(crate) fn status(&self) -> LinkStatus {
        let connection = self.current();
        let link = self.link.lock();
        let counters = &self.counters;
        let round_trip_us = counters.round_trip_us.get();
        let current_boot = connection.as_ref().map(|connection| connection.peer.boot);
        LinkStatus {
            node: self.node.to_string(),
            address: link.target.as_ref().map(|target| target.address.clone()).unwrap_or_default(),
            state: link.state,
            down_for: link.down_since.map(|since| since.elapsed()),
            bytes_queued: connection.as_ref().map_or(0, |connection| connection.queued_bytes()),
            peer: connection.map(|connection| connection.peer.clone()),
            bytes_in: counters.bytes_in.get(),
            bytes_out: counters.bytes_out.get(),
            reconnects: counters.ups.get().saturating_sub(1),
            round_trip: (round_trip_us > 0).then(|| Duration::from_micros(round_trip_us)),
            last_error: link.last_error.clone(),
            incompatible: link
                .incompatible
                .as_ref()
                .filter(|(boot, _)| current_boot == Some(*boot))
                .map(|(_, detail)| detail.clone()),
            control_dropped: counters.control_dropped.get(),
            casts_lost: counters.casts_lost.get(),
            casts_undelivered: counters.casts_undelivered.get(),
            malformed: counters.malformed.get(),
        }
    }

    /// What the last connection left open.
    pub(crate) fn last_gap(&self) -> Gap {
        *self.counters.last_gap.lock()
    }
}

fn send_name(connection: &Connection, kind: FrameKind, name: &str) {
    connection.send_system(frame::cold(kind, &Name { name: name.to_owned() }));
}
