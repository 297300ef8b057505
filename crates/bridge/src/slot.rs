//! A slot: what outlives the connections to one peer, and the Link actor too.
//!
//! Remote refs hold it and find the current wire through a watch cell (a read lock of nanoseconds, never across an
//! await), so a ref works on across reconnects and across restarts of Link and Bridge.

use crate::event::{DownReason, Gap, LinkState, LinkStatus, MonitorChange, MonitorEvent};
use crate::frame::{self, Down, Kind, Name};
use crate::lock::Lock;
use crate::outbox::{Outbox, Subscriber};
use crate::wire::{Loss, Wire};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Figures of a link over all its connections.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) bytes_in: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
    pub(crate) messages_in: AtomicU64,
    pub(crate) ups: AtomicU64,
    /// 0: not measured yet.
    pub(crate) round_trip_us: AtomicU64,
    pub(crate) control_dropped: AtomicU64,
    pub(crate) casts_lost: AtomicU64,
    pub(crate) casts_undelivered: AtomicU64,
    pub(crate) malformed: AtomicU64,
    pub(crate) unsupported: AtomicU64,
    pub(crate) last_loss: Lock<Loss>,
}

/// Where a peer is dialled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) address: String,
    /// Any node may answer there.
    pub(crate) any_node: bool,
}

pub(crate) struct Info {
    pub(crate) target: Option<Target>,
    pub(crate) state: LinkState,
    pub(crate) last_error: Option<String>,
    /// Casts turned away that no event has told yet, and when the last one did.
    pub(crate) undelivered: (u64, Option<Instant>),
}

struct Monitor {
    name: String,
    subscriber: Subscriber<MonitorEvent>,
    /// What it was last told.
    up: Option<bool>,
}

#[derive(Default)]
struct Monitors {
    next: u64,
    by_id: BTreeMap<u64, Monitor>,
}

pub(crate) struct Slot {
    pub(crate) node: Arc<str>,
    pub(crate) wire: watch::Sender<Option<Arc<Wire>>>,
    pub(crate) info: Lock<Info>,
    pub(crate) counters: Arc<Counters>,
    monitors: Lock<Monitors>,
    outbox: Outbox<MonitorEvent>,
}

impl Slot {
    pub(crate) fn new(node: &str) -> Arc<Self> {
        let info = Info { target: None, state: LinkState::Idle, last_error: None, undelivered: (0, None) };
        Arc::new(Self {
            node: node.into(),
            wire: watch::Sender::new(None),
            info: Lock::new(info),
            counters: Arc::default(),
            monitors: Lock::default(),
            outbox: Outbox::default(),
        })
    }

    /// The connection to send over, if the link is up.
    pub(crate) fn current(&self) -> Option<Arc<Wire>> {
        self.wire.borrow().clone()
    }

    pub(crate) fn why_not_connected(&self) -> String {
        let info = self.info.lock();
        match (&info.last_error, info.state) {
            (_, LinkState::Idle) => "the peer was not added to this bridge, or was removed".into(),
            (Some(error), _) => error.clone(),
            (None, LinkState::Connecting | LinkState::Backoff | LinkState::Up) => "still connecting".into(),
        }
    }

    /// Makes `wire` the current one and asks it about every monitored name.
    pub(crate) fn wire_up(&self, wire: &Arc<Wire>) {
        {
            let mut info = self.info.lock();
            info.state = LinkState::Up;
            info.last_error = None;
        }
        self.counters.ups.fetch_add(1, Ordering::Relaxed);
        let monitors = self.monitors.lock();
        self.wire.send_replace(Some(wire.clone()));
        let names: BTreeSet<_> = monitors.by_id.values().map(|monitor| monitor.name.as_str()).collect();
        for name in names {
            wire.send_system(frame::cold(Kind::Monitor, &Name { name: name.into() }));
        }
    }

    /// The end of `wire`: every monitored name of the node is down.
    pub(crate) fn wire_down(&self, wire: &Arc<Wire>, reason: &str) {
        {
            let mut monitors = self.monitors.lock();
            let was_current = self.wire.send_if_modified(|current| {
                let is_ours = current.as_ref().is_some_and(|current| Arc::ptr_eq(current, wire));
                if is_ours {
                    *current = None;
                }
                is_ours
            });
            if !was_current {
                return;
            }
            let mut info = self.info.lock();
            info.last_error = Some(reason.to_owned());
            info.state = if info.target.is_some() { LinkState::Backoff } else { LinkState::Idle };
            drop(info);
            let down = MonitorChange::Down { reason: DownReason::NodeLost(reason.to_owned()) };
            self.tell(&mut monitors, None, false, &down);
        }
        self.outbox.deliver();
    }

    /// Appends an event for each monitor of `name` (or all) that has not been told this yet.
    fn tell(&self, monitors: &mut Monitors, name: Option<&str>, up: bool, change: &MonitorChange) {
        let due = monitors
            .by_id
            .values_mut()
            .filter(|monitor| name.is_none_or(|name| monitor.name == name) && monitor.up != Some(up));
        self.outbox.append(due.map(|monitor| {
            monitor.up = Some(up);
            let (node, name) = (self.node.to_string(), monitor.name.clone());
            (monitor.subscriber.clone(), MonitorEvent { node, name, change: change.clone() })
        }));
    }

    /// Only the current wire speaks for the peer: a late frame of an older one must not.
    fn is_current(&self, wire: &Arc<Wire>) -> bool {
        self.wire.borrow().as_ref().is_some_and(|current| Arc::ptr_eq(current, wire))
    }

    pub(crate) fn remote_up(&self, wire: &Arc<Wire>, name: &str) {
        {
            let mut monitors = self.monitors.lock();
            if self.is_current(wire) {
                let (incarnation, boot) = (wire.peer.incarnation, wire.peer.boot);
                self.tell(&mut monitors, Some(name), true, &MonitorChange::Up { incarnation, boot });
            }
        }
        self.outbox.deliver();
    }

    pub(crate) fn remote_down(&self, wire: &Arc<Wire>, down: Down) {
        let reason = match down.reason.as_str() {
            "withdrawn" => DownReason::Withdrawn,
            "not_exposed" => DownReason::NotExposed,
            _ => DownReason::Died(down.detail),
        };
        {
            let mut monitors = self.monitors.lock();
            if self.is_current(wire) {
                self.tell(&mut monitors, Some(&down.name), false, &MonitorChange::Down { reason });
            }
        }
        self.outbox.deliver();
    }

    pub(crate) fn monitor(&self, name: &str, subscriber: Subscriber<MonitorEvent>) -> u64 {
        let id = {
            let mut monitors = self.monitors.lock();
            monitors.next += 1;
            let id = monitors.next;
            monitors.by_id.insert(id, Monitor { name: name.into(), subscriber, up: None });
            if let Some(wire) = self.current() {
                // Asked again even if another monitor did: the answer is the first event of this one.
                wire.send_system(frame::cold(Kind::Monitor, &Name { name: name.into() }));
            } else {
                let reason = DownReason::NodeLost(self.why_not_connected());
                self.tell(&mut monitors, Some(name), false, &MonitorChange::Down { reason });
            }
            id
        };
        self.outbox.deliver();
        id
    }

    pub(crate) fn demonitor(&self, id: u64) {
        let mut monitors = self.monitors.lock();
        let Some(Monitor { name, .. }) = monitors.by_id.remove(&id) else { return };
        let is_last = monitors.by_id.values().all(|monitor| monitor.name != name);
        if let Some(wire) = self.current().filter(|_| is_last) {
            wire.send_system(frame::cold(Kind::Demonitor, &Name { name }));
        }
    }

    pub(crate) fn status(&self) -> LinkStatus {
        let wire = self.current();
        let info = self.info.lock();
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.counters;
        let round_trip_us = read(&counters.round_trip_us);
        LinkStatus {
            node: self.node.to_string(),
            address: info.target.as_ref().map(|target| target.address.clone()).unwrap_or_default(),
            state: info.state,
            bytes_queued: wire.as_ref().map_or(0, |wire| wire.queued_bytes()),
            peer: wire.map(|wire| wire.peer.clone()),
            bytes_in: read(&counters.bytes_in),
            bytes_out: read(&counters.bytes_out),
            reconnects: read(&counters.ups).saturating_sub(1),
            round_trip: (round_trip_us > 0).then(|| Duration::from_micros(round_trip_us)),
            last_error: info.last_error.clone(),
            control_dropped: read(&counters.control_dropped),
            casts_lost: read(&counters.casts_lost),
            casts_undelivered: read(&counters.casts_undelivered),
            malformed: read(&counters.malformed),
        }
    }

    pub(crate) fn last_gap(&self) -> Gap {
        let Loss { casts_unsent, casts_unknown } = *self.counters.last_loss.lock();
        Gap { casts_unsent, casts_unknown }
    }
}
