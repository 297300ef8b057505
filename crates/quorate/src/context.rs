//! What the actors of one group share read-only: made by Node for each group it opens.

use std::collections::BTreeMap;
use std::sync::Arc;

use quorate_bridge::{BridgeHandle, Class, LinkState, RemoteRef};
use quorate_core::{Config as CoreConfig, GroupId, NodeId};
use quorate_store::{Snapshots, StoreHandle};
use ractor::ActorRef;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::config::NodeConfig;
use crate::host::workers::Workers;
use crate::messages::store::StoreMessage;
use crate::protocol::{GroupProtocol, LEVEL, exposed_name};
use crate::recovering::RecoveringPeers;
use crate::replay::ReplayMark;
use crate::roster::Roster;
use crate::route_watch::{RouteReceiver, RouteSender};
use crate::snapshotter::gauge::SnapshotGauge;

/// The address of the log store's actor; `None` while it is restarted.
pub(crate) type StoreRoute = watch::Receiver<Option<ActorRef<StoreMessage>>>;

pub(crate) struct GroupContext {
    pub(crate) id: GroupId,
    pub(crate) name: String,
    pub(crate) node: NodeId,
    /// Before every actor name: ractor's registry is one per process, and tests run many nodes in one.
    pub(crate) name_prefix: String,
    pub(crate) clock: Clock,
    pub(crate) core: CoreConfig,
    pub(crate) store: StoreRoute,
    /// Asked only how full the disk is.
    pub(crate) disk: StoreHandle,
    /// Where the applier runs.
    pub(crate) workers: Workers,
    pub(crate) snapshot: SnapshotContext,
    /// Who the node's peers are.
    pub(crate) roster: Arc<Roster>,
    /// `None` on a node without peers.
    pub(crate) bridge: Option<BridgeHandle>,
    /// How far the machine must have come before it answers stale queries.
    pub(crate) replay: Arc<ReplayMark>,
    /// Peers that say that they recover.
    pub(crate) recovering: RecoveringPeers,
    /// Written by the group's actor alone.
    pub(crate) route: RouteSender,
}

/// What snapshots of a group are taken with.
pub(crate) struct SnapshotContext {
    pub(crate) files: Snapshots,
    /// Threads that may block, beside the appliers'.
    pub(crate) workers: Workers,
    pub(crate) gauge: SnapshotGauge,
    /// One is due after so many bytes of entries, or as many as the last one has if that is more. Zero: never.
    pub(crate) every_bytes: u64,
    /// Or after so many entries. Zero: never.
    pub(crate) every_entries: u64,
    /// What a fetch may take of the link.
    pub(crate) bytes_per_s_max: u64,
}

impl SnapshotContext {
    /// Whether snapshots are taken by themselves.
    pub(crate) fn is_on(&self) -> bool {
        self.every_bytes > 0 || self.every_entries > 0
    }

    pub(crate) fn new(disk: &StoreHandle, workers: Workers, config: &NodeConfig) -> Self {
        Self {
            files: disk.snapshots(),
            workers,
            gauge: SnapshotGauge::default(),
            every_bytes: config.snapshot_log_bytes,
            every_entries: config.snapshot_log_entries,
            bytes_per_s_max: config.snapshot_fetch_bytes_per_s,
        }
    }
}

impl GroupContext {
    /// The log store's actor, unless it is being restarted. A request that is not sent then is not lost: roles resend what
    /// was not completed once the store is back, and Group repeats its load.
    pub(crate) fn store(&self) -> Option<ActorRef<StoreMessage>> {
        self.store.borrow().clone()
    }

    pub(crate) fn remote(&self, peer: &NodeId) -> Option<RemoteRef<GroupProtocol>> {
        self.bridge.as_ref()?.remote(peer.as_str(), &exposed_name(self.id)).ok()
    }

    /// Whether there is a link to this peer.
    pub(crate) fn link_is_up(&self, peer: &NodeId) -> bool {
        let link = self.bridge.as_ref().and_then(|bridge| bridge.link(peer.as_str()));
        link.is_some_and(|link| link.state == LinkState::Up)
    }

    /// Whether this peer is connected and runs a build that follows a change of the members without ending it.
    pub(crate) fn is_of_old_build(&self, peer: &NodeId) -> bool {
        let link = self.bridge.as_ref().and_then(|bridge| bridge.link(peer.as_str()));
        link.and_then(|link| link.peer).is_some_and(|peer| peer.level < LEVEL)
    }

    pub(crate) fn routes(&self) -> RouteReceiver {
        self.route.subscribe()
    }
}

/// The remote groups a role talks to, looked up once each. What a role itself says is short (votes, answers, orders to
/// campaign), and travels ahead of the entries that replicators send: behind megabytes it would come too late.
#[derive(Default)]
pub(crate) struct Remotes {
    known: BTreeMap<NodeId, RemoteRef<GroupProtocol>>,
}

impl Remotes {
    pub(crate) fn get(&mut self, cx: &GroupContext, peer: &NodeId) -> Option<&RemoteRef<GroupProtocol>> {
        if !self.known.contains_key(peer) {
            self.known.insert(peer.clone(), cx.remote(peer)?.with_class(Class::Control));
        }
        self.known.get(peer)
    }
}
