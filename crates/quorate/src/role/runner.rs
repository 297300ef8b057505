//! What the three role actors have in common: they hold a core role, step it, and carry out its effects in order.
//!
//! Owns the reads that wait for a read index. Hears what its actor passes on. Never decides. A crash loses the role in
//! memory and the reads that wait (their callers are told that the node is not ready); Group reloads from disk.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use quorate_core::{
    Become, Candidate, CandidateEvent, Effect, Effects, Entry, Epoch, Follower, FollowerEvent, Index, Leader,
    LeaderEvent, Message, NodeId, Notice, ReadId, Reader, ReplicaState, ReplicationSession, ReplicatorEvent,
    RoleEvent, Standing, Time,
};
use quorate_store::{Answer, StoreError, StoreRequest};
use ractor::{ActorRef, Message as ActorMessage};

use crate::context::{GroupContext, Remotes};
use crate::error::{BROKEN_TARGET, QueryError};
use crate::messages::applier::ApplierMessage;
use crate::messages::group::{GroupMessage, GroupRef};
use crate::messages::replicator::{ReplicatorMessage, ReplicatorRef};
use crate::messages::role::{EndedRole, MemberStatus, RoleStatus};
use crate::messages::snapshotter::SnapshotterMessage;
use crate::messages::store::port_answer;
use crate::ports::QueryPort;
use crate::role::outbound::Outbound;
use crate::role::timer::Timer;

/// What a role actor starts with.
pub(crate) struct RoleStart {
    pub(crate) cx: Arc<GroupContext>,
    pub(crate) group: GroupRef,
    pub(crate) epoch: Epoch,
    pub(crate) state: Box<ReplicaState>,
}

/// What the shells need of each of core's roles.
pub(crate) trait CoreRole: Send + 'static {
    const NAME: &'static str;
    fn role_event(&mut self, now: Time, event: RoleEvent) -> Effects;
    fn read(&mut self, now: Time, reads: Vec<ReadId>) -> Effects;
    fn deadline(&self) -> Option<Time>;
    fn state(&self) -> &ReplicaState;
    fn into_state(self) -> ReplicaState;
}

macro_rules! core_role {
    ($role:ty, $event:ident, $name:literal) => {
        impl CoreRole for $role {
            const NAME: &'static str = $name;
            fn role_event(&mut self, now: Time, event: RoleEvent) -> Effects {
                self.step(now, $event::Role(event))
            }
            fn read(&mut self, now: Time, reads: Vec<ReadId>) -> Effects {
                self.step(now, $event::Read(reads))
            }
            fn deadline(&self) -> Option<Time> {
                self.deadline()
            }
            fn state(&self) -> &ReplicaState {
                self.state()
            }
            fn into_state(self) -> ReplicaState {
                self.into_state()
            }
        }
    };
}

core_role!(Follower, FollowerEvent, "follower");
core_role!(Candidate, CandidateEvent, "candidate");
core_role!(Leader, LeaderEvent, "leader");

/// A role and what carries out its effects.
pub(crate) struct Runner<R> {
    /// `None` once the role ended. What still arrives is passed on to Group.
    pub(crate) role: Option<R>,
    pub(crate) cx: Arc<GroupContext>,
    pub(crate) group: GroupRef,
    epoch: Epoch,
    pub(crate) timer: Timer,
    remotes: Remotes,
    outbound: Outbound,
    reads: BTreeMap<ReadId, QueryPort>,
    /// Peers that a replicator of this role sends to.
    pub(crate) sends_to: BTreeSet<NodeId>,
    /// The index of the newest committed membership that the roster was told.
    told_committed: Index,
    /// Those of them that the role has not been asked for.
    queued_reads: Vec<ReadId>,
    next_read: u64,
}

impl<R: CoreRole> Runner<R> {
    pub(crate) fn new(role: R, cx: Arc<GroupContext>, group: GroupRef, epoch: Epoch) -> Self {
        Self {
            outbound: Outbound::of(cx.id, cx.roster.clone()),
            role: Some(role),
            cx,
            group,
            epoch,
            timer: Timer::default(),
            remotes: Remotes::default(),
            reads: BTreeMap::new(),
            sends_to: BTreeSet::new(),
            told_committed: Index::ZERO,
            queued_reads: Vec::new(),
            next_read: 0,
        }
    }

    /// Steps what every role hears, or passes it on to Group if this role ended.
    pub(crate) fn step_event(&mut self, event: RoleEvent) -> Effects {
        let now = self.cx.clock.now();
        if let RoleEvent::Message(message) = &event
            && let Some(recovers) = message.says_recovering()
        {
            self.cx.recovering.hear(&message.from, recovers);
        }
        if let Some(role) = &mut self.role {
            return role.role_event(now, event);
        }
        let _ = self.group.cast(GroupMessage::ForRole { epoch: Some(self.epoch), event });
        Effects::new()
    }

    /// The deadline of the role has passed, unless a newer timer replaced the one that fired.
    pub(crate) fn step_tick(&mut self, generation: u64) -> Effects {
        if self.timer.fired(generation) && self.role.is_some() {
            return self.step_event(RoleEvent::Tick);
        }
        Effects::new()
    }

    /// Takes queries that need a read index. True if nothing is queued for a step yet: the actor tells itself to `step_reads`,
    /// so that one step asks for all that is in its mailbox before that.
    pub(crate) fn queue_reads(&mut self, ports: Vec<QueryPort>) -> bool {
        if self.role.is_none() {
            for port in ports {
                port.fail(QueryError::not_ready("the replica changed its role"));
            }
            return false;
        }
        let is_first = self.queued_reads.is_empty() && !ports.is_empty();
        for port in ports {
            self.next_read += 1;
            self.queued_reads.push(ReadId(self.next_read));
            self.reads.insert(ReadId(self.next_read), port);
        }
        is_first
    }

    /// Asks the role for one read index for the queries that are queued.
    pub(crate) fn step_reads(&mut self) -> Effects {
        let (now, reads) = (self.cx.clock.now(), std::mem::take(&mut self.queued_reads));
        if let Some(role) = &mut self.role {
            return role.read(now, reads);
        }
        for port in reads.iter().filter_map(|id| self.reads.remove(id)) {
            port.fail(QueryError::not_ready("the replica changed its role"));
        }
        Effects::new()
    }

    /// Carries out an effect that every role can have; gives back one that only a leader has.
    pub(crate) fn run_effect(&mut self, effect: Effect) -> Option<Effect> {
        match effect {
            Effect::Persist(persist) => {
                let (group, epoch) = (self.cx.id, self.epoch);
                if let Some(store) = self.cx.store() {
                    let _ = store.cast(StoreRequest::Persist { group, epoch, persist }.into());
                }
            }
            Effect::Send(message) => self.send_to_peer(&message),
            Effect::Apply { entries } => self.to_applier(ApplierMessage::Apply { entries }),
            Effect::ReadLog { reader: Reader::Applier, from, through, bytes_max } => {
                self.read_for_applier(from, through, bytes_max);
            }
            Effect::ReadLog { reader: Reader::Role, from, .. } => self.locate(from),
            Effect::ReadReady { reads, index } => {
                let ports = reads.iter().filter_map(|id| self.reads.remove(id)).collect();
                self.to_applier(ApplierMessage::Queries { index, ports });
            }
            Effect::ReadRefused { reads } => {
                for port in reads.iter().filter_map(|id| self.reads.remove(id)) {
                    port.fail(QueryError::NoLeader { waited_ms: 0 });
                }
            }
            Effect::PublishSnapshot(index) => self.to_snapshotter(SnapshotterMessage::Publish(index)),
            Effect::FetchSnapshot(wanted) => self.to_snapshotter(SnapshotterMessage::Fetch(wanted)),
            Effect::Compact { through } => self.compact(through),
            Effect::RestoreMachine => {
                let _ = self.group.cast(GroupMessage::RestoreMachine);
            }
            Effect::LeaderChanged { leader, term } => {
                let _ = self.group.cast(GroupMessage::LeaderKnown { epoch: self.epoch, leader, term });
            }
            Effect::MembershipChanged(membership) => {
                let index =
                    self.role.as_ref().map(|role| role.state().membership_index()).unwrap_or_default();
                self.cx.roster.in_force(self.cx.id, (index, &membership), &self.sends_to);
                let _ = self.group.cast(GroupMessage::MembershipChanged(membership));
            }
            Effect::Become(next) => self.end_role(next),
            Effect::Notice(notice) => self.log_notice(&notice),
            of_leader @ (Effect::ReadLog { reader: Reader::Replicator { .. }, .. }
            | Effect::StartReplicator { .. }
            | Effect::StopReplicator { .. }
            | Effect::ToReplicator { .. }
            | Effect::Accepted { .. }
            | Effect::TransferBegun { .. }
            | Effect::TransferRefused(_)
            | Effect::ChangeBegun { .. }
            | Effect::ChangeRefused(_)
            | Effect::Refused { .. }) => return Some(of_leader),
        }
        None
    }

    /// Sets the timer to the role's deadline; called after every step.
    pub(crate) fn arm<M: ActorMessage>(
        &mut self,
        me: &ActorRef<M>,
        tick: impl FnOnce(u64) -> M + Send + 'static,
    ) {
        if let Some(role) = &self.role {
            self.cx.replay.stepped(role.state());
            self.cx.recovering.set_here(role.state().standing() == Standing::Recovering);
            let (index, commit) = (role.state().membership_index(), role.state().commit());
            if index <= commit && index > self.told_committed {
                self.told_committed = index;
                self.cx.roster.committed(self.cx.id, role.state().membership());
                let _ = self.group.cast(GroupMessage::MembershipCommitted(index));
            }
        }
        let now = self.cx.clock.now();
        let deadline = self.role.as_ref().and_then(CoreRole::deadline);
        self.timer.arm(me, now, deadline, tick);
    }

    pub(crate) fn status(&self) -> Option<RoleStatus> {
        let state = self.role.as_ref()?.state();
        let member = |(id, m): (&quorate_core::NodeId, &quorate_core::Member)| MemberStatus {
            id: id.to_string(),
            raft: m.raft.clone(),
            api: m.api.clone(),
            voter: state.membership().is_voter(id),
            incarnation: m.incarnation.0,
        };
        let last = state.tail().last();
        let (apply_lag, apply_lag_bytes) = state.apply_lag();
        Some(RoleStatus {
            role: R::NAME.to_owned(),
            standing: state.standing(),
            term: state.term().0,
            first: state.tail().start().index.next().0,
            snapshot: state.snapshot().map_or(0, |at| at.index.0),
            last: last.index.0,
            durable: state.durable().0,
            commit: state.commit().0,
            applied: state.applied().0,
            apply_lag,
            apply_lag_bytes,
            chain: last.chain.to_string(),
            members: state.membership().members.iter().map(member).collect(),
            peers: Vec::new(),
            removed: state.membership().has_removed(&self.cx.node, self.cx.disk.identity().incarnation),
            waits_for: state.unmet().map(ToString::to_string).collect(),
            recovering: self.cx.recovering.names(),
            full_voters: Vec::new(),
        })
    }

    fn send_to_peer(&mut self, message: &Message) {
        if let Some(remote) = self.remotes.get(&self.cx, &message.to) {
            self.outbound.send(remote, message);
        }
    }

    pub(crate) fn to_applier(&self, message: ApplierMessage) {
        let applier = self.cx.route.borrow().applier.clone();
        if let Some(applier) = applier {
            // Lost if the applier ended: the next one reports the last index it applied, and dropped ports answer *unknown*.
            let _ = applier.cast(message);
        }
    }

    fn to_snapshotter(&self, message: SnapshotterMessage) {
        self.cx.route.borrow().tell_snapshotter(message);
    }

    /// If it is lost with the store's actor, the next snapshot brings another one; at a start the log begins where it did.
    fn compact(&self, through: Index) {
        let (group, epoch, store) = (self.cx.id, self.epoch, self.cx.store());
        if let Some(store) = store {
            let reply = Answer::new(drop);
            let _ = store.cast(StoreRequest::Compact { group, epoch, through, reply }.into());
        }
    }

    /// The log store sends the entries to the applier. A read that fails stops the node; one that is lost with the store's
    /// actor is repeated when that is back.
    fn read_for_applier(&self, from: Index, through: Index, bytes_max: usize) {
        let (group, epoch) = (self.cx.id, self.epoch);
        let Some((store, applier)) = self.cx.store().zip(self.cx.route.borrow().applier.clone()) else {
            return;
        };
        let ask = move |reply| {
            StoreRequest::Read { group, epoch, from, through, bytes_max, reply: port_answer(reply) }.into()
        };
        let tell = |read: Result<Vec<Entry>, StoreError>| ApplierMessage::Apply {
            entries: read.unwrap_or_default(),
        };
        drop(store.call_and_forward(ask, &applier, tell, None));
    }

    fn locate(&self, index: Index) {
        let (group, epoch) = (self.cx.id, self.epoch);
        let Some(store) = self.cx.store() else { return };
        let ask = move |reply| StoreRequest::Locate { group, epoch, index, reply: port_answer(reply) }.into();
        drop(store.call_and_forward(ask, &self.group, |located| GroupMessage::Located(located.ok()), None));
    }

    pub(crate) fn read_for_replicator(
        &self,
        to: &ReplicatorRef,
        session: ReplicationSession,
        from: Index,
        through: Index,
        bytes_max: usize,
    ) {
        let state = self.role.as_ref().map(CoreRole::state);
        let Some(prev) = state.and_then(|state| state.tail().log_id_at(from.prev())) else { return };
        let (group, epoch) = (self.cx.id, self.epoch);
        let Some(store) = self.cx.store() else { return };
        let ask = move |reply| {
            StoreRequest::Read { group, epoch, from, through, bytes_max, reply: port_answer(reply) }.into()
        };
        let tell = move |read: Result<Vec<Entry>, StoreError>| {
            let entries = read.unwrap_or_default();
            ReplicatorMessage::Event(ReplicatorEvent::Fetched { session, prev, entries: entries.into() })
        };
        drop(store.call_and_forward(ask, to, tell, None));
    }

    fn end_role(&mut self, next: Become) {
        let role = self.role.take().expect("a role ends once");
        self.sends_to.clear();
        self.cx.roster.sends_to(self.cx.id, &self.sends_to);
        let state = Box::new(role.into_state());
        let _ = self.group.cast(GroupMessage::RoleEnded(EndedRole {
            epoch: self.epoch,
            from: R::NAME,
            state,
            next,
        }));
    }

    fn log_notice(&self, notice: &Notice) {
        let (node, group) = (&self.cx.node, &self.cx.name);
        match notice {
            Notice::TwoLeaders { term, known, other } => {
                tracing::error!(target: BROKEN_TARGET, %node, %group, %term, %known, %other, "a peer breaks the rules: two leaders in a term");
            }
            Notice::BadEntries { from, error } => {
                tracing::error!(target: BROKEN_TARGET, %node, %group, %from, %error, "a peer breaks the rules: bad entries");
            }
            Notice::Diverged { from, at } => {
                tracing::error!(target: BROKEN_TARGET, %node, %group, %from, index = %at, "a peer breaks the rules: its log diverges");
            }
            Notice::RolledBack { peer, acknowledged, last } => {
                tracing::error!(target: BROKEN_TARGET, %node, %group, %peer, %acknowledged, %last, "a peer breaks the rules: its log shrank");
            }
            Notice::TermJump { from, term } => {
                tracing::error!(target: BROKEN_TARGET, %node, %group, %from, %term, "a peer breaks the rules: an impossible term");
            }
            Notice::DiskStalled => tracing::warn!(%node, %group, "disk stalled, giving leadership away"),
            Notice::TransferFailed { to } => {
                tracing::warn!(%node, %group, %to, "leadership transfer failed, proposals are accepted again");
            }
            Notice::ApplyLag { to, entries } => {
                tracing::warn!(%node, %group, %to, entries, "this node's state machine is far behind, giving leadership away");
            }
            Notice::PeerRefuses { peer, at } => {
                tracing::error!(%node, %group, %peer, index = %at, "a peer refuses entries; its log says why");
            }
            Notice::PeerNoSpace { peer } => tracing::warn!(%node, %group, %peer, "disk of a peer is full"),
            Notice::MajorityNoSpace { full } if full.is_empty() => {
                tracing::info!(%node, %group, "a majority of the voters has room again, taking commands");
            }
            Notice::MajorityNoSpace { full } => {
                let full = full.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                tracing::error!(%node, %group, full, "no majority of the voters has room, refusing commands");
            }
            Notice::TimeJump { ahead_ms } => tracing::warn!(%node, %group, ahead_ms, "wall clock jumped"),
            Notice::Founded => {
                tracing::info!(%node, %group, "every founding member was reached, taking part");
            }
            Notice::Removed { index } => {
                tracing::warn!(%node, %group, %index, "removed from the group, no longer standing for election");
            }
            Notice::ToldNoVoter { by } => {
                tracing::warn!(%node, %group, %by, "a voter says that this node has no vote, no longer standing for election");
            }
            Notice::Recovered { index } => {
                tracing::info!(%node, %group, %index, "recovered, this node votes again");
            }
        }
    }
}
