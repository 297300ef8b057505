//! What the three role actors have in common: they hold a core role, step it, and carry out its effects in order.
//!
//! Owns the reads that wait for their index. Hears what its actor passes on. Never decides. A crash loses the role in
//! memory and the reads that wait (their callers are told the node was not ready); Group reloads from disk.

use std::collections::BTreeMap;
use std::sync::Arc;

use quorate_core::{
    Become, Candidate, CandidateEvent, Common, Effect, Effects, Entry, Epoch, Follower, FollowerEvent, Index,
    Leader, LeaderEvent, Message, Notice, ReadId, Reader, ReplicaState, ReplicationSession, ReplicatorEvent,
    Standing, Time,
};
use ractor::{ActorRef, Message as ActorMessage};
use serde::{Deserialize, Serialize};

use crate::applier::ApplierMessage;
use crate::error::QueryError;
use crate::group::{GroupMessage, QueryPort};
use crate::messages::store::answer;
use crate::role::context::Remotes;
use crate::role::timer::Timer;
use crate::role::{GroupContext, ReplicatorMessage};
use crate::store::{StoreError, StoreRequest};
use crate::wire::Request;

/// What a role actor starts with.
pub(crate) struct RoleStart {
    pub(crate) cx: Arc<GroupContext>,
    pub(crate) group: ActorRef<GroupMessage>,
    pub(crate) epoch: Epoch,
    pub(crate) state: Box<ReplicaState>,
    /// Skips the pre-vote; for a candidate.
    pub(crate) forced: bool,
}

/// What a role leaves behind.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) epoch: Epoch,
    pub(crate) state: Box<ReplicaState>,
    pub(crate) next: Become,
}

/// What a role tells of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleStatus {
    /// `follower`, `candidate` or `leader`.
    pub role: String,
    /// What it may do beside following.
    pub standing: Standing,
    /// The current term.
    pub term: u64,
    /// The last index of the log.
    pub last: u64,
    /// The last index on this node's disk.
    pub durable: u64,
    /// The commit index.
    pub commit: u64,
    /// The last index the state machine applied.
    pub applied: u64,
    /// The chain hash of the log's end, as hex.
    pub chain: String,
    /// Where the membership in force stands in the log.
    pub members: Vec<MemberStatus>,
    /// Under a leader: every peer.
    pub peers: Vec<quorate_core::PeerStatus>,
}

/// A member as the membership in force has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberStatus {
    /// Its node id.
    pub id: String,
    /// Where its bridge listens.
    pub raft: String,
    /// Where its API listens, or empty.
    pub api: String,
    /// Whether it votes.
    pub voter: bool,
    /// Its incarnation; zero while the membership does not carry it.
    pub incarnation: u64,
}

/// A core role, seen alike.
pub(crate) trait CoreRole: Send + 'static {
    const NAME: &'static str;
    fn common(&mut self, now: Time, common: Common) -> Effects;
    fn read(&mut self, now: Time, reads: Vec<ReadId>) -> Effects;
    fn deadline(&self) -> Option<Time>;
    fn state(&self) -> &ReplicaState;
    fn into_state(self) -> ReplicaState;
}

macro_rules! core_role {
    ($role:ty, $event:ident, $name:literal) => {
        impl CoreRole for $role {
            const NAME: &'static str = $name;
            fn common(&mut self, now: Time, common: Common) -> Effects {
                self.step(now, $event::Role(common))
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
    /// `None` once it ended: what still arrives is passed on.
    pub(crate) role: Option<R>,
    pub(crate) cx: Arc<GroupContext>,
    pub(crate) group: ActorRef<GroupMessage>,
    epoch: Epoch,
    pub(crate) timer: Timer,
    remotes: Remotes,
    reads: BTreeMap<ReadId, QueryPort>,
    next_read: u64,
}

impl<R: CoreRole> Runner<R> {
    pub(crate) fn new(role: R, cx: Arc<GroupContext>, group: ActorRef<GroupMessage>, epoch: Epoch) -> Self {
        Self {
            role: Some(role),
            cx,
            group,
            epoch,
            timer: Timer::default(),
            remotes: Remotes::default(),
            reads: BTreeMap::new(),
            next_read: 0,
        }
    }

    /// Steps what every role hears; passes it on if this role ended.
    pub(crate) fn common(&mut self, common: Common) -> Effects {
        let now = self.cx.clock.now();
        if let Some(role) = &mut self.role {
            return role.common(now, common);
        }
        let _ = self.group.cast(GroupMessage::ForRole { epoch: Some(self.epoch), common });
        Effects::new()
    }

    /// Steps a read.
    pub(crate) fn read(&mut self, port: QueryPort) -> Effects {
        let now = self.cx.clock.now();
        let Some(role) = &mut self.role else {
            port.fail(QueryError::NotReady { detail: "the replica changed its role".into() });
            return Effects::new();
        };
        self.next_read += 1;
        let id = ReadId(self.next_read);
        self.reads.insert(id, port);
        role.read(now, vec![id])
    }

    /// Carries out what is the same in every role; gives back what only a leader knows how to.
    pub(crate) fn carry_out(&mut self, effect: Effect) -> Option<Effect> {
        match effect {
            Effect::Persist(persist) => {
                let (group, epoch) = (self.cx.id, self.epoch);
                if let Some(store) = self.cx.store() {
                    let _ = store.cast(StoreRequest::Persist { group, epoch, persist }.into());
                }
            }
            Effect::Send(message) => self.send(message),
            Effect::Apply { entries } => self.to_applier(ApplierMessage::Apply { entries }),
            Effect::ReadLog { reader: Reader::Applier, from, through, bytes_max } => {
                self.read_for_applier(from, through, bytes_max);
            }
            Effect::ReadLog { reader: Reader::Role, from, .. } => self.locate(from),
            Effect::ReadReady { reads, index } => {
                for port in reads.iter().filter_map(|id| self.reads.remove(id)).collect::<Vec<_>>() {
                    self.to_applier(ApplierMessage::Query { index, port });
                }
            }
            Effect::ReadRefused { reads, reason } => {
                for port in reads.iter().filter_map(|id| self.reads.remove(id)) {
                    port.fail(QueryError::NotReady {
                        detail: format!("leadership not confirmed: {reason:?}"),
                    });
                }
            }
            Effect::LeaderChanged { leader, term } => {
                let _ = self.group.cast(GroupMessage::LeaderKnown { epoch: self.epoch, leader, term });
            }
            Effect::MembershipChanged(membership) => {
                let _ = self.group.cast(GroupMessage::MembershipChanged(membership));
            }
            Effect::Become(next) => self.end(next),
            Effect::Notice(notice) => self.say(&notice),
            leaders @ (Effect::ReadLog { reader: Reader::Replicator { .. }, .. }
            | Effect::StartReplicator { .. }
            | Effect::StopReplicator { .. }
            | Effect::ToReplicator { .. }
            | Effect::Accepted { .. }
            | Effect::Refused { .. }) => return Some(leaders),
        }
        None
    }

    /// After every step: the next tick.
    pub(crate) fn arm<M: ActorMessage>(
        &mut self,
        me: &ActorRef<M>,
        tick: impl FnOnce(u64) -> M + Send + 'static,
    ) {
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
        Some(RoleStatus {
            role: R::NAME.to_owned(),
            standing: state.standing(),
            term: state.term().0,
            last: last.index.0,
            durable: state.durable().0,
            commit: state.commit().0,
            applied: state.applied().0,
            chain: last.chain.to_string(),
            members: state.membership().members.iter().map(member).collect(),
            peers: Vec::new(),
        })
    }

    fn send(&mut self, message: Message) {
        let to = message.to.clone();
        if let Some(remote) = self.remotes.get(&self.cx, &to) {
            // A Raft message may be lost; whoever needs it says it again.
            let _ = remote.cast(&Request::Raft(message));
        }
    }

    pub(crate) fn to_applier(&self, message: ApplierMessage) {
        let applier = self.cx.route.borrow().applier.clone();
        if let Some(applier) = applier {
            // Lost with an applier that is gone: the next one says how far it is, ports in it answer for themselves.
            let _ = applier.cast(message);
        }
    }

    /// What is read goes straight to the applier; a read that fails stops the node, and one that is lost with the
    /// store's actor is asked for again when that is back.
    fn read_for_applier(&self, from: Index, through: Index, bytes_max: usize) {
        let (group, epoch) = (self.cx.id, self.epoch);
        let Some((store, applier)) = self.cx.store().zip(self.cx.route.borrow().applier.clone()) else {
            return;
        };
        let ask = move |reply| {
            StoreRequest::Read { group, epoch, from, through, bytes_max, reply: answer(reply) }.into()
        };
        let tell = |read: Result<Vec<Entry>, StoreError>| ApplierMessage::Apply {
            entries: read.unwrap_or_default(),
        };
        drop(store.call_and_forward(ask, &applier, tell, None));
    }

    fn locate(&self, index: Index) {
        let (group, epoch) = (self.cx.id, self.epoch);
        let Some(store) = self.cx.store() else { return };
        let ask = move |reply| StoreRequest::Locate { group, epoch, index, reply: answer(reply) }.into();
        drop(store.call_and_forward(ask, &self.group, |located| GroupMessage::Located(located.ok()), None));
    }

    pub(crate) fn read_for_replicator(
        &self,
        to: &ActorRef<ReplicatorMessage>,
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
            StoreRequest::Read { group, epoch, from, through, bytes_max, reply: answer(reply) }.into()
        };
        let tell = move |read: Result<Vec<Entry>, StoreError>| {
            let entries = read.unwrap_or_default();
            ReplicatorMessage::Event(ReplicatorEvent::Fetched { session, prev, entries })
        };
        drop(store.call_and_forward(ask, to, tell, None));
    }

    fn end(&mut self, next: Become) {
        let role = self.role.take().expect("a role ends once");
        let (term, state) = (role.state().term().0, Box::new(role.into_state()));
        tracing::info!(node = %self.cx.node, group = %self.cx.name, term, from = R::NAME, to = ?next.role,
            reason = next.reason, "role changes");
        let _ = self.group.cast(GroupMessage::RoleEnded(Ended { epoch: self.epoch, state, next }));
    }

    fn say(&self, notice: &Notice) {
        let (node, group) = (&self.cx.node, &self.cx.name);
        match notice {
            Notice::TwoLeaders { .. }
            | Notice::BadEntries { .. }
            | Notice::Diverged { .. }
            | Notice::RolledBack { .. } => tracing::error!(%node, %group, ?notice, "a peer breaks the rules"),
            Notice::DiskStalled
            | Notice::TransferFailed { .. }
            | Notice::PeerNoSpace { .. }
            | Notice::TimeJump { .. } => {
                tracing::warn!(%node, %group, ?notice, "notice");
            }
            Notice::Recovered { .. } => tracing::info!(%node, %group, ?notice, "notice"),
        }
    }
}
