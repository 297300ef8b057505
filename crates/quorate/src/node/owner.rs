//! What lives above the actors of a node and survives every one of them: the store and its thread, the bridge's tables,
//! the specification of each group.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use quorate_bridge::{BridgeHandle, Net};
use quorate_core::{Boot, Incarnation, Member, Membership, NodeId};
use quorate_store::StoreHandle;
use ractor::ActorRef;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::config::Config;
use crate::failure::NodeFailure;
use crate::group::state::GroupStart;
use crate::host::workers::Workers;
use crate::lock::lock;
use crate::messages::node::NodeRef;
use crate::messages::store::StoreMessage;
use crate::node::founding::{Cluster, Members};
use crate::node::spec::{Joins, NodeSpec};
use crate::roster::Roster;
use crate::route::Condition;
use crate::route_watch::RouteReceiver;

/// Owned above Node; used by Node's actor and by the task that owns it.
pub(crate) struct Owner {
    pub(crate) id: NodeId,
    pub(crate) name_prefix: String,
    pub(crate) config: Config,
    /// Where this node's API listens, for others; empty if it has none.
    pub(crate) api: String,
    pub(crate) net: Arc<dyn Net>,
    /// What a group begins with that is new to the cluster.
    pub(crate) founding: Membership,
    pub(crate) clock: Clock,
    pub(crate) boot: Boot,
    pub(crate) entropy: u64,
    pub(crate) workers: Workers,
    pub(crate) snapshot_workers: Workers,
    pub(crate) store: StoreHandle,
    pub(crate) store_route: watch::Sender<Option<ActorRef<StoreMessage>>>,
    pub(crate) bridge: Option<BridgeHandle>,
    pub(crate) roster: Arc<Roster>,
    /// Where to ask to be taken in, and as what; `None` if this node was not told to join.
    pub(crate) joins: Option<Joins>,
    /// The root supervisor; `None` while it is not running.
    pub(crate) actor: watch::Sender<Option<NodeRef>>,
    pub(crate) failure: watch::Sender<Option<NodeFailure>>,
    /// Whether Node's actor has subscribed to link events.
    pub(crate) links_subscribed: AtomicBool,
    /// Every open group. Written by Node's actor when it opens one; the lock is never held across an await.
    groups: Mutex<BTreeMap<String, GroupStart>>,
}

impl Owner {
    pub(super) fn new(
        spec: NodeSpec,
        cluster: &Cluster,
        name_prefix: String,
        (store, store_route): (StoreHandle, watch::Sender<Option<ActorRef<StoreMessage>>>),
        (bridge, roster): (Option<BridgeHandle>, Arc<Roster>),
        failure: watch::Sender<Option<NodeFailure>>,
    ) -> Self {
        Self {
            id: spec.id,
            name_prefix,
            config: spec.config,
            api: spec.api,
            net: spec.net,
            founding: new_group(&cluster.new_groups, spec.given.fingerprint),
            clock: Clock::start(spec.wall),
            boot: store.identity().boot,
            entropy: spec.entropy,
            workers: spec.workers,
            snapshot_workers: spec.snapshot_workers,
            store,
            store_route,
            bridge,
            roster,
            joins: spec.joins,
            actor: watch::channel(None).0,
            failure,
            links_subscribed: AtomicBool::new(false),
            groups: Mutex::new(BTreeMap::new()),
        }
    }

    pub(crate) fn groups(&self) -> BTreeMap<String, GroupStart> {
        lock(&self.groups).clone()
    }

    pub(crate) fn add_group(&self, start: GroupStart) {
        let mut groups = lock(&self.groups);
        groups.insert(start.cx.name.clone(), start);
    }

    pub(crate) fn routes(&self) -> Vec<(String, RouteReceiver)> {
        self.groups().into_iter().map(|(name, start)| (name, start.cx.routes())).collect()
    }

    /// Publishes why the node must stop. The first failure counts.
    pub(crate) fn fail(&self, failure: NodeFailure) {
        self.failure.send_if_modified(|known| {
            let first = known.is_none();
            if first {
                tracing::error!(node = %self.id, %failure, "stopping node");
                *known = Some(failure);
            }
            first
        });
    }

    /// Makes every handle refuse, with this reason.
    pub(crate) fn close_routes(&self, detail: &str) {
        for start in self.groups().into_values() {
            start.cx.route.send_modify(|route| {
                route.condition = Condition::Stopped(detail.to_owned());
                route.clear();
            });
        }
    }
}

/// The members as they are now, without incarnations: the leader of the group writes those into its membership.
fn new_group(members: &Members, fingerprint: u64) -> Membership {
    let nameless = |(id, member): (&NodeId, &Member)| {
        (id.clone(), Member { incarnation: Incarnation::default(), ..member.clone() })
    };
    Membership::of_voters(members.iter().map(nameless).collect(), fingerprint)
}
