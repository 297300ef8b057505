//! Node: the root supervisor of one process. Restarts the log store, the bridge and the groups by the rules of
//! `restarts.rs`.
//!
//! Owns its children. Hears the `Node` handle, the bridge (links that rise and fall) and its children's ends. Asks the
//! log store to open groups. Never touches Raft. A crash takes its children with it; the task above starts Node again,
//! and Node its children: what they need lives above it. Bound: one message per group opened, per link event and
//! per restart.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use quorate_bridge::{
    Bridge, BridgeHandle, LinkChange, LinkEvent, LinkRefusal, LinkState, RefusalCode, kill_below,
};
use quorate_core::{Incarnation, NodeId, PeerLink};
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::task::JoinHandle;

use crate::failure::NodeFailure;
use crate::group::actor::GroupActor;
use crate::group::state::GroupStart;
use crate::log_store::LogStore;
use crate::messages::group::GroupMessage;
use crate::messages::node::{ChildKind, NodeMessage};
use crate::node::joiner;
use crate::node::owner::Owner;
use crate::restarts::{BRIDGE, GROUP, JOINER, LOG_STORE, Restarts};
use crate::route::Route;
use crate::supervision::ended;

/// How long the end of a child's task is waited for before it is replaced.
const JOIN_MAX: Duration = Duration::from_secs(2);

struct Child {
    kind: ChildKind,
    cell: ActorCell,
    join: Option<JoinHandle<()>>,
}

pub(crate) struct NodeState {
    pub(super) owner: Arc<Owner>,
    children: Vec<Child>,
    restarts: BTreeMap<ChildKind, Restarts>,
}

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
        let mut state = NodeState { owner, children: Vec::new(), restarts: BTreeMap::new() };
        state.start_store(&me).await?;
        state.start_bridge(&me).await?;
        state.start_joiner(&me).await?;
        for start in state.owner.groups().into_values() {
            state.start_group_or_retry(&me, start).await;
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
            NodeMessage::Open(open) => state.open_group(&me, open),
            NodeMessage::Opened { open, result } => state.group_opened(&me, open, result).await,
            NodeMessage::Link(event) => state.link_changed(&event),
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
        let Some((who, reason)) = ended(event) else { return Ok(()) };
        let lost = state.children.iter().position(|child| child.cell.get_id() == who.get_id());
        if let Some(position) = lost {
            let child = state.children.swap_remove(position);
            state.child_lost(&me, child, &reason).await;
        }
        Ok(())
    }
}

impl NodeState {
    async fn start_store(&mut self, me: &ActorRef<NodeMessage>) -> Result<(), ractor::SpawnErr> {
        let owner = &self.owner;
        let (actor, join) =
            LogStore::spawn_linked(&owner.name_prefix, owner.store.clone(), me.get_cell()).await?;
        owner.store_route.send_replace(Some(actor.clone()));
        self.children.push(Child { kind: ChildKind::LogStore, cell: actor.get_cell(), join: Some(join) });
        for start in self.owner.groups().into_values() {
            start.cx.route.borrow().tell_group(GroupMessage::StoreBack);
        }
        Ok(())
    }

    async fn start_bridge(&mut self, me: &ActorRef<NodeMessage>) -> Result<(), quorate_bridge::StartError> {
        let Some(bridge) = self.owner.bridge.clone() else { return Ok(()) };
        if !self.owner.links_subscribed.swap(true, Ordering::Relaxed) {
            self.subscribe(&bridge);
        }
        // The previous actor, if any, belongs to another supervisor or has ended.
        let old = bridge.actor();
        kill_below(&old);
        let _ = old.kill_and_wait(Some(JOIN_MAX)).await;
        let actor = Bridge::respawn(&bridge, Some(me.get_cell())).await?;
        self.children.push(Child { kind: ChildKind::Bridge, cell: actor, join: None });
        Ok(())
    }

    async fn start_joiner(&mut self, me: &ActorRef<NodeMessage>) -> Result<(), ractor::SpawnErr> {
        let Some(joins) = self.owner.joins.clone() else { return Ok(()) };
        let (cell, join) = joiner::start(self.owner.clone(), joins, me.get_cell()).await?;
        self.children.push(Child { kind: ChildKind::Joiner, cell, join: Some(join) });
        Ok(())
    }

    /// Link events go to the Node that runs, as long as the bridge exists.
    fn subscribe(&self, bridge: &BridgeHandle) {
        let nodes = self.owner.actor.subscribe();
        bridge.on_link_event(move |event| {
            if let Some(node) = nodes.borrow().as_ref() {
                let _ = node.cast(NodeMessage::Link(event));
            }
        });
    }

    pub(super) async fn start_group_or_retry(&mut self, me: &ActorRef<NodeMessage>, start: GroupStart) {
        let name = start.cx.name.clone();
        if let Err(error) = self.start_group(me, start).await {
            tracing::error!(node = %self.owner.id, group = name, %error, "group did not start");
            self.restart_later(me, ChildKind::Group(name));
        }
    }

    async fn start_group(
        &mut self,
        me: &ActorRef<NodeMessage>,
        start: GroupStart,
    ) -> Result<(), ractor::SpawnErr> {
        let name = start.cx.name.clone();
        let actor_name = format!("{}/group/{name}", self.owner.name_prefix);
        let start = GroupStart { known: self.incarnations(), ..start };
        let (actor, join) = Actor::spawn_linked(Some(actor_name), GroupActor, start, me.get_cell()).await?;
        self.children.push(Child { kind: ChildKind::Group(name), cell: actor.get_cell(), join: Some(join) });
        Ok(())
    }

    /// This node's incarnation and those of the linked peers, which are durable on this node since their admission.
    fn incarnations(&self) -> Vec<(NodeId, Incarnation)> {
        let own = (self.owner.id.clone(), self.owner.store.identity().incarnation);
        let links = self.owner.bridge.as_ref().map(BridgeHandle::links).unwrap_or_default();
        let peers = links.into_iter().filter(|link| link.state == LinkState::Up).filter_map(|link| {
            let incarnation = Incarnation(link.peer?.incarnation);
            Some((NodeId::new(&link.node).ok()?, incarnation))
        });
        std::iter::once(own).chain(peers).collect()
    }

    fn link_changed(&self, event: &LinkEvent) {
        let Ok(peer) = NodeId::new(&event.node) else { return };
        let link = match &event.change {
            LinkChange::Up { .. } => PeerLink::Up,
            LinkChange::Down { by_peer: true, .. } => PeerLink::Closed,
            LinkChange::Down { by_peer: false, .. } => PeerLink::Down,
            LinkChange::Refused { refusal, reason } => {
                let (peer, detail) = (peer.to_string(), reason.clone());
                match refusal {
                    // What a peer knows under the name of a node that joined may be a disk that was lost, and the peer may not have heard
                    // yet that this one is in its place.
                    LinkRefusal::ByPeer(RefusalCode::WrongIncarnation) if self.owner.roster.has_joined() => {}
                    // The peer knows this node's name with another incarnation (`admission`).
                    LinkRefusal::ByPeer(RefusalCode::WrongIncarnation) => {
                        self.owner.fail(NodeFailure::Replaced { peer, detail });
                    }
                    // Two processes with one identity may vote for two candidates in one term.
                    LinkRefusal::ByPeer(RefusalCode::Twin) => {
                        self.owner.fail(NodeFailure::Twin { peer, detail });
                    }
                    // So may one that was started before another, from the same directory.
                    LinkRefusal::ByPeer(RefusalCode::StaleBoot) => {
                        self.owner.fail(NodeFailure::Outdated { peer, detail });
                    }
                    LinkRefusal::ByPeer(_) | LinkRefusal::ByUs(_) | LinkRefusal::Unreachable => {}
                }
                return;
            }
        };
        let incarnation = Incarnation(event.incarnation);
        for start in self.owner.groups().into_values() {
            let route = start.cx.route.borrow();
            if link == PeerLink::Up {
                route.tell_group(GroupMessage::PeerKnown { peer: peer.clone(), incarnation });
            }
            route.tell_group(GroupMessage::Link { peer: peer.clone(), link });
        }
    }

    async fn child_lost(&mut self, me: &ActorRef<NodeMessage>, child: Child, reason: &str) {
        if let Some(join) = child.join {
            // Its state may outlive the event that reports its end.
            let _ = tokio::time::timeout(JOIN_MAX, join).await;
        }
        tracing::warn!(node = %self.owner.id, child = %child.kind, reason, "restarting child");
        match &child.kind {
            ChildKind::LogStore => {
                self.owner.store_route.send_replace(None);
                for start in self.owner.groups().into_values() {
                    start.cx.route.borrow().tell_group(GroupMessage::StoreAway);
                }
            }
            ChildKind::Group(name) => {
                if let Some(start) = self.owner.groups().get(name) {
                    start.cx.route.send_modify(Route::clear);
                }
            }
            ChildKind::Bridge | ChildKind::Joiner => {}
        }
        self.restart_later(me, child.kind);
    }

    fn restart_later(&mut self, me: &ActorRef<NodeMessage>, kind: ChildKind) {
        if self.owner.store.has_failed() {
            // The disk failed, and the task above ends the node.
            return;
        }
        let rule = match &kind {
            ChildKind::LogStore => LOG_STORE,
            ChildKind::Bridge => BRIDGE,
            ChildKind::Joiner => JOINER,
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
            ChildKind::Joiner => self.start_joiner(me).await.map_err(|error| error.to_string()),
            ChildKind::Group(name) => match self.owner.groups().remove(name) {
                Some(start) => self.start_group(me, start).await.map_err(|error| error.to_string()),
                None => Ok(()),
            },
        };
        if let Err(error) = result {
            tracing::error!(node = %self.owner.id, child = %kind, error, "child did not start");
            self.restart_later(me, kind);
        }
    }
}
