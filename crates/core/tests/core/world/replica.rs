//! A role together with its replicators, stepped as one. It is the shipped role code, composed; the runtime composes the
//! same types as actors.

use std::collections::BTreeMap;

use super::Behind;
use quorate_core::{
    AppendEntries, Body, Candidate, CandidateEvent, Change, Effect, Effects, Entry, Follower, FollowerEvent,
    Incarnation, Index, Leader, LeaderEvent, LogId, Message, NextRole, NodeId, Proposal, ReadId, Refusal,
    ReplicaState, ReplicationSession, Replicator, ReplicatorEffect, ReplicatorEvent, RoleEvent, Time,
};

/// The one role a replica has.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    /// Follower or learner.
    Follower(Follower),
    /// Campaigns.
    Candidate(Candidate),
    /// Leads a term.
    Leader(Box<Leader>),
}

/// What a replica is told from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ReplicaEvent {
    /// An event that every role is told.
    Role(RoleEvent),
    /// Commands to append; refused where it does not lead.
    Propose {
        /// The wall clock, in milliseconds since 1970.
        wall_ms: u64,
        /// The commands.
        proposals: Vec<Proposal>,
    },
    /// Reads that want to be linearizable.
    Read(Vec<ReadId>),
    /// Hand leadership over.
    Transfer(Option<NodeId>),
    /// A peer's incarnation is known.
    Incarnation {
        /// Whose.
        peer: NodeId,
        /// Which.
        incarnation: Incarnation,
        /// The wall clock, in milliseconds since 1970.
        wall_ms: u64,
    },
    /// Change the members; refused where it does not lead.
    Change {
        /// The change.
        change: Change,
        /// The index of the membership it is meant for.
        expected: Index,
        /// The wall clock, in milliseconds since 1970.
        wall_ms: u64,
    },
    /// The store answers a replicator.
    Fetched {
        /// Whom it serves.
        peer: NodeId,
        /// Its number.
        session: ReplicationSession,
        /// The entry before the first.
        prev: LogId,
        /// What was read.
        entries: Vec<Entry>,
    },
}

/// A role and, under a leader, a replicator per peer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Replica {
    /// `None` only inside [`Self::become_next`].
    role: Option<Role>,
    replicators: BTreeMap<NodeId, Replicator>,
    /// The wall clock of the newest event that carried one; a new leader stamps its no-op with it.
    wall_ms: u64,
    /// Heartbeats of the step under way that keep their place behind entries. Empty between steps.
    behind: Behind,
}

impl Replica {
    /// A replica that starts as a follower.
    pub(crate) fn start(state: ReplicaState, now: Time) -> (Self, Effects) {
        let (follower, effects) = Follower::start(state, now);
        let mut replica = Self {
            role: Some(Role::Follower(follower)),
            replicators: BTreeMap::new(),
            wall_ms: 0,
            behind: Behind::default(),
        };
        let effects = replica.resolve(now, effects);
        (replica, effects)
    }

    /// The role it has.
    pub(crate) fn role(&self) -> &Role {
        self.role.as_ref().expect("a replica always has a role")
    }

    /// What it is apart from its role.
    pub(crate) fn state(&self) -> &ReplicaState {
        match self.role() {
            Role::Follower(follower) => follower.state(),
            Role::Candidate(candidate) => candidate.state(),
            Role::Leader(leader) => leader.state(),
        }
    }

    /// The replicator of a peer, where it leads.
    pub(crate) fn replicator(&self, peer: &NodeId) -> Option<&Replicator> {
        self.replicators.get(peer)
    }

    /// When [`RoleEvent::Tick`] is due.
    pub(crate) fn deadline(&self) -> Option<Time> {
        let role = match self.role() {
            Role::Follower(follower) => follower.deadline(),
            Role::Candidate(candidate) => candidate.deadline(),
            Role::Leader(leader) => leader.deadline(),
        };
        self.replicators.values().filter_map(Replicator::deadline).chain(role).min()
    }

    /// One event in, its outward effects out: replicators, changes of role and what is between them is carried out
    /// inside.
    pub(crate) fn step(&mut self, now: Time, event: ReplicaEvent) -> Effects {
        self.step_in_lanes(now, event).0
    }

    /// The same, with what tells the lane of a message.
    pub(crate) fn step_in_lanes(&mut self, now: Time, event: ReplicaEvent) -> (Effects, Behind) {
        let effects = self.step_all(now, event);
        (effects, std::mem::take(&mut self.behind))
    }

    fn step_all(&mut self, now: Time, event: ReplicaEvent) -> Effects {
        if let ReplicaEvent::Propose { wall_ms, .. }
        | ReplicaEvent::Incarnation { wall_ms, .. }
        | ReplicaEvent::Change { wall_ms, .. } = &event
        {
            self.wall_ms = self.wall_ms.max(*wall_ms);
        }
        let mut out = Effects::new();
        if let ReplicaEvent::Role(RoleEvent::Tick) = &event {
            let due: Vec<NodeId> = self.replicators.keys().cloned().collect();
            for peer in due {
                let effects = self.step_replicator(now, &peer, ReplicatorEvent::Tick);
                out.extend(self.resolve(now, effects));
            }
        }
        let effects = match event {
            ReplicaEvent::Fetched { peer, session, prev, entries } => self.step_replicator(
                now,
                &peer,
                ReplicatorEvent::Fetched { session, prev, entries: entries.into() },
            ),
            event => self.step_role(now, event),
        };
        out.extend(self.resolve(now, effects));
        out
    }

    fn step_role(&mut self, now: Time, event: ReplicaEvent) -> Effects {
        match self.role.as_mut().expect("a replica always has a role") {
            Role::Follower(follower) => match event {
                ReplicaEvent::Role(common) => follower.step(now, FollowerEvent::Role(common)),
                ReplicaEvent::Read(reads) => follower.step(now, FollowerEvent::Read(reads)),
                other => refuse(other),
            },
            Role::Candidate(candidate) => match event {
                ReplicaEvent::Role(common) => candidate.step(now, CandidateEvent::Role(common)),
                ReplicaEvent::Read(reads) => candidate.step(now, CandidateEvent::Read(reads)),
                other => refuse(other),
            },
            Role::Leader(leader) => leader.step(now, to_leader(event)),
        }
    }

    fn resolve(&mut self, now: Time, effects: Effects) -> Effects {
        let mut out = Effects::new();
        let mut queue: std::collections::VecDeque<Effect> = effects.into();
        while let Some(effect) = queue.pop_front() {
            let more = match effect {
                Effect::StartReplicator { peer, session, prev } => {
                    self.start_replicator(now, &peer, session, prev)
                }
                Effect::StopReplicator { peer } => {
                    self.replicators.remove(&peer);
                    Effects::new()
                }
                Effect::ToReplicator { peer, event } => self.step_replicator(now, &peer, event),
                Effect::Become(next) => {
                    let mut effects = self.become_next(now, next.role);
                    if let Some(message) = next.redeliver {
                        let first: Effects = self.resolve(now, std::mem::take(&mut effects));
                        out.extend(first);
                        effects = self.step_role(now, ReplicaEvent::Role(RoleEvent::Message(message)));
                    }
                    effects
                }
                outward => {
                    out.push(outward);
                    continue;
                }
            };
            for effect in more.into_iter().rev() {
                queue.push_front(effect);
            }
        }
        out
    }

    fn become_next(&mut self, now: Time, next: NextRole) -> Effects {
        let state = match self.role.take().expect("a replica always has a role") {
            Role::Follower(follower) => follower.into_state(),
            Role::Candidate(candidate) => candidate.into_state(),
            Role::Leader(leader) => leader.into_state(),
        };
        let (role, effects) = match next {
            NextRole::Follower => {
                let (follower, effects) = Follower::start(state, now);
                (Role::Follower(follower), effects)
            }
            NextRole::Candidate { forced } => {
                let (candidate, effects) = Candidate::start(state, now, forced);
                (Role::Candidate(candidate), effects)
            }
            NextRole::Leader => {
                let (leader, effects) = Leader::start(state, now, self.wall_ms);
                (Role::Leader(Box::new(leader)), effects)
            }
        };
        self.role = Some(role);
        effects
    }

    fn start_replicator(
        &mut self,
        now: Time,
        peer: &NodeId,
        session: ReplicationSession,
        prev: LogId,
    ) -> Effects {
        let state = self.state();
        let (config, commit) = (state.config().clone(), state.commit());
        let Role::Leader(leader) = self.role() else { return Effects::new() };
        let round = leader.round();
        let (replicator, effects) =
            Replicator::start(peer.clone(), session, config, now, prev, commit, round);
        self.replicators.insert(peer.clone(), replicator);
        self.carry_out(now, peer, session, effects)
    }

    fn step_replicator(&mut self, now: Time, peer: &NodeId, event: ReplicatorEvent) -> Effects {
        let Some(replicator) = self.replicators.get_mut(peer) else { return Effects::new() };
        let (session, effects) = (replicator.session(), replicator.step(now, event));
        self.carry_out(now, peer, session, effects)
    }

    fn carry_out(
        &mut self,
        now: Time,
        peer: &NodeId,
        session: ReplicationSession,
        effects: Vec<ReplicatorEffect>,
    ) -> Effects {
        let mut out = Effects::new();
        for effect in effects {
            match effect {
                ReplicatorEffect::Send(append) => {
                    self.behind.note(peer, &append);
                    out.push(Effect::Send(self.append_message(peer, append)));
                }
                ReplicatorEffect::SendAhead(append) => {
                    out.push(Effect::Send(self.append_message(peer, append)));
                }
                ReplicatorEffect::Fetch { from, bytes_max } => {
                    if let Some(Role::Leader(leader)) = self.role.as_mut() {
                        out.extend(
                            leader.step(
                                now,
                                LeaderEvent::Fetch { peer: peer.clone(), session, from, bytes_max },
                            ),
                        );
                    }
                }
            }
        }
        out
    }

    fn append_message(&self, peer: &NodeId, append: AppendEntries) -> Message {
        let (state, to) = (self.state(), peer.clone());
        let (from, boot, term) = (state.me().clone(), state.boot(), state.term());
        Message { from, to, boot, term, body: Body::AppendEntries(append) }
    }
}

fn to_leader(event: ReplicaEvent) -> LeaderEvent {
    match event {
        ReplicaEvent::Role(common) => LeaderEvent::Role(common),
        ReplicaEvent::Propose { wall_ms, proposals } => LeaderEvent::Propose { wall_ms, proposals },
        ReplicaEvent::Read(reads) => LeaderEvent::Read(reads),
        ReplicaEvent::Transfer(to) => LeaderEvent::Transfer { to },
        ReplicaEvent::Incarnation { peer, incarnation, wall_ms } => {
            LeaderEvent::Incarnation { peer, incarnation, wall_ms }
        }
        ReplicaEvent::Change { change, expected, wall_ms } => {
            LeaderEvent::ChangeMembership { change, expected, wall_ms }
        }
        ReplicaEvent::Fetched { .. } => unreachable!("goes to the replicator"),
    }
}

/// What only a leader can do, asked of another role.
fn refuse(event: ReplicaEvent) -> Effects {
    match event {
        ReplicaEvent::Propose { proposals, .. } => {
            // Its shell refuses them, with a reason of its own; core has none for it.
            vec![Effect::Refused {
                count: proposals.len(),
                reason: Refusal::TooLarge { bytes: 0, bytes_max: 0 },
            }]
        }
        ReplicaEvent::Role(_)
        | ReplicaEvent::Read(_)
        | ReplicaEvent::Transfer(_)
        | ReplicaEvent::Incarnation { .. }
        | ReplicaEvent::Change { .. }
        | ReplicaEvent::Fetched { .. } => Effects::new(),
    }
}
