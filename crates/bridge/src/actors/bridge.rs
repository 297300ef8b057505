//! The Bridge: supervisor of Listener, Sessions and Links.
//!
//! - Owns: its children. The tables they work on live above it (`Core`).
//! - Hears: [`BridgeMessage`], the ends of its children, the ends of exposed actors (as a monitor).
//! - Asks: nobody.
//! - Never: reads or writes a socket, waits for a peer.
//! - A crash loses all connections of the node; its supervisor starts it again with [`Bridge::respawn`], remote refs,
//!   monitors, exposures and peers stay. ractor kills the children with it.
//! - Bound: `Accepted` is bounded by the session permit inside, the others by what the caller adds and by restarts.

use super::children::{Children, Role};
use super::{link, listener, session};
use crate::core::Core;
use crate::error::StartError;
use crate::handle::BridgeHandle;
use crate::net::Connection;
use crate::options::BridgeOptions;
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, ActorStatus, SupervisionEvent};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout};

/// How long a child that ended may take to let go of its state.
const JOIN_MS_MAX: u64 = 1_000;

/// The supervisor actor of a bridge: its children are the Listener, a Session per inbound connection and a Link per
/// peer. Its crash loses the node's connections and nothing else: its supervisor calls [`Bridge::respawn`], and remote
/// refs, monitors, exposures and peers live on. Started by [`Bridge::start`].
pub struct Bridge;

/// What a Bridge actor is spawned with: the tables owned above it. Got from [`BridgeHandle::arguments`].
#[derive(Clone)]
pub struct BridgeArguments {
    pub(crate) core: Arc<Core>,
}

/// What the Bridge hears. Closed; all are sent from inside this crate.
#[non_exhaustive]
pub enum BridgeMessage {
    /// From `add_peer`: there shall be a Link to this node, to its address of now.
    #[non_exhaustive]
    PeerAdded {
        /// The node.
        node: String,
    },
    /// From `remove_peer`: there shall be none.
    #[non_exhaustive]
    PeerRemoved {
        /// The node.
        node: String,
    },
    /// From `expose`: watch the actor behind this name.
    #[non_exhaustive]
    Exposed {
        /// The name.
        name: String,
    },
    /// From `withdraw`: no longer watch this actor.
    #[non_exhaustive]
    Withdrawn {
        /// The actor.
        actor: ActorCell,
    },
    /// From the Listener: a connection to serve, with its place among `sessions_max`.
    #[non_exhaustive]
    Accepted(Inlet),
    /// From itself: the pause before a restart is over.
    #[non_exhaustive]
    Restart(Revival),
    /// From [`panic_in`](super::panic_in): panic, as a bug would.
    #[non_exhaustive]
    Panic,
}

/// An accepted connection on its way to its Session.
pub struct Inlet {
    pub(crate) connection: Connection,
    pub(crate) permit: OwnedSemaphorePermit,
}

/// A child due to be started again.
pub struct Revival {
    role: Role,
}

/// State of the Bridge actor.
pub struct BridgeState {
    core: Arc<Core>,
    children: Children,
}

impl Bridge {
    /// Checks the options, binds the listening address and spawns the Bridge actor, supervised if a supervisor is
    /// given. Call it on the runtime the bridge shall run on.
    pub async fn start(
        options: BridgeOptions,
        supervisor: Option<ActorCell>,
    ) -> Result<BridgeHandle, StartError> {
        Self::boxed(options, supervisor).await
    }

    /// In a box, so that it is compiled with this crate and not where it is awaited.
    fn boxed(
        options: BridgeOptions,
        supervisor: Option<ActorCell>,
    ) -> Pin<Box<dyn Future<Output = Result<BridgeHandle, StartError>> + Send>> {
        Box::pin(Self::checked(options, supervisor))
    }

    async fn checked(
        options: BridgeOptions,
        supervisor: Option<ActorCell>,
    ) -> Result<BridgeHandle, StartError> {
        options.validate()?;
        let (mut acceptor, mut local_addr) = (None, None);
        if let Some(address) = &options.listen {
            let failed = |source| StartError::Listen { address: address.clone(), source };
            let bound = options.net.bind(address).await.map_err(failed)?;
            local_addr = Some(bound.local_addr().map_err(failed)?);
            acceptor = Some(Arc::from(bound));
        }
        let handle = BridgeHandle { core: Arc::new(Core::new(options, acceptor, local_addr)) };
        Self::respawn(&handle, supervisor).await?;
        Ok(handle)
    }

    /// Spawns a Bridge actor over the tables of `handle`, after the one before has ended. For its supervisor.
    pub async fn respawn(
        handle: &BridgeHandle,
        supervisor: Option<ActorCell>,
    ) -> Result<ActorRef<BridgeMessage>, StartError> {
        let arguments = handle.arguments();
        let name = Some(arguments.core.actor_name("bridge"));
        let spawned = match supervisor {
            Some(supervisor) => Actor::spawn_linked(name, Bridge, arguments, supervisor).await,
            None => Actor::spawn(name, Bridge, arguments).await,
        };
        let prefix = || handle.core.options.name_prefix.clone();
        let (actor, _join) = spawned.map_err(|source| StartError::Spawn { prefix: prefix(), source })?;
        Ok(actor)
    }
}

impl Actor for Bridge {
    type Msg = BridgeMessage;
    type State = BridgeState;
    type Arguments = BridgeArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<BridgeMessage>,
        arguments: BridgeArguments,
    ) -> Result<BridgeState, ActorProcessingErr> {
        let core = arguments.core;
        core.actor.send_replace(Some(myself));
        Ok(BridgeState { core, children: Children::default() })
    }

    async fn post_start(
        &self,
        myself: ActorRef<BridgeMessage>,
        state: &mut BridgeState,
    ) -> Result<(), ActorProcessingErr> {
        // Requests sent from here on are in the mailbox; older ones are in the tables.
        state.start(&myself, Role::Listener).await?;
        let peers: Vec<String> = state.core.slots.lock().keys().cloned().collect();
        for node in peers {
            state.start(&myself, Role::Link(node)).await?;
        }
        let names: Vec<_> = state.core.exposures.borrow().keys().cloned().collect();
        for name in names {
            state.watch(&myself, &name);
        }
        Ok(())
    }

    async fn handle(
        &self,
        myself: ActorRef<BridgeMessage>,
        message: BridgeMessage,
        state: &mut BridgeState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            BridgeMessage::PeerAdded { node } => {
                let role = Role::Link(node);
                match state.children.find(&role) {
                    Some(child) => {
                        // A dead child's successor reads the address itself.
                        let _ = child.cell.send_message(link::LinkMessage::Redial);
                    }
                    None => state.start(&myself, role).await?,
                }
            }
            BridgeMessage::PeerRemoved { node } => {
                let role = Role::Link(node);
                state.children.forget(&role);
                if let Some(child) = state.children.find(&role) {
                    child.cell.stop(Some("peer removed".into()));
                }
            }
            BridgeMessage::Exposed { name } => state.watch(&myself, &name),
            BridgeMessage::Panic => {
                super::kill_below(&myself.get_cell());
                panic!("told to panic")
            }
            BridgeMessage::Withdrawn { actor } => myself.get_cell().unmonitor(actor),
            BridgeMessage::Accepted(inlet) => state.start_session(&myself, inlet).await?,
            BridgeMessage::Restart(revival) => {
                // A peer added again meanwhile has its Link already.
                if state.children.find(&revival.role).is_none() {
                    state.start(&myself, revival.role).await?;
                }
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<BridgeMessage>,
        event: SupervisionEvent,
        state: &mut BridgeState,
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
                // Its state (a socket) may outlive the event; a stuck one is left behind after a while.
                let _ = timeout(Duration::from_millis(JOIN_MS_MAX), child.join).await;
                state.child_ended(&myself, child.role, &how);
            }
            None => state.core.actor_gone(who.get_id(), &how),
        }
        Ok(())
    }

    async fn post_stop(
        &self,
        _myself: ActorRef<BridgeMessage>,
        state: &mut BridgeState,
    ) -> Result<(), ActorProcessingErr> {
        // In our order: first nothing new comes in, then nothing goes out. ractor would kill in map order.
        let rank = |role: &Role| match role {
            Role::Listener => 0,
            Role::Session => 1,
            Role::Link(_) => 2,
        };
        let mut children: Vec<_> = std::mem::take(&mut state.children.by_id).into_values().collect();
        children.sort_by_key(|child| rank(&child.role));
        for child in children {
            let limit = Duration::from_millis(JOIN_MS_MAX);
            let _ = child.cell.stop_and_wait(Some("the bridge stops".into()), Some(limit)).await;
        }
        Ok(())
    }
}

impl BridgeState {
    async fn start(
        &mut self,
        myself: &ActorRef<BridgeMessage>,
        role: Role,
    ) -> Result<(), ActorProcessingErr> {
        if self.core.stopping.load(Ordering::Acquire) {
            return Ok(());
        }
        let (core, supervisor) = (self.core.clone(), myself.get_cell());
        let (cell, join) = match &role {
            Role::Listener => {
                let Some(acceptor) = core.acceptor.lock().clone() else { return Ok(()) };
                let name = core.actor_name("listener");
                let arguments = listener::Arguments { core, acceptor, bridge: myself.clone() };
                let (actor, join) =
                    Actor::spawn_linked(Some(name), listener::Listener, arguments, supervisor).await?;
                (actor.get_cell(), join)
            }
            Role::Link(node) => {
                let slot = core.slot(node);
                if slot.info.lock().target.is_none() {
                    return Ok(());
                }
                let name = core.actor_name(&format!("link/{node}"));
                let (actor, join) =
                    Actor::spawn_linked(Some(name), link::Link, link::Arguments { core, slot }, supervisor)
                        .await?;
                (actor.get_cell(), join)
            }
            Role::Session => unreachable!("sessions are started with their connection"),
        };
        self.children.add(role, cell, join);
        Ok(())
    }

    async fn start_session(
        &mut self,
        myself: &ActorRef<BridgeMessage>,
        inlet: Inlet,
    ) -> Result<(), ActorProcessingErr> {
        if self.core.stopping.load(Ordering::Acquire) {
            return Ok(());
        }
        let core = self.core.clone();
        let name = core.actor_name("session");
        let arguments = session::Arguments { core, inlet };
        let (actor, join) =
            Actor::spawn_linked(Some(name), session::Session, arguments, myself.get_cell()).await?;
        self.children.add(Role::Session, actor.get_cell(), join);
        Ok(())
    }

    fn child_ended(&mut self, myself: &ActorRef<BridgeMessage>, role: Role, how: &str) {
        let is_wanted = match &role {
            Role::Session => false,
            Role::Listener => true,
            Role::Link(node) => self.core.slot(node).info.lock().target.is_some(),
        };
        if !is_wanted || self.core.stopping.load(Ordering::Acquire) {
            tracing::debug!(?role, how, "bridge child ended");
            return;
        }
        let options = &self.core.options;
        let pause =
            self.children.pause(&role, Instant::now(), options.restart_min_ms, options.restart_max_ms);
        tracing::error!(
            ?role,
            how,
            pause_ms = pause.as_millis() as u64,
            "bridge child ended, starting it again"
        );
        // The timer need not be recalled: a Restart of a child that runs again does nothing.
        drop(myself.send_after(pause, move || BridgeMessage::Restart(Revival { role })));
    }

    /// Monitors the actor behind a name; one that ended before is noticed here.
    fn watch(&mut self, myself: &ActorRef<BridgeMessage>, name: &str) {
        let exposure = self.core.exposures.borrow().get(name).cloned();
        let Some(cell) = exposure.as_ref().and_then(|exposure| exposure.cell.clone()) else { return };
        myself.get_cell().monitor(cell.clone());
        if matches!(cell.get_status(), ActorStatus::Stopping | ActorStatus::Stopped) {
            self.core.actor_gone(cell.get_id(), "stopped");
        }
    }
}
