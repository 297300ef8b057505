//! What Group's actor owns, and the route it publishes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quorate_core::{Boot, Epoch, Incarnation, Membership, NodeId, RoleEvent, Term};
use quorate_store::LoadedGroup;
use ractor::{ActorCell, ActorRef};
use tokio::task::JoinHandle;

use crate::context::GroupContext;
use crate::gauge::Gauge;
use crate::group::faults::Faults;
use crate::group::leader_log::LeaderLog;
use crate::host::machine::MachineFactory;
use crate::messages::applier::ApplierRef;
use crate::messages::group::GroupMessage;
use crate::messages::role::{LeaderMessage, RoleRef};
use crate::messages::snapshotter::SnapshotterRef;
use crate::protocol::MemberAddress;
use crate::restarts::{APPLIER, ROLE, Restarts, SNAPSHOTTER};
use crate::route::{Condition, LeaderRoute, Route};

/// How long the end of a child's task is waited for before it is replaced.
pub(super) const JOIN_MAX: Duration = Duration::from_secs(2);

/// What Group starts with, each time; owned above Node.
#[derive(Clone)]
pub(crate) struct GroupStart {
    pub(crate) cx: Arc<GroupContext>,
    pub(crate) boot: Boot,
    /// The newest epoch given in this process, over all restarts of the group's actor.
    pub(crate) epoch: Arc<AtomicU64>,
    pub(crate) entropy: u64,
    pub(crate) machine: Arc<dyn MachineFactory>,
    pub(crate) machine_restarts_max: u32,
    /// The incarnations of this node and of the peers met so far.
    pub(crate) known: Vec<(NodeId, Incarnation)>,
}

pub(super) struct Child<R> {
    pub(super) actor: R,
    pub(super) cell: ActorCell,
    pub(super) join: JoinHandle<()>,
}

pub(crate) struct GroupState {
    pub(super) start: GroupStart,
    pub(super) epoch: Epoch,
    pub(super) role: Option<Child<RoleRef>>,
    /// What the store answered, until the applier has restored its machine.
    pub(super) loaded: Option<LoadedGroup>,
    pub(super) applier: Option<Child<ApplierRef>>,
    /// The applier has restored its machine: callers may come.
    pub(super) applier_ready: bool,
    /// What the current applier shows of itself.
    pub(super) gauge: Arc<Gauge>,
    /// The number of the current applier: counts its restarts.
    pub(super) applier_number: u64,
    /// Set by the current applier to the index of an entry its machine cannot take, before it ends. Zero: none.
    pub(super) poison: Arc<AtomicU64>,
    /// Appliers that did not start or restore their machine, counted from the last one that did.
    pub(super) failed_starts: u32,
    pub(super) snapshotter: Option<Child<SnapshotterRef>>,
    pub(super) snapshotter_restarts: Restarts,
    /// The number of the current snapshotter: counts its restarts.
    pub(super) snapshotter_number: u64,
    /// The incarnations of members that were on record when the log was loaded.
    pub(super) recorded: Vec<(NodeId, Incarnation)>,
    /// The membership before the first entry, known once the log is loaded where it begins with that.
    pub(super) founding: Option<Membership>,
    pub(super) faults: Faults,
    /// A timer runs that repeats a fault.
    pub(super) repeats_fault: bool,
    pub(super) fault_here: Option<u64>,
    /// Why this replica takes no more entries, or its machine none.
    pub(super) halted: Option<Arc<str>>,
    pub(super) membership: Option<Membership>,
    /// Its members, as clients are told of them.
    pub(super) members: Arc<[MemberAddress]>,
    pub(super) leader: (Option<NodeId>, Term),
    pub(super) leader_log: LeaderLog,
    pub(super) condition: Condition,
    pub(super) role_restarts: Restarts,
    pub(super) applier_restarts: Restarts,
    pub(super) roles_started: u64,
}

impl GroupState {
    pub(super) fn new(start: GroupStart) -> Self {
        let epoch = Epoch(start.epoch.load(Ordering::Relaxed));
        // A group that faulted stays so through a restart of its actor: the route above it keeps the fault.
        let before = start.cx.route.borrow().clone();
        let (mut faults, now) = (Faults::default(), start.cx.clock.now());
        if let Some(index) = before.fault_here {
            faults.faulted(start.cx.node.clone(), index, now);
        }
        if let Some(gauge) = &before.gauge {
            start.cx.replay.applied(gauge.applied());
        }
        let gauge = Arc::new(Gauge::new(start.cx.clock.clone()));
        Self {
            start,
            epoch,
            role: None,
            loaded: None,
            applier: None,
            applier_ready: false,
            gauge,
            applier_number: 0,
            poison: Arc::default(),
            failed_starts: 0,
            snapshotter: None,
            snapshotter_restarts: Restarts::new(SNAPSHOTTER),
            snapshotter_number: 0,
            recorded: Vec::new(),
            founding: None,
            faults,
            repeats_fault: false,
            fault_here: before.fault_here,
            halted: before.halted.filter(|_| before.fault_here.is_some()),
            membership: None,
            members: before.members,
            leader: (None, Term::ZERO),
            leader_log: LeaderLog::default(),
            condition: before.condition,
            role_restarts: Restarts::new(ROLE),
            applier_restarts: Restarts::new(APPLIER),
            roles_started: 0,
        }
    }

    /// Publishes the route.
    pub(super) fn publish(&self, me: &ActorRef<GroupMessage>) {
        let cx = &self.start.cx;
        let role = self.role.as_ref().map(|role| role.actor.clone());
        let leader = match (&self.leader.0, &role) {
            (Some(id), Some(RoleRef::Leader(actor))) if *id == cx.node => LeaderRoute::Here(actor.clone()),
            (Some(id), Some(_)) if *id != cx.node => {
                cx.remote(id).map_or(LeaderRoute::Unknown, LeaderRoute::There)
            }
            _ => LeaderRoute::Unknown,
        };
        let route = Route {
            condition: self.condition.clone(),
            epoch: self.epoch,
            group: Some(me.clone()),
            role,
            applier: self
                .applier
                .as_ref()
                .filter(|_| self.applier_ready)
                .map(|applier| applier.actor.clone()),
            snapshotter: self.snapshotter.as_ref().map(|snapshotter| snapshotter.actor.clone()),
            gauge: Some(self.gauge.clone()),
            fault_here: self.fault_here,
            replay: cx.replay.clone(),
            halted: self.halted.clone(),
            leader,
            leader_id: self.leader.0.clone(),
            members: self.members.clone(),
            term: self.leader.1,
            role_restarts: self.role_restarts.total(),
            applier_restarts: self.applier_restarts.total(),
        };
        cx.route.send_replace(route);
    }

    pub(super) fn tell_role(&self, event: RoleEvent) {
        if let Some(role) = &self.role {
            // A role that has just ended is replaced from disk, and the next one is told what it must know.
            let _ = role.actor.tell(event);
        }
    }

    pub(super) fn tell_leader(&self, message: LeaderMessage) {
        if let Some(Child { actor: RoleRef::Leader(leader), .. }) = &self.role {
            let _ = leader.cast(message);
        }
    }
}
