//! Node: the root supervisor of one process. Restarts the log store, the bridge and the groups by the rules of
//! `restarts.rs`.
//!
//! Owns its children. Hears the `Node` handle, the bridge (links that rise and fall) and its children's ends. Asks the
//! log store to open groups. Never touches Raft. A crash takes its children with it; the task above it starts it again
//! and it starts them again: what they need lives above it. Bound: one message per group opened, per link event and
//! per restart.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use quorate_bridge::{
    Bridge, Exposed, LinkChange, LinkEvent, LinkRefusal, LinkState, RefusalCode, kill_below,
};
use quorate_core::{GroupId, Incarnation, NodeId};
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::applier::{ApplierFactory, MachineFactory};
use crate::error::{GroupError, NodeFailure};
use crate::group::{GroupActor, GroupMessage, GroupStart, RouteReceiver, RouteSender, deliver};
use crate::machine::{SnapshotZero, StateMachine};
use crate::messages::store::answer;
use crate::node::owner::{Owner, spawn_store};
use crate::restarts::{BRIDGE, GROUP, LOG_STORE, Restarts};
use crate::role::GroupContext;
use crate::store::{GroupError as StoreGroupError, StoreRequest};
use crate::supervision::ended;
use crate::wire::{GroupProtocol, exposed_name};

/// How long the end of a child's task is waited for before it is replaced.
const JOIN_MAX: Duration = Duration::from_secs(2);

/// A group to be opened.
pub(crate) struct OpenGroup {
    name: String,
    machine: Arc<dyn ApplierFactory>,
    reply: oneshot::Sender<Result<RouteReceiver, GroupError>>,
}

impl OpenGroup {
    pub(crate) fn new<M: StateMachine>(
        name: &str,
        zero: SnapshotZero,
        reply: oneshot::Sender<Result<RouteReceiver, GroupError>>,
    ) -> Self {
        Self { name: name.to_owned(), machine: Arc::new(MachineFactory::<M>::new(zero)), reply }
    }
}

/// What Node hears.
pub(crate) enum NodeMessage {
    /// From the handle: open this group.
    Open(OpenGroup),
    /// From the log store: the group has its record.
    Opened { open: OpenGroup, result: Result<GroupId, StoreGroupError> },
    /// From the bridge: a link rose, fell or was refused.
    Link(LinkEvent),
    /// From its own timer: start this child again.
    Restart(ChildKind),
    /// From tests and `quorate actors stop --panic`: panic, as a bug would.
    Panic,
}

/// Node's children.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ChildKind {
    LogStore,
    Bridge,
    Group(String),
}

struct Child {
    kind: ChildKind,
    cell: ActorCell,
    join: Option<JoinHandle<()>>,
}

pub(crate) struct NodeState {
    owner: Arc<Owner>,
    children: Vec<Child>,
    restarts: std::collections::BTreeMap<ChildKind, Restarts>,
}

/// The node's actor.
pub(crate) struct NodeActor;

impl Actor for NodeActor {
    type Msg = NodeMessage;
    type State = NodeState;
    type Arguments = Arc<Owner>;

    async fn pre_start(
        &self,
        me: ActorRef<NodeMessage>,
        owner: Arc<Owner>,
    ) -> Result<NodeState, ActorProcessingErr> {
        let mut state =
            NodeState { owner, children: Vec::new(), restarts: std::collections::BTreeMap::new() };
        state.start_store(&me).await?;
        state.start_bridge(&me).await?;
        for start in state.owner.groups().into_values() {
            let name = start.cx.name.clone();
            if let Err(error) = state.start_group(&me, start).await {
                tracing::error!(node = %state.owner.id, group = name, %error, "group did not start");
                state.later(&me, ChildKind::Group(name));
            }
        }
        Ok(state)
    }

    async fn handle(
        &self,
        me: ActorRef<NodeMessage>,
        message: NodeMessage,
        state: &mut NodeState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            NodeMessage::Open(open) => state.open(&me, open),
            NodeMessage::Opened { open, result } => state.opened(&me, open, result).await,
            NodeMessage::Link(event) => state.link(&event),
            NodeMessage::Restart(kind) => {
                if !state.children.iter().any(|child| child.kind == kind) {
                    state.restart(&me, kind).await;
                }
            }
            NodeMessage::Panic => {
                kill_below(&me.get_cell());
                panic!("told to panic")
            }
        }
        Ok(())
    }

    async fn post_stop(
        &self,
        me: ActorRef<NodeMessage>,
        _: &mut NodeState,
    ) -> Result<(), ActorProcessingErr> {
        kill_below(&me.get_cell());
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        me: ActorRef<NodeMessage>,
        event: SupervisionEvent,
        state: &mut NodeState,
    ) -> Result<(), ActorProcessingErr> {
        let Some((who, why)) = ended(event) else { return Ok(()) };
        let Some(at) = state.children.iter().position(|child| child.cell.get_id() == who.get_id()) else {
            return Ok(());
        };
        let child = state.children.swap_remove(at);
        state.lost(&me, child, &why).await;
        Ok(())
    }
}

impl NodeState {
    async fn start_store(&mut self, me: &ActorRef<NodeMessage>) -> Result<(), ractor::SpawnErr> {
        let join = spawn_store(&self.owner, me).await?;
        let actor = self.owner.store_route.borrow().clone().expect("just set");
        self.children.push(Child { kind: ChildKind::LogStore, cell: actor.get_cell(), join: Some(join) });
        for start in self.owner.groups().into_values() {
            tell_group(&start.cx.route, GroupMessage::StoreBack);
        }
        Ok(())
    }

    async fn start_bridge(&mut self, me: &ActorRef<NodeMessage>) -> Result<(), quorate_bridge::StartError> {
        let Some(bridge) = self.owner.bridge.clone() else { return Ok(()) };
        if !self.subscribed() {
            self.subscribe(&bridge);
        }
        // The one before, if any, is of another supervisor or has ended.
        let old = bridge.actor();
        kill_below(&old);
        let _ = old.kill_and_wait(Some(JOIN_MAX)).await;
        let actor = Bridge::respawn(&bridge, Some(me.get_cell())).await?;
        self.children.push(Child { kind: ChildKind::Bridge, cell: actor, join: None });
        Ok(())
    }

    /// Links are reported for the life of the bridge, to whichever Node runs.
    fn subscribed(&self) -> bool {
        self.owner.links_subscribed.swap(true, std::sync::atomic::Ordering::Relaxed)
    }

    fn subscribe(&self, bridge: &quorate_bridge::BridgeHandle) {
        let nodes = self.owner.actor.subscribe();
        bridge.on_link_event(move |event| {
            if let Some(node) = nodes.borrow().as_ref() {
                let _ = node.cast(NodeMessage::Link(event));
            }
        });
    }

    async fn start_group(
        &mut self,
        me: &ActorRef<NodeMessage>,
        start: GroupStart,
    ) -> Result<(), ractor::SpawnErr> {
        let name = start.cx.name.clone();
        let actor_name = format!("{}/group/{name}", self.owner.name_prefix);
        let start = GroupStart { known: self.known(), ..start };
        let (actor, join) = Actor::spawn_linked(Some(actor_name), GroupActor, start, me.get_cell()).await?;
        self.children.push(Child { kind: ChildKind::Group(name), cell: actor.get_cell(), join: Some(join) });
        Ok(())
    }

    /// This node's incarnation and those of the peers that are linked: durable here since they were admitted.
    fn known(&self) -> Vec<(NodeId, Incarnation)> {
        let own = (self.owner.id.clone(), self.owner.store.identity().incarnation);
        let links = self.owner.bridge.as_ref().map(quorate_bridge::BridgeHandle::links).unwrap_or_default();
        let peers = links.into_iter().filter(|link| link.state == LinkState::Up).filter_map(|link| {
            let incarnation = Incarnation(link.peer?.incarnation);
            Some((NodeId::new(&link.node).ok()?, incarnation))
        });
        std::iter::once(own).chain(peers).collect()
    }

    fn open(&mut self, me: &ActorRef<NodeMessage>, open: OpenGroup) {
        let name = open.name.clone();
        if self.owner.groups().contains_key(&name) {
            // The caller may be gone; then nobody wants to know.
            let _ = open.reply.send(Err(GroupError::AlreadyOpen { name }));
            return;
        }
        let Some(store) = self.owner.store_route.borrow().clone() else {
            let detail = "the log store is being restarted; try again".to_owned();
            let _ = open.reply.send(Err(GroupError::Store { name, detail }));
            return;
        };
        let founding = self.owner.founding.clone();
        let ask = move |reply| StoreRequest::OpenGroup { name, founding, reply: answer(reply) }.into();
        drop(store.call_and_forward(ask, me, move |result| NodeMessage::Opened { open, result }, None));
    }

    async fn opened(
        &mut self,
        me: &ActorRef<NodeMessage>,
        open: OpenGroup,
        result: Result<GroupId, StoreGroupError>,
    ) {
        let OpenGroup { name, machine, reply } = open;
        let id = match result {
            Ok(id) => id,
            Err(error) => {
                let _ = reply.send(Err(GroupError::Store { name, detail: error.to_string() }));
                return;
            }
        };
        if self.owner.groups().contains_key(&name) {
            let _ = reply.send(Err(GroupError::AlreadyOpen { name }));
            return;
        }
        let route = RouteSender::new();
        let seen = route.subscribe();
        let cx = Arc::new(GroupContext {
            id,
            name: name.clone(),
            node: self.owner.id.clone(),
            name_prefix: self.owner.name_prefix.clone(),
            clock: self.owner.clock.clone(),
            core: self.owner.config.core(),
            store: self.owner.store_route.subscribe(),
            bridge: self.owner.bridge.clone(),
            route,
        });
        let start = GroupStart {
            cx,
            boot: self.owner.boot,
            epoch: Arc::new(AtomicU64::new(0)),
            entropy: self.owner.entropy ^ id.0,
            machine,
            machine_restarts_max: self.owner.config.node.machine_restarts_max,
            known: Vec::new(),
        };
        self.owner.add_group(start.clone());
        if let Some(bridge) = &self.owner.bridge {
            let route = seen.clone();
            let sink = Exposed::sink::<GroupProtocol>(move |batch| {
                let route = route.borrow().clone();
                deliver(&route, batch);
                Ok(())
            });
            bridge.expose(&exposed_name(id), sink).expect("the name of a group's number is short");
        }
        if let Err(error) = self.start_group(me, start).await {
            tracing::error!(node = %self.owner.id, group = name, %error, "group did not start");
            self.later(me, ChildKind::Group(name));
        }
        let _ = reply.send(Ok(seen));
    }

    fn link(&self, event: &LinkEvent) {
        let Ok(peer) = NodeId::new(&event.node) else { return };
        let up = match &event.change {
            LinkChange::Up { .. } => true,
            LinkChange::Down { .. } => false,
            LinkChange::Refused { refusal, reason } => {
                // The peer knows this node's name with another incarnation (admission.rs).
                if *refusal == LinkRefusal::ByPeer(RefusalCode::WrongIncarnation) {
                    self.owner.fail(NodeFailure::Replaced { peer: peer.to_string(), detail: reason.clone() });
                }
                return;
            }
        };
        let incarnation = Incarnation(event.incarnation);
        for start in self.owner.groups().into_values() {
            if up {
                tell_group(&start.cx.route, GroupMessage::PeerKnown { peer: peer.clone(), incarnation });
            }
            tell_group(&start.cx.route, GroupMessage::Link { peer: peer.clone(), up });
        }
    }

    async fn lost(&mut self, me: &ActorRef<NodeMessage>, child: Child, why: &str) {
        if let Some(join) = child.join {
            // Its state may outlive the event that reports its end.
            let _ = tokio::time::timeout(JOIN_MAX, join).await;
        }
        tracing::warn!(node = %self.owner.id, child = ?child.kind, why, "child restarts");
        match &child.kind {
            ChildKind::LogStore => {
                self.owner.store_route.send_replace(None);
                for start in self.owner.groups().into_values() {
                    tell_group(&start.cx.route, GroupMessage::StoreAway);
                }
            }
            ChildKind::Group(name) => {
                if let Some(start) = self.owner.groups().get(name) {
                    // Nobody can be reached along it until the group publishes again.
                    start.cx.route.send_modify(|route| {
                        (route.group, route.role, route.applier) = (None, None, None);
                        route.leader = crate::group::LeaderRoute::Nobody;
                    });
                }
            }
            ChildKind::Bridge => {}
        }
        self.later(me, child.kind);
    }

    fn later(&mut self, me: &ActorRef<NodeMessage>, kind: ChildKind) {
        if self.owner.store.has_failed() {
            // The disk is gone: the task above ends the node.
            return;
        }
        let rule = match &kind {
            ChildKind::LogStore => LOG_STORE,
            ChildKind::Bridge => BRIDGE,
            ChildKind::Group(_) => GROUP,
        };
        let restarts = self.restarts.entry(kind.clone()).or_insert_with(|| Restarts::new(rule));
        let pause = restarts.pause(self.owner.clock.now());
        drop(me.send_after(pause, move || NodeMessage::Restart(kind)));
    }

    async fn restart(&mut self, me: &ActorRef<NodeMessage>, kind: ChildKind) {
        let result = match &kind {
            ChildKind::LogStore => self.start_store(me).await.map_err(|error| error.to_string()),
            ChildKind::Bridge => self.start_bridge(me).await.map_err(|error| error.to_string()),
            ChildKind::Group(name) => match self.owner.groups().remove(name) {
                Some(start) => self.start_group(me, start).await.map_err(|error| error.to_string()),
                None => Ok(()),
            },
        };
        if let Err(error) = result {
            tracing::error!(node = %self.owner.id, child = ?kind, error, "child did not start");
            self.later(me, kind);
        }
    }
}

/// One that is being restarted learns it when it starts.
fn tell_group(route: &crate::group::RouteSender, message: GroupMessage) {
    let group = route.borrow().group.clone();
    let _ = group.map(|group| group.cast(message));
}
