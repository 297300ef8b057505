//! The leader's state and its step: which event goes to which of the other files.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::change::Change;
use crate::effect::{Effect, Effects, NextRole, Notice, PeerLink, ReadId, RoleEvent};
use crate::entry::EntryKind;
use crate::ids::{Incarnation, Index, NodeId, ReplicationSession, Round, Time};
use crate::leader::commit_times::CommitTimes;
use crate::leader::progress::{Departing, Progress};
use crate::leader::proposal::Proposal;
use crate::leader::waiting_reads::Reads;
use crate::message::{Body, Message, VoteKind, VoteReply, VoteRequest};
use crate::replicator::ReplicatorEvent;
use crate::state::{ReplicaState, become_role};

/// What a leader is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaderEvent {
    /// An event that every role is told.
    Role(RoleEvent),
    /// Commands to append; answered in order by [`Effect::Accepted`] and [`Effect::Refused`].
    Propose {
        /// The wall clock, in milliseconds since 1970.
        wall_ms: u64,
        /// The commands.
        proposals: Vec<Proposal>,
    },
    /// Reads that want to be linearizable.
    Read(Vec<ReadId>),
    /// A replicator asks for entries.
    Fetch {
        /// The peer of the replicator.
        peer: NodeId,
        /// Its replication session.
        session: ReplicationSession,
        /// The first index wanted.
        from: Index,
        /// About so many bytes are wanted.
        bytes_max: usize,
    },
    /// The replicator of this peer failed: start another one in a new replication session.
    ReplicatorLost {
        /// The peer of the replicator.
        peer: NodeId,
    },
    /// Transfer leadership; answered by [`Effect::TransferBegun`] or [`Effect::TransferRefused`].
    Transfer {
        /// The target; `None` for the voter that can lead best.
        to: Option<NodeId>,
    },
    /// A peer's incarnation became known and durable here: the membership should carry it (`safety.md` 14).
    Incarnation {
        /// The peer.
        peer: NodeId,
        /// Its incarnation.
        incarnation: Incarnation,
        /// The wall clock, in milliseconds since 1970.
        wall_ms: u64,
    },
    /// Change the members; answered by [`Effect::ChangeBegun`] or [`Effect::ChangeRefused`].
    ChangeMembership {
        /// The change.
        change: Change,
        /// The index of the membership that it is meant for.
        expected: Index,
        /// The wall clock, in milliseconds since 1970.
        wall_ms: u64,
    },
}

/// A leadership transfer under way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Transfer {
    pub(super) to: NodeId,
    pub(super) deadline: Time,
    /// When the target was last told to campaign.
    pub(super) told_at: Option<Time>,
    /// No one was named: if this fails, another voter is tried.
    pub(super) takes_any: bool,
}

/// The leader of a term.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Leader {
    pub(super) state: ReplicaState,
    pub(super) progress: BTreeMap<NodeId, Progress>,
    /// Removed members that are still sent the log.
    pub(super) departing: BTreeMap<NodeId, Departing>,
    /// Index of the no-op of this term. Until it is committed the leader does not know which earlier entries are.
    pub(super) first_of_term: Index,
    pub(super) round: Round,
    pub(super) reads: Reads,
    pub(super) transfer: Option<Transfer>,
    /// Incarnations the membership does not carry yet.
    pub(super) incarnations: BTreeMap<NodeId, Incarnation>,
    /// Of the entries in memory after `counted`.
    pub(super) uncommitted_bytes: usize,
    /// Where the commit index was when they were counted last.
    pub(super) counted: Index,
    pub(super) started_at: Time,
    /// When entries became committed, by which machines are told to be behind.
    pub(super) commits: CommitTimes,
    /// When this leader last looked for a voter whose machine keeps up.
    pub(super) lag_checked: Time,
    /// When a transfer last failed.
    pub(super) transfer_failed: Option<Time>,
    /// The newest wall clock that came with an event.
    pub(super) wall_ms: u64,
    /// As was last said: the disks of peers keep it from committing.
    pub(super) is_blocked_by_disks: bool,
}

impl Leader {
    /// Begins to lead: starts a replicator for each peer and appends the no-op of the term.
    pub fn start(state: ReplicaState, now: Time, wall_ms: u64) -> (Self, Effects) {
        let mut effects = Effects::new();
        let state = state.without_held_replies();
        let mut leader = Self {
            first_of_term: state.last().index.next(),
            uncommitted_bytes: state.tail.bytes_after(state.commit),
            counted: state.commit,
            commits: CommitTimes::new(now, state.commit),
            lag_checked: Time::default(),
            transfer_failed: None,
            state,
            progress: BTreeMap::new(),
            departing: BTreeMap::new(),
            round: Round::ZERO,
            reads: Reads::default(),
            transfer: None,
            incarnations: BTreeMap::new(),
            started_at: now,
            wall_ms,
            is_blocked_by_disks: false,
        };
        let me = leader.state.me.clone();
        effects.push(Effect::LeaderChanged { leader: Some(me.clone()), term: leader.state.term() });
        let before = leader.state.memberships.previous().filter(|_| !leader.is_settled()).cloned();
        if let Some(before) = before {
            leader.depart(&before);
        }
        let members = leader.state.membership().peers_of(&me);
        let peers: Vec<NodeId> = members.chain(leader.departing.keys()).cloned().collect();
        for peer in peers {
            leader.start_replicator(now, peer, &mut effects);
        }
        let noop = vec![(EntryKind::Noop, Proposal::new(bytes::Bytes::new()))];
        leader.append_to_log(now, wall_ms, noop, &mut effects);
        leader.finish(now, &mut effects);
        (leader, effects)
    }

    /// One event in, its effects out.
    pub fn step(&mut self, now: Time, event: LeaderEvent) -> Effects {
        let mut effects = Effects::new();
        match event {
            LeaderEvent::Role(event) => self.role_event(now, event, &mut effects),
            LeaderEvent::Propose { wall_ms, proposals } => {
                self.append_proposals(now, wall_ms, proposals, &mut effects);
            }
            LeaderEvent::Read(reads) => self.read(reads, &mut effects),
            LeaderEvent::Fetch { peer, session, from, bytes_max } => {
                self.fetch(peer, session, from, bytes_max, &mut effects);
            }
            LeaderEvent::ReplicatorLost { peer } => self.start_replicator(now, peer, &mut effects),
            LeaderEvent::Transfer { to } => self.transfer_on_request(now, to, &mut effects),
            LeaderEvent::Incarnation { peer, incarnation, wall_ms } => {
                self.wall_ms = self.wall_ms.max(wall_ms);
                // Of a node that is no member it says nothing: under that name another disk may be taken in.
                if self.state.membership().members.contains_key(&peer) {
                    self.incarnations.insert(peer, incarnation);
                }
            }
            LeaderEvent::ChangeMembership { change, expected, wall_ms } => {
                self.wall_ms = self.wall_ms.max(wall_ms);
                self.change_membership(now, &change, expected, &mut effects);
            }
        }
        self.finish(now, &mut effects);
        effects
    }

    /// When [`RoleEvent::Tick`] is due: the earliest of losing the quorum, the end of a transfer, a stalled disk and a
    /// machine that is behind.
    pub fn deadline(&self) -> Option<Time> {
        let config = &self.state.config;
        let quorum = self.quorum_contact().map(|at| at + config.election_timeout);
        // A single-node group cannot transfer leadership; without this filter the timer would spin.
        let stalled = self.state.durability.oldest_issued_at().filter(|_| !self.progress.is_empty());
        let stall = stalled.map(|at| at + self.stall_max());
        let departing = self.departing_deadline();
        [quorum, stall, departing, self.transfer_deadline(), self.lag_deadline()].into_iter().flatten().min()
    }

    /// The state of the replica.
    pub fn state(&self) -> &ReplicaState {
        &self.state
    }

    /// Ends the role and passes the state to the next one.
    pub fn into_state(self) -> ReplicaState {
        self.state
    }

    /// Whether an entry of this leader's own term is committed, so that it knows what is.
    pub fn has_committed_in_term(&self) -> bool {
        self.state.commit >= self.first_of_term
    }

    /// The newest round of leadership confirmation.
    pub fn round(&self) -> Round {
        self.round
    }

    /// Bytes of entries that are appended and not committed, which `uncommitted_bytes_max` limits.
    pub fn uncommitted_bytes(&self) -> usize {
        self.uncommitted_bytes
    }

    /// The target of the leadership transfer under way.
    pub fn transferring_to(&self) -> Option<&NodeId> {
        self.transfer.as_ref().map(|transfer| &transfer.to)
    }

    fn finish(&mut self, now: Time, effects: &mut Effects) {
        let ended = |effects: &Effects| matches!(effects.last(), Some(Effect::Become(_)));
        if !ended(effects) {
            self.advance_commit(effects);
            if self.leave_joint(now, effects) {
                // The old half is asked no more, and the new one may have had more for long.
                self.advance_commit(effects);
            }
            self.note_commit(now);
            self.note_room(now, effects);
            self.enrol(now, effects);
            self.let_go(now, effects);
            self.confirm_reads(effects);
            self.leave_if_removed(now, effects);
        }
        if !ended(effects) {
            self.state.apply_and_trim(now, self.state.commit, effects);
        }
        if ended(effects) {
            let end = effects.pop().expect("just seen");
            self.refuse_reads(effects);
            let peers: Vec<NodeId> = self.progress.keys().cloned().collect();
            effects.extend(peers.into_iter().map(|peer| Effect::StopReplicator { peer }));
            effects.push(end);
        }
    }

    fn role_event(&mut self, now: Time, event: RoleEvent, effects: &mut Effects) {
        self.state.step_common(now, &event, effects);
        // The applier may have been handed more by an earlier role than this one knew to be committed.
        self.count_committed();
        match event {
            RoleEvent::Message(message) => self.message(now, message, effects),
            RoleEvent::Tick => self.tick(now, effects),
            // It replays for a while, and a peer whose machine has everything can serve meanwhile.
            RoleEvent::ApplierRestarted(_) => self.transfer_for_lag(now, effects),
            // `safety.md` 16: a node with disk space should lead.
            RoleEvent::DiskFull(true) => self.transfer_for_room(now, effects),
            RoleEvent::Link { peer, link } => self.link_changed(peer, link, effects),
            RoleEvent::SnapshotReady(_) | RoleEvent::NoSnapshot => {
                let newest = self.state.snapshot();
                let event = newest.map_or(ReplicatorEvent::NoSnapshot, ReplicatorEvent::SnapshotReady);
                self.tell_all(&event, effects);
            }
            RoleEvent::MachineDown
            | RoleEvent::StoreBack
            | RoleEvent::StoreAway
            | RoleEvent::Persisted(_)
            | RoleEvent::Applied(_)
            | RoleEvent::Located(_)
            | RoleEvent::DiskFull(false)
            | RoleEvent::SnapshotWritten(_)
            | RoleEvent::Compact(_)
            | RoleEvent::Admitted(_) => {}
        }
    }

    fn link_changed(&mut self, peer: NodeId, link: PeerLink, effects: &mut Effects) {
        let up = link == PeerLink::Up;
        if let Some(progress) = self.progress.get_mut(&peer) {
            progress.link_up = up;
        }
        self.tell(peer, if up { ReplicatorEvent::LinkUp } else { ReplicatorEvent::LinkDown }, effects);
    }

    fn tick(&mut self, now: Time, effects: &mut Effects) {
        let config = &self.state.config;
        let lost = self.quorum_contact().is_some_and(|at| now.since(at) >= config.election_timeout);
        if lost {
            effects.push(become_role(NextRole::Follower, "lost contact with a quorum", None));
            return;
        }
        let stalled = self.state.durability.oldest_issued_at();
        if stalled.is_some_and(|at| now.since(at) >= self.stall_max()) && !self.progress.is_empty() {
            effects.push(Effect::Notice(Notice::DiskStalled));
            self.give_away(now, effects);
            effects.push(become_role(NextRole::Follower, "its disk is stalled", None));
            return;
        }
        self.forget_old_askers(now);
        self.check_transfer(now, effects);
        self.transfer_for_lag(now, effects);
    }

    /// How long a write may wait before this leader gives way. A disk on which every write takes long is not one that stalls:
    /// others may be no quicker, and a leader needs its own disk least of all.
    fn stall_max(&self) -> Duration {
        self.state.config.persist_stall_max.max(self.state.vote_time())
    }

    fn message(&mut self, now: Time, message: Message, effects: &mut Effects) {
        if !self.state.is_for_us(&message, effects) {
            return;
        }
        // A leader that is in contact with its quorum refuses votes, like the followers that stick to it. Replies to its own
        // earlier campaign are ignored below (`known-bugs.md` 11).
        let from = message.from.clone();
        match &message.body {
            Body::VoteRequest(request) if !request.forced => {
                self.refuse_vote(from, request, effects);
                return;
            }
            Body::VoteRequest(request) if request.kind == VoteKind::Pre => {
                self.refuse_vote(from, request, effects);
                return;
            }
            _ => {}
        }
        if message.term > self.state.term() {
            effects.push(become_role(NextRole::Follower, "saw a higher term", Some(message)));
            return;
        }
        let term = message.term;
        match message.body {
            Body::AppendReply(reply) if term == self.state.term() => {
                self.append_reply(now, from, message.boot, &reply, effects);
            }
            Body::ReadIndexRequest(request) => {
                self.read_request(now, from, message.boot, &request, effects);
            }
            Body::VoteRequest(request) => self.refuse_vote(from, &request, effects),
            Body::AppendEntries(_) if term == self.state.term() => {
                // Two leaders in one term: election safety is broken somewhere. Any answer could make it worse.
                let known = self.state.me.clone();
                effects.push(Effect::Notice(Notice::TwoLeaders { term, known, other: from }));
            }
            Body::AppendEntries(_) => self.state.refuse_append(from, effects),
            Body::AppendReply(_) | Body::VoteReply(_) | Body::TimeoutNow | Body::ReadIndexReply(_) => {}
        }
    }

    fn refuse_vote(&mut self, from: NodeId, request: &VoteRequest, effects: &mut Effects) {
        let VoteRequest { kind, campaign, last, .. } = *request;
        let (granted, leads_better, recovering) = (false, false, false);
        let no_voter = self.state.knows_no_voter(&from, last);
        let reply = VoteReply { kind, campaign, granted, leads_better, recovering, no_voter };
        let message = self.state.message(from, Body::VoteReply(reply));
        self.state.send_after_hard_state(message, effects);
    }

    /// When a quorum was last in contact, measured from when this leader sent what they answered. `None` if this node alone is
    /// a quorum.
    fn quorum_contact(&self) -> Option<Time> {
        let membership = self.state.membership();
        if self.is_quorum_alone() {
            return None;
        }
        let contact = |id: &NodeId| {
            if *id == self.state.me {
                Time(u64::MAX)
            } else {
                self.progress.get(id).map_or(Time::default(), |progress| progress.contact)
            }
        };
        Some(membership.quorum_value(contact))
    }

    pub(super) fn is_quorum_alone(&self) -> bool {
        self.state.membership().is_quorum(|id| *id == self.state.me)
    }

    pub(super) fn tell(&self, peer: NodeId, event: ReplicatorEvent, effects: &mut Effects) {
        if self.progress.contains_key(&peer) {
            effects.push(Effect::ToReplicator { peer, event });
        }
    }

    pub(super) fn tell_all(&self, event: &ReplicatorEvent, effects: &mut Effects) {
        let tell = |peer: &NodeId| Effect::ToReplicator { peer: peer.clone(), event: event.clone() };
        effects.extend(self.progress.keys().map(tell));
    }
}
