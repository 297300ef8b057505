//! Group: the switchboard of one Raft group on one node, and the supervisor of its role and its applier.
//!
//! Owns the route (it alone publishes it), the children, and between two roles the replica's state. Hears its children,
//! Node, and what a stale route sends back. Asks the log store to load. Never touches term, vote or role: it passes the
//! state on by value. A crash loses its children with it; Node restarts it, it loads under a new epoch and its machine
//! is restored. Bound: what waits in it is Raft messages under the peers' windows and calls under permits; while no
//! role runs it drops the former (`docs/safety.md` 9) and handles do not send the latter.

mod machine;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quorate_bridge::kill_below;
use quorate_core::{
    Boot, Common, Entry, Epoch, Incarnation, Index, Loaded, Membership, NextRole, NodeId, Position,
    ReplicaState, Term,
};
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};
use tokio::task::JoinHandle;

use crate::applier::{ApplierFactory, ApplierMessage};
use crate::group::faults::Faults;
use crate::group::{Condition, LOOK_BYTES_MAX, LeaderRoute, RoleRef, Route};
use crate::messages::store::{AnswerPort, answer};
use crate::restarts::{APPLIER, ROLE, Restarts};
use crate::role::{
    CandidateActor, Ended, FollowerActor, GroupContext, LeaderActor, LeaderMessage, RoleMessage, RoleStart,
    RoleStatus,
};
use crate::store::{Answer, LoadedGroup, StoreError, StoreEvent, StoreRequest};
use crate::supervision::ended;

/// How long the end of a child's task is waited for before it is replaced.
const JOIN_MAX: Duration = Duration::from_secs(2);

/// What Group hears.
pub(crate) enum GroupMessage {
    /// From a stale route or a role that ended: for the role of now. `epoch` is set where it counts only in that one.
    ForRole { epoch: Option<Epoch>, common: Common },
    /// From the role: whom it follows, or that it leads.
    LeaderKnown { epoch: Epoch, leader: Option<NodeId>, term: Term },
    /// From the role: it is over.
    RoleEnded(Ended),
    /// From the role: another membership is in force.
    MembershipChanged(Membership),
    /// From the log store: the place the role asked for.
    Located(Option<Position>),
    /// From the log store: what is on disk.
    Loaded { epoch: Epoch, result: Result<LoadedGroup, StoreError> },
    /// From the applier: it runs, and has applied so much.
    ApplierReady { applied: Index },
    /// From the applier of this life: how far it is, asked when a role is loaded.
    ApplierAt { life: u64, applied: Index },
    /// From the group on another node: its machine faulted for good.
    PeerFaulted { peer: NodeId, index: u64 },
    /// From Node: a link to this peer rose or fell.
    Link { peer: NodeId, up: bool },
    /// From Node: this peer's incarnation is durable here.
    PeerKnown { peer: NodeId, incarnation: Incarnation },
    /// From Node: the log store is being restarted.
    StoreAway,
    /// From Node: the log store is back.
    StoreBack,
    /// From a handle, or Node when it stops: hand leadership over.
    Transfer { to: Option<NodeId> },
    /// From handles and the node's status.
    Inspect(RpcReplyPort<RoleStatus>),
    /// From a handle: what is in the log, for people to look at.
    Look { from: Index, through: Index, reply: AnswerPort<Vec<Entry>> },
    /// From Node: take nothing any more; answered when every waiting caller was, or cannot be.
    Close { detail: String, reply: RpcReplyPort<()> },
    /// From its own timer: start the role again.
    RestartRole(Epoch),
    /// From its own timer: start the applier again.
    RestartApplier(u64),
    /// From its own timer: say again that the machine here faulted.
    RepeatFault,
    /// From tests and `quorate actors stop --panic`: panic, as a bug would.
    Panic,
}

/// What Group starts with, each time: owned by Node.
#[derive(Clone)]
pub(crate) struct GroupStart {
    pub(crate) cx: Arc<GroupContext>,
    pub(crate) boot: Boot,
    /// The newest epoch given in this process, above any restart.
    pub(crate) epoch: Arc<AtomicU64>,
    pub(crate) entropy: u64,
    pub(crate) machine: Arc<dyn ApplierFactory>,
    pub(crate) machine_restarts_max: u32,
    /// The incarnations of this node and of the peers met so far.
    pub(crate) known: Vec<(NodeId, Incarnation)>,
}

struct Child<R> {
    actor: R,
    cell: ActorCell,
    join: JoinHandle<()>,
}

pub(crate) struct GroupState {
    start: GroupStart,
    epoch: Epoch,
    role: Option<Child<RoleRef>>,
    /// What the store answered, while the applier's place is not known yet.
    loaded: Option<LoadedGroup>,
    applier: Option<Child<ActorRef<ApplierMessage>>>,
    applier_at: Option<Index>,
    applier_life: u64,
    /// Where the machine of this life left the entry it could not take, before its applier ended; zero: nowhere.
    poison: Arc<AtomicU64>,
    /// Free space is below the reserve, and no role was told yet. From then on the store tells the role itself.
    disk_full: bool,
    /// Appliers that did not even start, one after the other.
    failed_starts: u32,
    faults: Faults,
    fault_here: Option<u64>,
    membership: Option<Membership>,
    leader: (Option<NodeId>, Term),
    condition: Condition,
    role_restarts: Restarts,
    applier_restarts: Restarts,
    roles_started: u64,
}

/// The group's actor.
pub(crate) struct GroupActor;

impl Actor for GroupActor {
    type Msg = GroupMessage;
    type State = GroupState;
    type Arguments = GroupStart;

    async fn pre_start(
        &self,
        _me: ActorRef<GroupMessage>,
        start: GroupStart,
    ) -> Result<GroupState, ActorProcessingErr> {
        let epoch = Epoch(start.epoch.load(Ordering::Relaxed));
        // A group that faulted stays so through a restart of its actor: the route above it remembers.
        let before = start.cx.route.borrow().clone();
        let mut faults = Faults::default();
        if let Some(index) = before.fault_here {
            faults.faulted(start.cx.node.clone(), index);
        }
        Ok(GroupState {
            start,
            epoch,
            role: None,
            loaded: None,
            applier: None,
            applier_at: None,
            applier_life: 0,
            poison: Arc::default(),
            disk_full: false,
            failed_starts: 0,
            faults,
            fault_here: before.fault_here,
            membership: None,
            leader: (None, Term::ZERO),
            condition: before.condition,
            role_restarts: Restarts::new(ROLE),
            applier_restarts: Restarts::new(APPLIER),
            roles_started: 0,
        })
    }

    async fn post_start(
        &self,
        me: ActorRef<GroupMessage>,
        state: &mut GroupState,
    ) -> Result<(), ActorProcessingErr> {
        state.start_applier(&me).await;
        state.load(&me);
        state.repeat_fault(&me);
        Ok(())
    }

    async fn handle(
        &self,
        me: ActorRef<GroupMessage>,
        message: GroupMessage,
        state: &mut GroupState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            GroupMessage::ForRole { epoch, common } => {
                if epoch.is_none_or(|epoch| epoch == state.epoch) {
                    state.for_role(&me, common);
                }
            }
            GroupMessage::MembershipChanged(membership) => state.membership_known(membership),
            GroupMessage::LeaderKnown { epoch, leader, term } if epoch == state.epoch => {
                state.leader = (leader, term);
                state.publish(&me);
            }
            GroupMessage::RoleEnded(ended) if ended.epoch == state.epoch => state.next_role(&me, ended).await,
            GroupMessage::LeaderKnown { .. } | GroupMessage::RoleEnded(_) => {}
            GroupMessage::Located(position) => {
                if let Some(position) = position {
                    state.tell_role(Common::Located(position));
                }
            }
            GroupMessage::Loaded { epoch, result } => state.loaded(&me, epoch, result).await,
            GroupMessage::ApplierReady { applied } => {
                state.applier_at = Some(applied);
                state.tell_role(Common::ApplierRestarted(applied));
                state.start_follower(&me).await;
            }
            GroupMessage::ApplierAt { life, applied } => {
                if life == state.applier_life {
                    state.applier_at = Some(applied);
                    state.tell_role(Common::Applied(applied));
                    state.start_follower(&me).await;
                }
            }
            GroupMessage::PeerFaulted { peer, index } => state.faulted(&me, peer, index),
            GroupMessage::Link { peer, up } => {
                state.tell_leader(|| LeaderMessage::Link { peer: peer.clone(), up });
            }
            GroupMessage::PeerKnown { peer, incarnation } => state.peer_known(&peer, incarnation),
            GroupMessage::StoreAway => state.tell_role(Common::StoreAway),
            GroupMessage::StoreBack => match &state.role {
                Some(_) => state.tell_role(Common::StoreBack),
                None => state.load(&me),
            },
            GroupMessage::Transfer { to } => state.tell_leader(|| LeaderMessage::Transfer { to: to.clone() }),
            GroupMessage::Inspect(reply) => state.inspect(reply),
            GroupMessage::Look { from, through, reply } => state.look(from, through, reply),
            GroupMessage::Close { detail, reply } => state.close(&me, detail, reply),
            GroupMessage::RestartRole(epoch) => {
                if epoch == state.epoch && state.role.is_none() {
                    state.load(&me);
                }
            }
            GroupMessage::RestartApplier(life) => {
                if life == state.applier_life && state.applier.is_none() {
                    state.start_applier(&me).await;
                }
            }
            GroupMessage::RepeatFault => state.repeat_fault(&me),
            GroupMessage::Panic => {
                kill_below(&me.get_cell());
                panic!("told to panic")
            }
        }
        Ok(())
    }

    async fn post_stop(
        &self,
        me: ActorRef<GroupMessage>,
        _: &mut GroupState,
    ) -> Result<(), ActorProcessingErr> {
        kill_below(&me.get_cell());
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        me: ActorRef<GroupMessage>,
        event: SupervisionEvent,
        state: &mut GroupState,
    ) -> Result<(), ActorProcessingErr> {
        let Some((who, why)) = ended(event) else { return Ok(()) };
        if let Some(role) = state.role.take_if(|role| role.cell.get_id() == who.get_id()) {
            state.role_lost(&me, role, &why).await;
        } else if let Some(applier) = state.applier.take_if(|applier| applier.cell.get_id() == who.get_id()) {
            state.applier_lost(&me, applier, &why).await;
        }
        Ok(())
    }
}

impl GroupState {
    /// Makes what it knows the route.
    fn publish(&self, me: &ActorRef<GroupMessage>) {
        let cx = &self.start.cx;
        let role = self.role.as_ref().map(|role| role.actor.clone());
        let leader = match (&self.leader.0, &role) {
            (Some(id), Some(RoleRef::Leader(actor))) if *id == cx.node => LeaderRoute::Here(actor.clone()),
            (Some(id), Some(_)) if *id != cx.node => {
                cx.remote(id).map_or(LeaderRoute::Nobody, LeaderRoute::There)
            }
            _ => LeaderRoute::Nobody,
        };
        let route = Route {
            condition: self.condition.clone(),
            epoch: self.epoch,
            group: Some(me.clone()),
            role,
            applier: self.applier.as_ref().map(|applier| applier.actor.clone()),
            fault_here: self.fault_here,
            leader,
            leader_id: self.leader.0.clone(),
            term: self.leader.1,
            role_restarts: self.role_restarts.total(),
            applier_restarts: self.applier_restarts.total(),
        };
        cx.route.send_replace(route);
    }

    /// What came back from a stale route, or found no role.
    fn for_role(&mut self, me: &ActorRef<GroupMessage>, common: Common) {
        match common {
            Common::DiskFull(full) if self.role.is_none() => self.disk_full = full,
            // It may be the word of an applier that is gone: the one of now is asked.
            Common::Applied(_) => self.ask_applier(me),
            other => self.tell_role(other),
        }
    }

    fn ask_applier(&self, me: &ActorRef<GroupMessage>) {
        if let Some(applier) = &self.applier {
            let life = self.applier_life;
            let tell = move |applied| GroupMessage::ApplierAt { life, applied };
            drop(applier.actor.call_and_forward(ApplierMessage::Where, me, tell, None));
        }
    }

    /// The incarnations that the membership carries win over what was met (`docs/safety.md` 14): made durable here,
    /// where admission finds them.
    fn membership_known(&mut self, membership: Membership) {
        if let Some(store) = self.start.cx.store() {
            let known = membership.members.iter().filter(|(_, member)| member.incarnation.0 != 0);
            for (peer, member) in known.filter(|(peer, _)| **peer != self.start.cx.node) {
                let (peer, incarnation) = (peer.clone(), member.incarnation);
                // Lost with the store's actor, it is said again when the next role is loaded.
                let reply = Answer::new(drop);
                let record = StoreRequest::RecordPeer { peer, incarnation, replace: true, reply };
                let _ = store.cast(record.into());
            }
        }
        self.membership = Some(membership);
    }

    fn tell_role(&self, common: Common) {
        if let Some(role) = &self.role {
            // A role that ended in this moment is replaced from disk, and is told what it must know again.
            let _ = role.actor.tell(common);
        }
    }

    /// Passes the question on; without a store its port is dropped, and the asker told so.
    fn look(&self, from: Index, through: Index, reply: AnswerPort<Vec<Entry>>) {
        let (group, epoch) = (self.start.cx.id, self.epoch);
        if let Some(store) = self.start.cx.store() {
            let (bytes_max, reply) = (LOOK_BYTES_MAX, answer(reply));
            let read = StoreRequest::Read { group, epoch, from, through, bytes_max, reply };
            let _ = store.cast(read.into());
        }
    }

    fn tell_leader(&self, message: impl Fn() -> LeaderMessage) {
        if let Some(Child { actor: RoleRef::Leader(leader), .. }) = &self.role {
            let _ = leader.cast(message());
        }
    }

    /// Begins a new epoch: whatever an older role ordered and the store has not begun is dropped.
    fn load(&mut self, me: &ActorRef<GroupMessage>) {
        self.epoch = Epoch(self.start.epoch.fetch_add(1, Ordering::Relaxed) + 1);
        self.loaded = None;
        // The store says it again when it loads, if it is so.
        self.disk_full = false;
        self.leader.0 = None;
        self.publish(me);
        let (group, epoch) = (self.start.cx.id, self.epoch);
        // Without a store the load begins when it is back.
        let Some(store) = self.start.cx.store() else { return };
        let routes = self.start.cx.routes();
        let sink = Arc::new(move |event: StoreEvent| {
            let (epoch, common) = match event {
                StoreEvent::Persisted { epoch, sequence, .. } => (Some(epoch), Common::Persisted(sequence)),
                StoreEvent::DiskFull(full) => (None, Common::DiskFull(full)),
            };
            routes.borrow().tell_role_of(epoch, common);
        });
        if self.applier_at.take().is_some() {
            self.ask_applier(me);
        }
        let tail_bytes_max = self.start.cx.core.tail_bytes_max;
        let ask = move |reply| {
            StoreRequest::Load { group, epoch, tail_bytes_max, sink, reply: answer(reply) }.into()
        };
        drop(store.call_and_forward(ask, me, move |result| GroupMessage::Loaded { epoch, result }, None));
    }

    async fn loaded(
        &mut self,
        me: &ActorRef<GroupMessage>,
        epoch: Epoch,
        result: Result<LoadedGroup, StoreError>,
    ) {
        if epoch != self.epoch || self.role.is_some() {
            return;
        }
        match result {
            Ok(loaded) => {
                self.loaded = Some(loaded);
                self.start_follower(me).await;
            }
            Err(error) => {
                // What is fatal stops the node; the rest (an epoch passed by) is tried again.
                let (node, group) = (&self.start.cx.node, &self.start.cx.name);
                tracing::error!(%node, %group, %error, "cannot load the group");
                self.restart_role_later(me);
            }
        }
    }

    /// Starts following once both the disk's state and the applier's place are known (`docs/safety.md` 10).
    async fn start_follower(&mut self, me: &ActorRef<GroupMessage>) {
        let applied = match (self.applier_at, self.fault_here) {
            (Some(applied), _) => applied,
            (None, Some(_)) => Index::ZERO,
            (None, None) => return,
        };
        if self.role.is_some() {
            return;
        }
        let Some(loaded) = self.loaded.take() else { return };
        self.membership_known(loaded.memberships.current().clone());
        let entropy = self.start.entropy ^ self.epoch.0.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let loaded = Loaded {
            me: self.start.cx.node.clone(),
            boot: self.start.boot,
            hard_state: loaded.hard_state,
            tail: loaded.tail,
            memberships: loaded.memberships,
            commit: loaded.start.index.max(applied),
            applied,
            entropy,
        };
        let state = Box::new(ReplicaState::new(loaded, self.start.cx.core.clone()));
        self.start_role(me, NextRole::Follower, state).await;
    }

    async fn start_role(&mut self, me: &ActorRef<GroupMessage>, next: NextRole, state: Box<ReplicaState>) {
        self.roles_started += 1;
        let (cx, n) = (self.start.cx.clone(), self.roles_started);
        let name =
            |role: &str| Some(format!("{}/group/{}/{role}/{}.{n}", cx.name_prefix, cx.name, self.epoch));
        let forced = matches!(next, NextRole::Candidate { forced: true });
        let start = RoleStart { cx: cx.clone(), group: me.clone(), epoch: self.epoch, state, forced };
        let cell = me.get_cell();
        let spawned = match next {
            NextRole::Follower => Actor::spawn_linked(name("follower"), FollowerActor::new(), start, cell)
                .await
                .map(|(actor, join)| (RoleRef::Follower(actor), join)),
            NextRole::Candidate { .. } => {
                Actor::spawn_linked(name("candidate"), CandidateActor::new(), start, cell)
                    .await
                    .map(|(actor, join)| (RoleRef::Candidate(actor), join))
            }
            NextRole::Leader => Actor::spawn_linked(name("leader"), LeaderActor, start, cell)
                .await
                .map(|(actor, join)| (RoleRef::Leader(actor), join)),
        };
        match spawned {
            Ok((actor, join)) => {
                let cell = actor.cell();
                self.role = Some(Child { actor, cell, join });
                // Before the route is known: what the store says to the role itself from then on is newer.
                if std::mem::take(&mut self.disk_full) {
                    self.tell_role(Common::DiskFull(true));
                }
                self.publish(me);
                for (peer, incarnation) in &self.start.known {
                    let (peer, incarnation) = (peer.clone(), *incarnation);
                    self.tell_leader(|| LeaderMessage::PeerKnown { peer: peer.clone(), incarnation });
                }
            }
            Err(error) => {
                let (node, group) = (&cx.node, &cx.name);
                tracing::error!(%node, %group, %error, ?next, "role did not start");
                self.restart_role_later(me);
            }
        }
    }

    /// The role that ended stays until its mailbox is empty: what still reaches it comes back here.
    async fn next_role(&mut self, me: &ActorRef<GroupMessage>, ended: Ended) {
        let old = self.role.take();
        self.start_role(me, ended.next.role, ended.state).await;
        if let Some(old) = old {
            let _ = old.cell.drain();
        }
        if let Some(message) = ended.next.redeliver {
            self.tell_role(Common::Message(message));
        }
    }

    async fn role_lost(&mut self, me: &ActorRef<GroupMessage>, role: Child<RoleRef>, why: &str) {
        // Its state may outlive the event that reports its end.
        let _ = tokio::time::timeout(JOIN_MAX, role.join).await;
        let (node, group) = (&self.start.cx.node, &self.start.cx.name);
        tracing::warn!(%node, %group, why, "role restarts from disk");
        self.restart_role_later(me);
    }

    fn restart_role_later(&mut self, me: &ActorRef<GroupMessage>) {
        self.leader.0 = None;
        self.publish(me);
        let pause = self.role_restarts.pause(self.start.cx.clock.now());
        let epoch = self.epoch;
        drop(me.send_after(pause, move || GroupMessage::RestartRole(epoch)));
    }

    fn peer_known(&mut self, peer: &NodeId, incarnation: Incarnation) {
        self.start.known.retain(|(known, _)| known != peer);
        self.start.known.push((peer.clone(), incarnation));
        self.tell_leader(|| LeaderMessage::PeerKnown { peer: peer.clone(), incarnation });
    }

    fn inspect(&self, reply: RpcReplyPort<RoleStatus>) {
        let _ = match self.role.as_ref().map(|role| &role.actor) {
            Some(RoleRef::Follower(role) | RoleRef::Candidate(role)) => {
                role.cast(RoleMessage::Inspect(reply)).is_ok()
            }
            Some(RoleRef::Leader(leader)) => leader.cast(LeaderMessage::Inspect(reply)).is_ok(),
            None => false,
        };
    }

    /// Nothing new is taken; the applier answers once nobody waits in it.
    fn close(&mut self, me: &ActorRef<GroupMessage>, detail: String, reply: RpcReplyPort<()>) {
        self.condition = Condition::Stopped(detail);
        self.publish(me);
        if let Some(applier) = &self.applier {
            let _ = applier.actor.cast(ApplierMessage::WhenIdle(reply));
        }
    }
}
