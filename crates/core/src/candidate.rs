//! The candidate: asks whether it would win (pre-vote, Raft thesis section 9.6), then asks for votes.
//!
//! A pre-vote changes nothing on any node, so a node that was cut off comes back without deposing a healthy leader. The
//! candidate's vote for itself is durable before it asks for others.

use std::collections::BTreeSet;

use crate::effect::{Effect, Effects, NextRole, ReadId, RoleEvent};
use crate::entries::Entries;
use crate::ids::{NodeId, Term, Time};
use crate::message::{Body, MachineProgress, Message, ReadIndexReply, VoteKind, VoteReply, VoteRequest};
use crate::state::{ReplicaState, Standing, become_role};

/// Campaigns in a row that yield to voters whose machines have come much further; in the next one the candidate insists. By
/// then, better nodes have campaigned or cannot.
const CAMPAIGNS_THAT_YIELD: u32 = 4;

/// What a candidate is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CandidateEvent {
    /// An event that every role is told.
    Role(RoleEvent),
    /// Linearizable reads: refused, no leader is known.
    Read(Vec<ReadId>),
}

/// The phase of a campaign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Asking which nodes would vote.
    PreVote,
    /// Asking for votes in the current term.
    Vote,
}

/// A node that campaigns.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Candidate {
    state: ReplicaState,
    phase: Phase,
    forced: bool,
    /// Who would vote for it. Sets, so that a reply that arrives twice counts once (`known-bugs.md` 6).
    granted: BTreeSet<NodeId>,
    /// Who refused in this phase.
    rejected: BTreeSet<NodeId>,
    /// Who voted for it in the current term; empty if this candidate has not asked in it. Kept while it asks for the next
    /// pre-votes: a voter with a slow disk answers those and the vote with the same write, the vote first. Without it each
    /// such vote would come too late, and ask for another one.
    votes: BTreeSet<NodeId>,
    deadline: Time,
    /// Its machine may be far behind: until then a pre-vote is won only once every voter has answered, for one of them may
    /// lead better.
    waits_for_all: Option<Time>,
}

impl Candidate {
    /// Starts a campaign; `forced` (a leadership transfer) skips the pre-vote.
    pub fn start(state: ReplicaState, now: Time, forced: bool) -> (Self, Effects) {
        let mut candidate = Self {
            state: state.without_held_replies(),
            phase: Phase::PreVote,
            forced,
            granted: BTreeSet::new(),
            rejected: BTreeSet::new(),
            votes: BTreeSet::new(),
            deadline: now,
            waits_for_all: None,
        };
        let mut effects = vec![Effect::LeaderChanged { leader: None, term: candidate.state.term() }];
        candidate.campaign(now, &mut effects);
        candidate.finish(now, &mut effects);
        (candidate, effects)
    }

    /// One event in, its effects out.
    pub fn step(&mut self, now: Time, event: CandidateEvent) -> Effects {
        let mut effects = Effects::new();
        match event {
            CandidateEvent::Read(reads) => {
                effects.push(Effect::ReadRefused { reads });
            }
            CandidateEvent::Role(event) => {
                self.state.step_common(now, &event, &mut effects);
                match event {
                    RoleEvent::Message(message) => self.message(now, message, &mut effects),
                    RoleEvent::Tick => self.tick(now, &mut effects),
                    RoleEvent::Persisted(_) => self.check_won(now, &mut effects),
                    RoleEvent::StoreAway => {
                        effects.push(become_role(NextRole::Follower, "the store is away", None));
                    }
                    RoleEvent::Applied(_)
                    | RoleEvent::ApplierRestarted(_)
                    | RoleEvent::Located(_)
                    | RoleEvent::MachineDown
                    | RoleEvent::StoreBack
                    | RoleEvent::DiskFull(_)
                    | RoleEvent::Link { .. }
                    | RoleEvent::SnapshotWritten(_)
                    | RoleEvent::SnapshotReady(_)
                    | RoleEvent::NoSnapshot
                    | RoleEvent::Compact(_)
                    | RoleEvent::Admitted(_) => {}
                }
            }
        }
        self.finish(now, &mut effects);
        effects
    }

    /// When [`RoleEvent::Tick`] is due.
    pub fn deadline(&self) -> Option<Time> {
        let waits = self.waits_for_all.filter(|_| self.phase == Phase::PreVote);
        Some(waits.map_or(self.deadline, |at| at.min(self.deadline)))
    }

    /// The state of the replica.
    pub fn state(&self) -> &ReplicaState {
        &self.state
    }

    /// Ends the role and passes the state to the next one.
    pub fn into_state(self) -> ReplicaState {
        self.state
    }

    /// Whether it asks for pre-votes or for votes.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    fn finish(&mut self, now: Time, effects: &mut Effects) {
        let ended = matches!(effects.last(), Some(Effect::Become(_)));
        if !ended && self.state.standing() != Standing::Voter {
            // What it learned to be committed took its vote.
            effects.push(become_role(NextRole::Follower, "may not campaign", None));
        }
        if !matches!(effects.last(), Some(Effect::Become(_))) {
            let ceiling = self.state.commit.min(self.state.durable());
            self.state.apply_and_trim(now, ceiling, effects);
        }
    }

    fn campaign(&mut self, now: Time, effects: &mut Effects) {
        self.deadline = now + self.state.draw_campaign();
        self.granted.clear();
        self.rejected.clear();
        self.granted.insert(self.state.me.clone());
        if self.forced {
            self.begin_vote(now, effects);
        } else {
            self.phase = Phase::PreVote;
            self.state.campaigns = (self.state.campaigns + 1) % (CAMPAIGNS_THAT_YIELD + 1);
            let yields = self.state.campaigns > 0;
            let applied = yields.then(|| self.state.machine_at(now));
            let waits = yields && self.state.may_be_behind(now);
            self.waits_for_all = waits.then(|| now + 2 * self.state.config.heartbeat_interval);
            self.request(VoteKind::Pre, self.state.term().next(), applied, effects);
            self.check_won(now, effects);
        }
    }

    fn begin_vote(&mut self, now: Time, effects: &mut Effects) {
        self.phase = Phase::Vote;
        self.rejected.clear();
        self.votes = BTreeSet::from([self.state.me.clone()]);
        self.state.raise_term(self.state.term().next());
        self.state.hard_state.voted_for = Some(self.state.me.clone());
        self.state.persist(now, None, Entries::default(), effects);
        effects.push(Effect::LeaderChanged { leader: None, term: self.state.term() });
        self.request(VoteKind::Real, self.state.term(), None, effects);
        self.check_won(now, effects);
    }

    fn request(
        &mut self,
        kind: VoteKind,
        campaign: Term,
        applied: Option<MachineProgress>,
        effects: &mut Effects,
    ) {
        let (last, forced) = (self.state.last(), self.forced);
        let me = &self.state.me;
        let voters: Vec<NodeId> =
            self.state.membership().all_voters().filter(|id| *id != me).cloned().collect();
        for voter in voters {
            let request = VoteRequest { kind, campaign, last, forced, applied };
            let message = self.state.message(voter, Body::VoteRequest(request));
            self.state.send_after_hard_state(message, effects);
        }
    }

    fn tick(&mut self, now: Time, effects: &mut Effects) {
        if self.waits_for_all.take_if(|until| now >= *until).is_some() && self.phase == Phase::PreVote {
            self.check_won(now, effects);
        }
        if now < self.deadline || matches!(effects.last(), Some(Effect::Become(_))) {
            return;
        }
        let stalled = self.state.durability.oldest_issued_at();
        if stalled.is_some_and(|at| now.since(at) >= self.state.config.election_timeout) {
            effects.push(become_role(NextRole::Follower, "the disk did not persist the vote in time", None));
        } else {
            self.forced = false;
            self.campaign(now, effects);
        }
    }

    fn message(&mut self, now: Time, message: Message, effects: &mut Effects) {
        if !self.state.is_for_us(&message, effects) {
            return;
        }
        let pre_vote = matches!(&message.body, Body::VoteRequest(request) if request.kind == VoteKind::Pre);
        if message.term > self.state.term() && !pre_vote {
            effects.push(become_role(NextRole::Follower, "saw a higher term", Some(message)));
            return;
        }
        let (from, term) = (message.from.clone(), message.term);
        match &message.body {
            Body::VoteRequest(request) => self.vote_request(now, from, request, effects),
            Body::VoteReply(reply) => self.vote_reply(now, from, reply, effects),
            Body::AppendEntries(_) if term == self.state.term() => {
                effects.push(become_role(NextRole::Follower, "another node leads this term", Some(message)));
            }
            Body::AppendEntries(_) => self.state.refuse_append(from, effects),
            Body::ReadIndexRequest(request) => {
                let reply = Body::ReadIndexReply(ReadIndexReply { id: request.id, index: None });
                let message = self.state.message(from, reply);
                self.state.send_after_hard_state(message, effects);
            }
            Body::TimeoutNow | Body::AppendReply(_) | Body::ReadIndexReply(_) => {}
        }
    }

    /// A candidate answers votes, too: if candidates ignored each other's pre-votes, a cluster might never elect a leader
    /// (`known-bugs.md` 12). In the vote phase its own vote of this term is already given, to itself.
    fn vote_request(&mut self, now: Time, from: NodeId, request: &VoteRequest, effects: &mut Effects) {
        let leads_better = self.state.leads_better(now, request);
        let free = match request.kind {
            // As a follower: granted with the write of its own vote, it would release other candidates at that moment.
            VoteKind::Pre => {
                let new = request.campaign > self.state.term();
                new && !leads_better && self.state.vote_under_way().is_none()
            }
            VoteKind::Real => {
                request.campaign == self.state.term()
                    && self.state.hard_state.voted_for.as_ref() == Some(&from)
            }
        };
        let no_voter = self.state.knows_no_voter(&from, request.last);
        let granted = free && !no_voter && self.state.is_up_to_date(request.last);
        let VoteRequest { kind, campaign, .. } = *request;
        let recovering = false;
        let reply = VoteReply { kind, campaign, granted, leads_better, recovering, no_voter };
        let message = self.state.message(from, Body::VoteReply(reply));
        self.state.send_after_hard_state(message, effects);
    }

    fn vote_reply(&mut self, now: Time, from: NodeId, reply: &VoteReply, effects: &mut Effects) {
        let is_vote = reply.kind == VoteKind::Real && reply.campaign == self.state.term();
        let is_late = is_vote && self.phase == Phase::PreVote && reply.granted && !self.votes.is_empty();
        let current = match self.phase {
            Phase::PreVote => reply.kind == VoteKind::Pre && reply.campaign == self.state.term().next(),
            Phase::Vote => is_vote,
        };
        if !(current || is_late) || !self.state.membership().is_voter(&from) {
            return;
        }
        if reply.granted {
            let voters = if is_vote { &mut self.votes } else { &mut self.granted };
            voters.insert(from);
            self.check_won(now, effects);
        } else if reply.leads_better && self.phase == Phase::PreVote {
            effects.push(become_role(NextRole::Follower, "a voter with a machine further on can lead", None));
        } else if reply.no_voter {
            self.state.told_no_voter(from, effects);
            effects.push(become_role(NextRole::Follower, "has no vote in the committed membership", None));
        } else {
            self.rejected.insert(from);
            let lost = self.state.membership().is_quorum(|id| self.rejected.contains(id));
            if lost {
                effects.push(become_role(NextRole::Follower, "a majority refused the vote", None));
            } else {
                self.check_won(now, effects);
            }
        }
    }

    fn check_won(&mut self, now: Time, effects: &mut Effects) {
        if self.state.standing() != Standing::Voter {
            effects.push(become_role(NextRole::Follower, "may not campaign", None));
            return;
        }
        let is_quorum = |of: &BTreeSet<NodeId>| self.state.membership().is_quorum(|id| of.contains(id));
        if is_quorum(&self.votes) {
            // The candidate's own vote counts once it is on disk, like any other vote.
            if self.state.durability.hard_state_sequence().is_none() {
                effects.push(become_role(NextRole::Leader, "elected by a majority", None));
            }
            return;
        }
        let answered = |id: &&NodeId| self.granted.contains(*id) || self.rejected.contains(*id);
        let waits =
            self.waits_for_all.is_some() && !self.state.membership().all_voters().all(|id| answered(&id));
        if self.phase == Phase::PreVote && !waits && is_quorum(&self.granted) {
            self.begin_vote(now, effects);
        }
    }
}
