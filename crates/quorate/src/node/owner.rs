//! What lives above the actors of a node and survives every one of them: the thread they run on, the store, the
//! bridge's tables, the specification of each group.
//!
//! One task runs it: opens, starts Node, starts Node again should it end by itself, and takes everything down in order
//! when told to or when the disk failed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quorate_bridge::{Bridge, BridgeHandle, BridgeOptions, Net, PeerAddress, PeerKind, kill_below};
use quorate_core::{Boot, Hash, Member, Membership, NodeId};
use ractor::{Actor, ActorRef};
use tokio::sync::{Semaphore, oneshot, watch};

use crate::clock::{Clock, WallClock};
use crate::config::Config;
use crate::error::NodeFailure;
use crate::group::{Condition, GroupMessage, GroupStart, HandleInner, RouteReceiver};
use crate::instance;
use crate::node::actor::{NodeActor, NodeMessage};
use crate::node::admission::Gate;
use crate::node::builder::StartError;
use crate::node::{Inner, Node, STOP_STEP};
use crate::restarts::{NODE, Restarts};
use crate::store::{
    Disk, LogStore, OpenNotice, Store, StoreFatal, StoreHandle, StoreMessage, StoreOptions, StoreThread,
};

/// How often the root supervisor is started, one try after the other, before the node gives up.
const NODE_STARTS_MAX: usize = 10;

/// Where the actors run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placement {
    /// On a current-thread runtime of the node's own.
    OwnThread,
    /// On the caller's.
    Caller,
}

/// How a node ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Graceful,
    Killed,
}

/// Checked settings.
pub(crate) struct Plan {
    pub(crate) id: NodeId,
    pub(crate) peers: BTreeMap<NodeId, Member>,
    pub(crate) founding: Membership,
    pub(crate) cluster: Hash,
    pub(crate) listen: Option<String>,
    pub(crate) api: String,
    pub(crate) config: Config,
    pub(crate) net: Arc<dyn Net>,
    pub(crate) entropy: u64,
    pub(crate) wall: Option<WallClock>,
    pub(crate) inline: bool,
}

/// Owned above Node; touched by Node's actor and by the task that owns it.
pub(crate) struct Owner {
    pub(crate) id: NodeId,
    pub(crate) name_prefix: String,
    pub(crate) config: Config,
    pub(crate) founding: Membership,
    pub(crate) clock: Clock,
    pub(crate) boot: Boot,
    pub(crate) entropy: u64,
    pub(crate) store: StoreHandle,
    pub(crate) store_route: watch::Sender<Option<ActorRef<StoreMessage>>>,
    pub(crate) bridge: Option<BridgeHandle>,
    pub(crate) actor: watch::Sender<Option<ActorRef<NodeMessage>>>,
    pub(crate) failure: watch::Sender<Option<NodeFailure>>,
    /// Whether link events reach Node already.
    pub(crate) links_subscribed: std::sync::atomic::AtomicBool,
    /// Every open group. Written by Node's actor when it opens one; held for a moment, never across an await.
    groups: Mutex<BTreeMap<String, GroupStart>>,
}

impl Owner {
    pub(crate) fn groups(&self) -> BTreeMap<String, GroupStart> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn add_group(&self, start: GroupStart) {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        groups.insert(start.cx.name.clone(), start);
    }

    pub(crate) fn routes(&self) -> Vec<(String, RouteReceiver)> {
        self.groups().into_iter().map(|(name, start)| (name, start.cx.routes())).collect()
    }

    pub(crate) fn handle_inner(&self, name: String, route: RouteReceiver) -> HandleInner {
        let live = self.config.live.clone();
        HandleInner {
            name,
            node: self.id.clone(),
            route,
            command_bytes_max: self.config.node.command_bytes_max,
            proposals: Arc::new(Semaphore::new(live.proposals_max)),
            queries: Arc::new(Semaphore::new(live.queries_max)),
            live,
            keep_alive: std::sync::OnceLock::new(),
        }
    }

    /// Makes the failure known, once.
    pub(crate) fn fail(&self, failure: NodeFailure) {
        self.failure.send_if_modified(|known| {
            let first = known.is_none();
            if first {
                tracing::error!(node = %self.id, %failure, "the node stops");
                *known = Some(failure);
            }
            first
        });
    }

    fn close_routes(&self, detail: &str) {
        for start in self.groups().into_values() {
            start.cx.route.send_modify(|route| {
                route.condition = Condition::Stopped(detail.to_owned());
                (route.group, route.role, route.applier) = (None, None, None);
                route.leader = crate::group::LeaderRoute::Nobody;
            });
        }
    }
}

/// Starts a node and returns once it listens.
pub(crate) async fn start(plan: Plan, disk: Box<dyn Disk>, placement: Placement) -> Result<Node, StartError> {
    let (started, outcome) = oneshot::channel();
    let (ending, ending_asked) = watch::channel(None);
    let (ended, ended_seen) = watch::channel(false);
    let id = plan.id.clone();
    let life = live(plan, disk, started, ending_asked, ended);
    match placement {
        Placement::OwnThread => {
            let failed = |source| StartError::Thread { node: id.clone(), source };
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
            let name = format!("{id}/node");
            let work = move || runtime.block_on(life);
            std::thread::Builder::new().name(name).spawn(work).map_err(failed)?;
        }
        Placement::Caller => spawn_owner(life),
    }
    let died =
        || StartError::Actor { actor: format!("node {id}"), detail: "its thread ended at the start".into() };
    let owner = outcome.await.map_err(|_| died())??;
    Ok(Node { inner: Arc::new(Inner { owner, ending, ended: ended_seen }) })
}

#[expect(clippy::disallowed_methods, reason = "the one task above a node's actors; it ends with the node")]
fn spawn_owner(life: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(life);
}

type Started = oneshot::Sender<Result<Arc<Owner>, StartError>>;

async fn live(
    plan: Plan,
    disk: Box<dyn Disk>,
    started: Started,
    mut ending: watch::Receiver<Option<Ending>>,
    ended: watch::Sender<bool>,
) {
    let owner = match open(plan, disk).await {
        Ok(owner) => owner,
        Err(error) => {
            let _ = started.send(Err(error));
            return;
        }
    };
    let first = spawn_node(&owner).await;
    let mut join = match first {
        Ok(join) => join,
        Err(error) => {
            take_down(&owner, Ending::Killed).await;
            let _ = started.send(Err(error));
            return;
        }
    };
    if started.send(Ok(owner.clone())).is_err() {
        take_down(&owner, Ending::Killed).await;
        return;
    }
    let (mut failure, mut restarts) = (owner.failure.subscribe(), Restarts::new(NODE));
    let how = loop {
        tokio::select! {
            biased;
            asked = ending.wait_for(Option::is_some) => {
                // Every clone of the node is gone: it ends in order all the same.
                break asked.ok().and_then(|asked| *asked).unwrap_or(Ending::Graceful);
            }
            failed = failure.wait_for(Option::is_some) => {
                drop(failed);
                break Ending::Killed;
            }
            _ = &mut join => {}
        }
        tracing::warn!(node = %owner.id, "the root supervisor restarts");
        match respawn_node(&owner, &mut restarts).await {
            Ok(next) => join = next,
            Err(error) => {
                owner.fail(NodeFailure::Actor { actor: "Node".into(), detail: error.to_string() });
                break Ending::Killed;
            }
        }
    };
    if how == Ending::Graceful {
        // A second order to end, at once this time, or a failed disk cuts it short.
        tokio::select! {
            biased;
            hurried = ending.wait_for(|asked| *asked == Some(Ending::Killed)) => drop(hurried),
            failed = failure.wait_for(Option::is_some) => drop(failed),
            () = part_in_order(&owner) => {}
        }
    }
    take_down(&owner, how).await;
    ended.send_replace(true);
}

#[expect(clippy::disallowed_methods, reason = "the pause before a restart, in the task above all actors")]
async fn pause(span: Duration) {
    tokio::time::sleep(span).await;
}

/// Again and again, with the pauses of the table: a child of the one before may still hold its name for a moment.
async fn respawn_node(
    owner: &Arc<Owner>,
    restarts: &mut Restarts,
) -> Result<tokio::task::JoinHandle<()>, StartError> {
    let mut last = None;
    for _ in 0..NODE_STARTS_MAX {
        pause(restarts.pause(owner.clock.now())).await;
        match spawn_node(owner).await {
            Ok(join) => return Ok(join),
            Err(error) => last = Some(error),
        }
    }
    Err(last.expect("it was tried"))
}

async fn spawn_node(owner: &Arc<Owner>) -> Result<tokio::task::JoinHandle<()>, StartError> {
    let name = format!("{}/node", owner.name_prefix);
    let failed =
        |error: ractor::SpawnErr| StartError::Actor { actor: name.clone(), detail: error.to_string() };
    let (actor, join) = Actor::spawn(Some(name.clone()), NodeActor, owner.clone()).await.map_err(failed)?;
    owner.actor.send_replace(Some(actor));
    Ok(join)
}

/// Opens the data, starts the store's thread and binds the bridge.
async fn open(plan: Plan, disk: Box<dyn Disk>) -> Result<Arc<Owner>, StartError> {
    let options = StoreOptions::new(plan.id.clone(), Some(plan.cluster), plan.entropy);
    let (store, report) = Store::open(disk, options)?;
    say(&plan.id, &report.notices);
    let (failure, _) = watch::channel(None);
    let fatal = {
        let (failure, id) = (failure.clone(), plan.id.clone());
        Arc::new(move |fatal: StoreFatal| {
            tracing::error!(node = %id, %fatal, "the log store failed");
            let _ = failure.send_if_modified(|known: &mut Option<NodeFailure>| {
                let first = known.is_none();
                known.get_or_insert(NodeFailure::Store { kind: fatal.kind(), detail: fatal.to_string() });
                first
            });
        })
    };
    let deadline = Duration::from_millis(plan.config.node.store_silence_ms_max);
    let store = if plan.inline {
        StoreThread::inline(store, deadline, fatal)
    } else {
        StoreThread::start(store, deadline, fatal)?
    };
    let identity = store.identity().clone();
    let name_prefix = instance::named(&plan.id);
    let (store_route, store_seen) = watch::channel(None);
    let bridge = match &plan.listen {
        Some(listen) => {
            let fingerprint = plan.config.cluster.fingerprint();
            let members = plan.peers.keys().cloned().collect();
            let gate = Gate::new(plan.id.clone(), fingerprint, members, store_seen);
            let options = BridgeOptions {
                name_prefix: name_prefix.clone(),
                identity: quorate_bridge::Identity {
                    kind: PeerKind::Peer,
                    cluster: identity.cluster.0,
                    node: plan.id.to_string(),
                    incarnation: identity.incarnation.0,
                    boot: identity.boot.0,
                    fingerprint,
                    api_address: plan.api.clone(),
                },
                listen: Some(listen.clone()),
                admission: Arc::new(gate),
                net: plan.net.clone(),
                seed: plan.entropy,
                ..BridgeOptions::new(String::new(), quorate_bridge::Identity::client())
            };
            // Its actor is replaced by a child of Node's at once; what stays is the listening socket and the tables.
            match Bridge::start(options, None).await {
                Ok(bridge) => Some(bridge),
                Err(error) => {
                    close_store(&store).await;
                    return Err(error.into());
                }
            }
        }
        None => None,
    };
    if let Some(bridge) = &bridge {
        for (peer, member) in &plan.peers {
            let known = bridge.add_peer(PeerAddress::new(peer.as_str(), member.raft.clone()));
            known.expect("node ids and addresses are shorter than the bridge's limits");
        }
    }
    Ok(Arc::new(Owner {
        id: plan.id,
        name_prefix,
        config: plan.config,
        founding: plan.founding,
        clock: Clock::start(plan.wall),
        boot: identity.boot,
        entropy: plan.entropy,
        store,
        store_route,
        bridge,
        actor: watch::channel(None).0,
        failure,
        links_subscribed: std::sync::atomic::AtomicBool::new(false),
        groups: Mutex::new(BTreeMap::new()),
    }))
}

fn say(node: &NodeId, notices: &[OpenNotice]) {
    for notice in notices {
        match notice {
            OpenNotice::TornTail(_) | OpenNotice::BallastDropped { .. } => {
                tracing::info!(%node, ?notice, "opened the store");
            }
            OpenNotice::ReadAgain { .. } => {
                tracing::warn!(%node, ?notice, "the store could be read at the second attempt only");
            }
            OpenNotice::BadSlot { .. } | OpenNotice::Lost { .. } | OpenNotice::SetAside { .. } => {
                tracing::error!(%node, ?notice, "the store was damaged");
            }
        }
    }
}

/// Leadership first, then callers: what the next leader commits is still answered here.
async fn part_in_order(owner: &Arc<Owner>) {
    hand_over(owner).await;
    answer_callers(owner, "stopped in order").await;
}

/// What is left of the order: routes, roles and appliers, connections, the disk. Never longer than a few steps.
async fn take_down(owner: &Arc<Owner>, how: Ending) {
    let detail = match (&*owner.failure.borrow(), how) {
        (Some(failure), _) => failure.to_string(),
        (None, Ending::Graceful) => "stopped in order".to_owned(),
        (None, Ending::Killed) => "killed".to_owned(),
    };
    owner.close_routes(&detail);
    let node = owner.actor.borrow().clone();
    if let Some(node) = node {
        // Its children go with it; nothing of theirs is needed any more, and a killed process gives no notice either.
        kill_below(&node.get_cell());
        let _ = node.get_cell().kill_and_wait(Some(STOP_STEP)).await;
    }
    owner.actor.send_replace(None);
    owner.close_routes(&detail);
    if let Some(bridge) = &owner.bridge {
        bridge.stop().await;
    }
    if let Some(store) = owner.store_route.send_replace(None) {
        let _ = store.get_cell().kill_and_wait(Some(STOP_STEP)).await;
    }
    close_store(&owner.store).await;
}

async fn close_store(store: &StoreHandle) {
    let store = store.clone();
    if tokio::runtime::Handle::current().runtime_flavor() == tokio::runtime::RuntimeFlavor::MultiThread {
        // On a caller's runtime others must go on.
        let _ = tokio::task::spawn_blocking(move || store.stop()).await;
    } else {
        store.stop();
    }
}

/// Every group this node leads is offered to another voter, all at once.
async fn hand_over(owner: &Arc<Owner>) {
    let deadline = tokio::time::Instant::now() + STOP_STEP;
    let alone = owner.founding.members.len() == 1;
    let mut waiting = Vec::new();
    for (_, route) in owner.routes() {
        let now = route.borrow().clone();
        let leads = matches!(now.leader, crate::group::LeaderRoute::Here(_));
        let group = now.group.filter(|_| leads && !alone);
        if group.is_some_and(|group| group.cast(GroupMessage::Transfer { to: None }).is_ok()) {
            waiting.push(route);
        }
    }
    let elsewhere =
        |route: &crate::group::Route| route.leader_id.as_ref().is_some_and(|leader| *leader != owner.id);
    for mut route in waiting {
        drop(tokio::time::timeout_at(deadline, route.wait_for(elsewhere)).await);
    }
}

/// Nothing new is taken, and what is under way gets its answer.
async fn answer_callers(owner: &Arc<Owner>, detail: &str) {
    let deadline = tokio::time::Instant::now() + STOP_STEP;
    let mut waiting = Vec::new();
    for (_, route) in owner.routes() {
        let Some(group) = route.borrow().group.clone() else { continue };
        let (reply, idle) = oneshot::channel();
        if group.cast(GroupMessage::Close { detail: detail.to_owned(), reply: reply.into() }).is_ok() {
            waiting.push(idle);
        }
    }
    for idle in waiting {
        drop(tokio::time::timeout_at(deadline, idle).await);
    }
}

/// Starts the log store's actor as a child of Node.
pub(crate) async fn spawn_store(
    owner: &Owner,
    node: &ActorRef<NodeMessage>,
) -> Result<tokio::task::JoinHandle<()>, ractor::SpawnErr> {
    let spawned = LogStore::spawn_linked(&owner.name_prefix, owner.store.clone(), node.get_cell()).await?;
    owner.store_route.send_replace(Some(spawned.0));
    Ok(spawned.1)
}
