//! The Bridge: supervisor of Listener, Sessions and Links.
//!
//! - Owns: its children. The tables they work with live above it (`tables.rs`).
//! - Hears: [`BridgeMessage`], the ends of its children, the ends of exposed actors (as a monitor).
//! - Asks: nothing.
//! - Never: reads or writes a socket, waits for a peer.
//! - A crash loses all connections of the node, and ractor kills the children with it. Its supervisor restarts it with
//!   `Bridge::respawn`; remote refs, monitors, exposures and peers stay.
//! - Bound: `Accepted` by `handshakes_max`, for an older one gives way, the others by what callers add and by restarts.

use super::children::Children;
use super::kill::kill_below;
use super::messages::{BridgeMessage, ChildKind, LinkMessage};
use super::tables::Tables;
use super::task_actor::{TaskActor, Work};
use super::{link, listener, session};
use crate::net::Stream;
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, ActorStatus, SpawnErr, SupervisionEvent};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

/// How long a child that ended may take to drop its state.
const JOIN_MS_MAX: u64 = 1_000;

pub(crate) struct BridgeActor;

pub(crate) struct State {
    tables: Arc<Tables>,
    children: Children,
}

impl BridgeActor {
    pub(crate) async fn spawn(
        tables: Arc<Tables>,
        supervisor: Option<ActorCell>,
    ) -> Result<ActorCell, SpawnErr> {
        let name = Some(tables.actor_name(&"bridge"));
        let (actor, _join) = match supervisor {
            Some(supervisor) => Actor::spawn_linked(name, BridgeActor, tables, supervisor).await?,
            None => Actor::spawn(name, BridgeActor, tables).await?,
        };
        Ok(actor.get_cell())
    }
}

impl Actor for BridgeActor {
    type Msg = BridgeMessage;
    type State = State;
    type Arguments = Arc<Tables>;

    async fn pre_start(
        &self,
        myself: ActorRef<BridgeMessage>,
        tables: Arc<Tables>,
    ) -> Result<State, ActorProcessingErr> {
        tables.bridge.set(myself);
        Ok(State { tables, children: Children::default() })
    }

    async fn post_start(
        &self,
        myself: ActorRef<BridgeMessage>,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        // Requests sent from here on are in the mailbox; older ones are in the tables.
        state.start(&myself, ChildKind::Listener).await?;
        for peer in state.tables.peers.all() {
            state.start(&myself, ChildKind::Link(peer.node.to_string())).await?;
        }
        for name in state.tables.exposures.table().keys() {
            state.monitor_exposed(&myself, name);
        }
        Ok(())
    }

    async fn handle(
        &self,
        myself: ActorRef<BridgeMessage>,
        message: BridgeMessage,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            BridgeMessage::PeerAdded { node } => {
                let kind = ChildKind::Link(node);
                match state.children.find(&kind) {
                    Some(child) => {
                        // If this Link has ended, its successor reads the address itself.
                        let _ = child.cell.send_message(LinkMessage::Redial);
                    }
                    None => state.start(&myself, kind).await?,
                }
            }
            BridgeMessage::PeerRemoved { node } => {
                let kind = ChildKind::Link(node);
                state.children.forget(&kind);
                if let Some(child) = state.children.find(&kind) {
                    child.cell.stop(Some("peer removed".into()));
                }
            }
            BridgeMessage::Exposed { name } => state.monitor_exposed(&myself, &name),
            BridgeMessage::Panic => {
                kill_below(&myself.get_cell());
                panic!("told to panic")
            }
            BridgeMessage::Withdrawn { actor } => myself.get_cell().unmonitor(actor),
            BridgeMessage::Accepted { stream, gives_way } => {
                state.start_session(&myself, stream, gives_way).await?;
            }
            BridgeMessage::PeerHeard { node } => {
                if let Some(child) = state.children.find(&ChildKind::Link(node)) {
                    // A successor dials when it starts.
                    let _ = child.cell.send_message(LinkMessage::Heard);
                }
            }
            BridgeMessage::Restart(kind) => {
                // A peer that was added again in between has its Link already.
                if state.children.find(&kind).is_none() {
                    state.start(&myself, kind).await?;
                }
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<BridgeMessage>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let (who, how) = match event {
            SupervisionEvent::ActorTerminated(who, _, reason) => {
                (who, reason.unwrap_or_else(|| "stopped".into()))
            }
            SupervisionEvent::ActorFailed(who, error) => (who, format!("failed: {error}")),
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => return Ok(()),
        };
        match state.children.by_id.remove(&who.get_id()) {
            Some(child) => {
                // Its state (a socket) may outlive the event: wait for it, at most this long.
                let _ = timeout(Duration::from_millis(JOIN_MS_MAX), child.join).await;
                state.child_ended(&myself, child.kind, &how);
            }
            None => state.tables.exposures.mark_actor_ended(who.get_id(), &how),
        }
        Ok(())
    }

    async fn post_stop(
        &self,
        _myself: ActorRef<BridgeMessage>,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        // In this order: first inbound connections end, then outbound ones. ractor would kill in the order of a map.
        let rank = |kind: &ChildKind| match kind {
            ChildKind::Listener => 0,
            ChildKind::Session => 1,
            ChildKind::Link(_) => 2,
        };
        let mut children: Vec<_> = std::mem::take(&mut state.children.by_id).into_values().collect();
        children.sort_by_key(|child| rank(&child.kind));
        for child in children {
            let limit = Duration::from_millis(JOIN_MS_MAX);
            let _ = child.cell.stop_and_wait(Some("the bridge stops".into()), Some(limit)).await;
        }
        Ok(())
    }
}

impl State {
    async fn start(
        &mut self,
        myself: &ActorRef<BridgeMessage>,
        kind: ChildKind,
    ) -> Result<(), ActorProcessingErr> {
        let tables = self.tables.clone();
        match &kind {
            ChildKind::Listener => {
                let Some(acceptor) = tables.acceptor.lock().clone() else { return Ok(()) };
                let max = tables.options.handshakes_max;
                let work: Work = Box::pin(listener::accept_loop(acceptor, max, myself.clone()));
                self.spawn(myself, kind, TaskActor, work).await
            }
            ChildKind::Link(node) => {
                let peer = tables.peers.get_or_insert(node);
                if peer.target().is_none() {
                    return Ok(());
                }
                let context = link::Context {
                    peer,
                    options: tables.options.clone(),
                    handshake: tables.handshake.clone(),
                    observers: tables.observers.clone(),
                };
                // Another one at each restart: a restarted Link does not repeat the pauses that led to its end.
                let seed = tables.options.seed.wrapping_add(tables.next_serial());
                self.spawn(myself, kind, link::Link, link::Arguments { context, seed }).await
            }
            // Started with its connection only.
            ChildKind::Session => Ok(()),
        }
    }

    async fn start_session(
        &mut self,
        myself: &ActorRef<BridgeMessage>,
        stream: Stream,
        gives_way: oneshot::Receiver<()>,
    ) -> Result<(), ActorProcessingErr> {
        let work: Work = Box::pin(session::run(session::Arguments {
            stream,
            gives_way,
            bridge: myself.clone(),
            options: self.tables.options.clone(),
            handshake: self.tables.handshake.clone(),
            inbound: self.tables.inbound.clone(),
            peers: self.tables.peers.clone(),
            exposures: self.tables.exposures.clone(),
        }));
        self.spawn(myself, ChildKind::Session, TaskActor, work).await
    }

    async fn spawn<A: Actor>(
        &mut self,
        myself: &ActorRef<BridgeMessage>,
        kind: ChildKind,
        actor: A,
        arguments: A::Arguments,
    ) -> Result<(), ActorProcessingErr> {
        if self.tables.is_stopping() {
            return Ok(());
        }
        let name = Some(self.tables.actor_name(&kind));
        let (actor, join) = Actor::spawn_linked(name, actor, arguments, myself.get_cell()).await?;
        self.children.add(kind, actor.get_cell(), join);
        Ok(())
    }

    fn child_ended(&mut self, myself: &ActorRef<BridgeMessage>, kind: ChildKind, how: &str) {
        let is_wanted = match &kind {
            ChildKind::Session => false,
            ChildKind::Listener => true,
            ChildKind::Link(node) => self.tables.peers.get(node).is_some_and(|peer| peer.target().is_some()),
        };
        if !is_wanted || self.tables.is_stopping() {
            tracing::debug!(child = %kind, how, "bridge child ended");
            return;
        }
        let options = &self.tables.options;
        let pause =
            self.children.pause(&kind, Instant::now(), options.restart_min_ms, options.restart_max_ms);
        let pause_ms = pause.as_millis() as u64;
        tracing::error!(child = %kind, how, pause_ms, "bridge child ended, restarting it");
        // The timer is not cancelled: a Restart of a child that runs already does nothing.
        drop(myself.send_after(pause, move || BridgeMessage::Restart(kind)));
    }

    /// Monitors the actor behind a name; one that has ended already is marked here.
    fn monitor_exposed(&mut self, myself: &ActorRef<BridgeMessage>, name: &str) {
        let Some(cell) = self.tables.exposures.actor(name) else { return };
        myself.get_cell().monitor(cell.clone());
        if matches!(cell.get_status(), ActorStatus::Stopping | ActorStatus::Stopped) {
            self.tables.exposures.mark_actor_ended(cell.get_id(), "stopped");
        }
    }
}
