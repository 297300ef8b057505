//! The follower's state and its step: which event goes to which of the other files.

use crate::effect::{Effect, Effects, NextRole, Notice, ReadId, RoleEvent};
use crate::entries::Entries;
use crate::entry::Position;
use crate::ids::{Index, NodeId, Time};
use crate::message::{Body, Message};
use crate::state::{ReplicaState, Standing, become_role};

/// A voter that the newest membership of its log leaves out stands only after so many election timeouts without a leader.
const LAPSES_BEFORE_LEAVING_VOTERS_STAND: u32 = 4;

/// What a follower is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FollowerEvent {
    /// An event that every role is told.
    Role(RoleEvent),
    /// Linearizable reads on this node: the leader is asked for the read index.
    Read(Vec<ReadId>),
}

/// Reads that wait for a read index from the leader.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct AskedReads {
    pub(super) id: u64,
    pub(super) reads: Vec<ReadId>,
    pub(super) asked_at: Time,
}

/// How far a Recovering follower has come: it needs a read index confirmed after this boot, and a log durable up to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Recovery {
    /// The leader was asked for a read index.
    Asked { id: u64, at: Time },
    /// The log must be durable up to this index.
    Target(Index),
}

/// A candidate that stands early may find the votes split: it tries once more before it waits as ever.
const EARLY_CAMPAIGNS: u32 = 2;

/// What follows from the closed connection to the leader. It is forgotten when the link is up again or the leader is heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct LeaderClosed {
    /// When this node stands; `None` if it does not, or has.
    pub(super) stands_at: Option<Time>,
}

/// A follower or learner.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Follower {
    pub(super) state: ReplicaState,
    pub(super) leader: Option<NodeId>,
    /// When the leader of this term was last heard; leader stickiness counts from here.
    pub(super) leader_heard_at: Option<Time>,
    pub(super) leader_closed: Option<LeaderClosed>,
    pub(super) election_deadline: Time,
    /// The store's answer to [`Reader::Role`](crate::Reader::Role).
    pub(super) located: Option<Position>,
    pub(super) recovery: Option<Recovery>,
    pub(super) asked_reads: Vec<AskedReads>,
    /// Election timeouts in a row without a leader, of a voter that leaves.
    pub(super) lapses: u32,
    /// Where entries were refused last, and from whom: said once, not with each attempt.
    pub(super) refused: Option<(NodeId, Index)>,
}

impl Follower {
    /// Starts to follow. The effects are to be carried out like those of a step.
    pub fn start(state: ReplicaState, now: Time) -> (Self, Effects) {
        let mut effects = Effects::new();
        let mut follower = Self {
            state: state.without_held_replies(),
            leader: None,
            leader_heard_at: None,
            leader_closed: None,
            election_deadline: now,
            located: None,
            recovery: None,
            asked_reads: Vec::new(),
            lapses: 0,
            refused: None,
        };
        follower.state.early_campaigns = 0;
        follower.reset_election_deadline(now);
        // A lone voter has no leader to wait for, and no one to disturb.
        if follower.state.membership().is_quorum(|id| *id == follower.state.me) {
            follower.election_deadline = now;
        }
        effects.push(Effect::LeaderChanged { leader: None, term: follower.state.term() });
        follower.state.ask_for_snapshot(&mut effects);
        follower.finish(now, &mut effects);
        (follower, effects)
    }

    /// One event in, its effects out.
    pub fn step(&mut self, now: Time, event: FollowerEvent) -> Effects {
        let mut effects = Effects::new();
        match event {
            FollowerEvent::Read(reads) => self.ask_read_index(now, reads, &mut effects),
            FollowerEvent::Role(event) => {
                self.state.step_common(now, &event, &mut effects);
                match event {
                    RoleEvent::Message(message) => self.message(now, message, &mut effects),
                    RoleEvent::Tick => self.tick(now, &mut effects),
                    RoleEvent::Located(position) => self.located = Some(position),
                    RoleEvent::Link { peer, link } => self.link_changed(now, &peer, link),
                    RoleEvent::SnapshotReady(base) => self.state.install(now, base, &mut effects),
                    RoleEvent::Persisted(_)
                    | RoleEvent::Applied(_)
                    | RoleEvent::ApplierRestarted(_)
                    | RoleEvent::MachineDown
                    | RoleEvent::StoreAway
                    | RoleEvent::StoreBack
                    | RoleEvent::DiskFull(_)
                    | RoleEvent::NoSnapshot
                    | RoleEvent::SnapshotWritten(_)
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
        let reads = self.asked_reads.first().map(|asked| asked.asked_at + self.state.config.election_timeout);
        let early = self.leader_closed.and_then(|closed| closed.stands_at);
        [reads, early].into_iter().flatten().chain([self.election_deadline]).min()
    }

    /// The state of the replica.
    pub fn state(&self) -> &ReplicaState {
        &self.state
    }

    /// Ends the role and passes the state to the next one.
    pub fn into_state(self) -> ReplicaState {
        self.state
    }

    /// The leader of this term, if known.
    pub fn leader(&self) -> Option<&NodeId> {
        self.leader.as_ref()
    }

    pub(super) fn reset_election_deadline(&mut self, now: Time) {
        self.election_deadline = now + self.state.draw_election_timeout();
    }

    fn finish(&mut self, now: Time, effects: &mut Effects) {
        self.leave_recovering();
        self.state.persist(now, None, Entries::default(), effects);
        if matches!(effects.last(), Some(Effect::Become(_))) {
            return;
        }
        let ceiling = self.state.commit.min(self.state.durable());
        self.state.apply_and_trim(now, ceiling, effects);
        if let Some(Recovery::Target(index)) = self.recovery
            && !self.state.hard_state.recovering
        {
            self.recovery = None;
            effects.push(Effect::Notice(Notice::Recovered { index }));
        }
    }

    fn tick(&mut self, now: Time, effects: &mut Effects) {
        self.give_up_reads(now, effects);
        if self.stands_early(now) && self.state.may_campaign(now) {
            self.state.early_campaigns = EARLY_CAMPAIGNS;
            self.stand("the leader closed its connection", effects);
            return;
        }
        if now < self.election_deadline {
            return;
        }
        self.reset_election_deadline(now);
        self.set_leader(None, effects);
        self.tell_recovering(now, effects);
        if self.state.may_campaign(now) && !self.leaves_it_to_others() {
            self.stand("heard no leader for an election timeout", effects);
        }
    }

    fn stand(&mut self, reason: &'static str, effects: &mut Effects) {
        self.refuse_reads(effects);
        effects.push(become_role(NextRole::Candidate { forced: false }, reason, None));
    }

    /// A voter that leaves stands only if, by all appearances, no other node can win.
    fn leaves_it_to_others(&mut self) -> bool {
        if self.state.membership().is_voter(&self.state.me) {
            return false;
        }
        self.lapses = (self.lapses + 1).min(LAPSES_BEFORE_LEAVING_VOTERS_STAND);
        self.lapses < LAPSES_BEFORE_LEAVING_VOTERS_STAND
    }

    pub(super) fn set_leader(&mut self, leader: Option<NodeId>, effects: &mut Effects) {
        if self.leader != leader {
            self.leader_closed = None;
            self.leader.clone_from(&leader);
            self.refuse_reads(effects);
            effects.push(Effect::LeaderChanged { leader, term: self.state.term() });
        }
    }

    fn message(&mut self, now: Time, message: Message, effects: &mut Effects) {
        // A node that no one would recognise after a loss of its disk promises nothing (`safety.md` 14).
        let is_deaf = matches!(self.state.standing(), Standing::Awaiting | Standing::Founding);
        if is_deaf || !self.state.is_for_us(&message, effects) {
            return;
        }
        if message.term > self.state.term() && self.must_follow_term(now, &message) {
            self.state.raise_term(message.term);
            self.leader_heard_at = None;
            self.set_leader(None, effects);
        }
        let (from, term) = (message.from, message.term);
        match message.body {
            Body::VoteRequest(request) => self.vote_request(now, from, &request, effects),
            Body::AppendEntries(append) => self.append_entries(now, from, term, &append, effects),
            Body::TimeoutNow => self.timeout_now(&from, term, effects),
            Body::ReadIndexReply(reply) => self.read_index_reply(term, &reply, effects),
            Body::ReadIndexRequest(request) => self.refuse_read_index(now, from, &request, effects),
            Body::VoteReply(_) | Body::AppendReply(_) => {}
        }
    }
}
