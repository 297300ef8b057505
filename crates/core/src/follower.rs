//! The follower: answers votes, takes in what the leader sends, stands when it hears nothing.
//!
//! A learner is a follower that is no voter of the membership in force. A follower whose disk lost entries is
//! *Recovering*, one whose store is away is *Awaiting* ([`Standing`]); there is no further role, so the model checker
//! sees all of it.

use std::time::Duration;

use crate::effect::{Common, Effect, Effects, NextRole, Notice, ReadId, Reader, Refusal};
use crate::entry::{Entry, EntryError, EntryKind, Position, verify_run};
use crate::ids::{Index, NodeId, Term, Time};
use crate::membership::Membership;
use crate::message::{
    Append, AppendReply, AppendResult, Body, Message, ReadIndexReply, ReadIndexRequest, VoteKind, VoteReply,
    VoteRequest,
};
use crate::state::{ReplicaState, Standing, become_role};

/// What a follower hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FollowerEvent {
    /// What every role hears.
    Common(Common),
    /// Reads on this node that want to be linearizable: the leader is asked for the index.
    Read(Vec<ReadId>),
}

/// Reads that wait for the leader's word.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct AskedReads {
    id: u64,
    reads: Vec<ReadId>,
    asked_at: Time,
}

/// The way out of Recovering: a read index confirmed after this boot, and the log durable up to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Recovery {
    /// The leader was asked.
    Asked { id: u64, at: Time },
    /// The index to reach.
    Target(Index),
}

/// A follower, or learner.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Follower {
    state: ReplicaState,
    leader: Option<NodeId>,
    /// When the leader of this term was last heard: the base of stickiness.
    leader_heard_at: Option<Time>,
    election_deadline: Time,
    /// Answer of the store to [`Reader::Role`].
    located: Option<Position>,
    recovery: Option<Recovery>,
    asked_reads: Vec<AskedReads>,
}

impl Follower {
    /// Begins to follow. The effects are those of a step.
    pub fn start(state: ReplicaState, now: Time) -> (Self, Effects) {
        let mut effects = Effects::new();
        let mut follower = Self {
            state: state.hand_over(),
            leader: None,
            leader_heard_at: None,
            election_deadline: now,
            located: None,
            recovery: None,
            asked_reads: Vec::new(),
        };
        follower.reset_election_deadline(now);
        effects.push(Effect::LeaderChanged { leader: None, term: follower.state.term() });
        follower.finish(now, &mut effects);
        (follower, effects)
    }

    /// One event in, its effects out.
    pub fn step(&mut self, now: Time, event: FollowerEvent) -> Effects {
        let mut effects = Effects::new();
        match event {
            FollowerEvent::Read(reads) => self.ask_read_index(now, reads, &mut effects),
            FollowerEvent::Common(common) => {
                self.state.step_common(&common, &mut effects);
                match common {
                    Common::Message(message) => self.message(now, message, &mut effects),
                    Common::Tick => self.tick(now, &mut effects),
                    Common::Located(position) => self.located = Some(position),
                    Common::Persisted(_)
                    | Common::Applied(_)
                    | Common::ApplierRestarted(_)
                    | Common::StoreAway
                    | Common::StoreBack
                    | Common::DiskFull(_) => {}
                }
            }
        }
        self.finish(now, &mut effects);
        effects
    }

    /// When [`Common::Tick`] is due.
    pub fn deadline(&self) -> Option<Time> {
        let reads = self.asked_reads.first().map(|asked| asked.asked_at + self.state.config.election_timeout);
        Some(reads.map_or(self.election_deadline, |at| at.min(self.election_deadline)))
    }

    /// What the replica is apart from its role.
    pub fn state(&self) -> &ReplicaState {
        &self.state
    }

    /// Gives the state to the next role.
    pub fn into_state(self) -> ReplicaState {
        self.state
    }

    /// The leader of this term, if known.
    pub fn leader(&self) -> Option<&NodeId> {
        self.leader.as_ref()
    }

    fn reset_election_deadline(&mut self, now: Time) {
        self.election_deadline = now + self.state.draw_election_timeout();
    }

    fn finish(&mut self, now: Time, effects: &mut Effects) {
        self.leave_recovering();
        self.state.persist(now, None, Vec::new(), effects);
        if matches!(effects.last(), Some(Effect::Become(_))) {
            return;
        }
        let ceiling = self.state.commit.min(self.state.durable());
        self.state.settle(ceiling, effects);
        if let Some(Recovery::Target(index)) = self.recovery
            && !self.state.hard_state.recovering
        {
            self.recovery = None;
            effects.push(Effect::Notice(Notice::Recovered { index }));
        }
    }

    fn tick(&mut self, now: Time, effects: &mut Effects) {
        self.give_up_reads(now, effects);
        if now < self.election_deadline {
            return;
        }
        self.reset_election_deadline(now);
        self.set_leader(None, effects);
        if self.may_stand(now) {
            let reason = "heard no leader for an election timeout";
            self.refuse_reads(effects);
            effects.push(become_role(NextRole::Candidate { forced: false }, reason, None));
        }
    }

    /// A voter with a working disk: one that cannot persist a vote for itself only disturbs.
    fn may_stand(&self, now: Time) -> bool {
        let stalled = self.state.durability.oldest_issued_at();
        self.state.standing() == Standing::Voter
            && stalled.is_none_or(|at| now.since(at) < self.state.config.election_timeout)
    }

    fn set_leader(&mut self, leader: Option<NodeId>, effects: &mut Effects) {
        if self.leader != leader {
            self.leader.clone_from(&leader);
            self.refuse_reads(effects);
            effects.push(Effect::LeaderChanged { leader, term: self.state.term() });
        }
    }

    fn message(&mut self, now: Time, message: Message, effects: &mut Effects) {
        if self.state.standing() == Standing::Awaiting || message.to != self.state.me {
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
            Body::Append(append) => self.append(now, from, term, &append, effects),
            Body::TimeoutNow => self.timeout_now(&from, term, effects),
            Body::ReadIndexReply(reply) => self.read_index_reply(term, &reply, effects),
            Body::ReadIndexRequest(request) => self.refuse_read_index(now, from, &request, effects),
            Body::VoteReply(_) | Body::AppendReply(_) => {}
        }
    }

    /// A pre-vote changes nothing here (`known-bugs.md` 10); a vote is not even looked at while a leader is heard
    /// (leader stickiness, thesis section 4.2.3), unless that leader asked for it.
    fn must_follow_term(&self, now: Time, message: &Message) -> bool {
        match &message.body {
            Body::VoteRequest(request) => {
                request.kind == VoteKind::Real && (request.forced || !self.hears_leader(now))
            }
            _ => true,
        }
    }

    fn hears_leader(&self, now: Time) -> bool {
        self.leader_heard_at.is_some_and(|at| now.since(at) < self.state.config.election_timeout)
    }

    fn vote_request(&mut self, now: Time, from: NodeId, request: &VoteRequest, effects: &mut Effects) {
        let up_to_date = self.state.is_up_to_date(request.last);
        let votes = matches!(self.state.standing(), Standing::Voter | Standing::Learner);
        let granted = match request.kind {
            VoteKind::Pre => {
                let free = request.forced || !self.hears_leader(now);
                votes && up_to_date && free && request.campaign > self.state.term()
            }
            VoteKind::Real => {
                let given = &self.state.hard_state.voted_for;
                let free = given.as_ref().is_none_or(|candidate| *candidate == from);
                votes && up_to_date && free && self.leader.is_none() && request.campaign == self.state.term()
            }
        };
        if granted && request.kind == VoteKind::Real {
            if self.state.hard_state.voted_for.is_none() {
                self.state.hard_state.voted_for = Some(from.clone());
                self.state.hard_state_dirty = true;
            }
            self.reset_election_deadline(now);
        }
        self.state.persist(now, None, Vec::new(), effects);
        let reply = VoteReply { kind: request.kind, campaign: request.campaign, granted };
        let reply = self.state.message(from, Body::VoteReply(reply));
        self.state.send_after_hard_state(reply, effects);
    }

    fn timeout_now(&mut self, from: &NodeId, term: Term, effects: &mut Effects) {
        let from_leader = term == self.state.term() && self.leader.as_ref() == Some(from);
        if from_leader && self.state.standing() == Standing::Voter {
            self.refuse_reads(effects);
            effects.push(become_role(
                NextRole::Candidate { forced: true },
                "the leader handed leadership over",
                None,
            ));
        }
    }

    fn append(&mut self, now: Time, from: NodeId, term: Term, append: &Append, effects: &mut Effects) {
        if term < self.state.term() {
            self.state.refuse_append(from, effects);
            return;
        }
        if let Some(known) = self.leader.clone().filter(|known| *known != from) {
            effects.push(Effect::Notice(Notice::TwoLeaders { term, known, other: from }));
            return;
        }
        self.reset_election_deadline(now);
        self.leader_heard_at = Some(now);
        self.set_leader(Some(from.clone()), effects);
        self.ask_recovery_index(now, &from, effects);
        self.take_in(now, from, term, append, effects);
    }

    /// The consistency check and what follows from it (Raft paper, section 5.3).
    fn take_in(&mut self, now: Time, from: NodeId, term: Term, append: &Append, effects: &mut Effects) {
        if let Err(error) = is_well_formed(term, append) {
            effects.push(Effect::Notice(Notice::BadEntries { from, error }));
            self.state.persist(now, None, Vec::new(), effects);
            return;
        }
        let start = self.state.tail.start().index;
        if append.prev.index >= start && self.state.tail.term_at(append.prev.index) != Some(append.prev.term)
        {
            let hint = self.state.tail.terms().last_not_above(append.prev);
            let result = AppendResult::Conflict { hint, last: self.state.last().index };
            self.state.persist(now, None, Vec::new(), effects);
            self.reply(from, append, result, effects);
            return;
        }
        // What this node compacted was committed: a leader's entries there are the same ones (`known-bugs.md` 25).
        let verified = append.prev.index.plus(append.entries.len() as u64);
        let new = match self.first_new(append, start) {
            Ok(at) => &append.entries[at..],
            Err(at) => {
                effects.push(Effect::Notice(Notice::Diverged { from, at }));
                return;
            }
        };
        // A leader's no-op is taken, as term and vote are: without one of its own term a leader serves no reads, and where a
        // majority is full none would ever be served. It is a hundred bytes, far above the end of the disk.
        let takes_room = new.iter().any(|entry| entry.kind != EntryKind::Noop);
        if takes_room && self.state.disk_full {
            self.state.persist(now, None, Vec::new(), effects);
            self.reply(from, append, AppendResult::NoSpace, effects);
            return;
        }
        if !new.is_empty() && !self.append_new(now, &from, new, effects) {
            return;
        }
        self.state.persist(now, None, Vec::new(), effects);
        // Only what this message verified is known to be the leader's (`known-bugs.md` 29).
        let commit = append.commit.min(verified).min(self.state.last().index);
        self.state.commit = self.state.commit.max(commit);
        let claim = if append.entries.is_empty() { verified.min(self.state.durable()) } else { verified };
        let claim = claim.min(self.state.last().index);
        self.reply(from, append, AppendResult::Matched { index: claim }, effects);
    }

    /// Where in the message the entries begin that this log lacks or has with another term; only a real conflict
    /// truncates (`known-bugs.md` 24). `Err` names an entry of the same term with other bytes.
    fn first_new(&self, append: &Append, start: Index) -> Result<usize, Index> {
        for (at, entry) in append.entries.iter().enumerate() {
            if entry.index <= start {
                continue;
            }
            match self.state.tail.term_at(entry.index) {
                Some(term) if term == entry.term => {
                    let ours = self.state.tail.get(entry.index);
                    if ours.is_some_and(|ours| ours.chain != entry.chain) {
                        return Err(entry.index);
                    }
                }
                Some(_) | None => return Ok(at),
            }
        }
        Ok(append.entries.len())
    }

    /// Appends `new`, first removing what conflicts. False if nothing was done.
    fn append_new(&mut self, now: Time, from: &NodeId, new: &[Entry], effects: &mut Effects) -> bool {
        let first = new[0].index;
        let Some(before) = self.place_before(first, effects) else { return false };
        let memberships = match verify_run(before, new).map(|_| memberships_in(new)) {
            Ok(Ok(memberships)) => memberships,
            Ok(Err(at)) => {
                effects.push(Effect::Notice(Notice::Diverged { from: from.clone(), at }));
                return false;
            }
            Err(error) => {
                effects.push(Effect::Notice(Notice::BadEntries { from: from.clone(), error }));
                return false;
            }
        };
        let truncate = (first <= self.state.last().index).then_some(first);
        let mut truncated_membership = false;
        if truncate.is_some() {
            assert!(
                first > self.state.commit,
                "committed immutable: {first} is at or below {}",
                self.state.commit
            );
            self.state.tail.truncate(first, before);
            truncated_membership = self.state.memberships.current_index() >= first;
            self.state.memberships.truncate(first);
        }
        for entry in new {
            self.state.tail.push(entry.clone());
        }
        let before = self.state.memberships.current_index();
        for (index, membership) in memberships {
            self.state.memberships.append(index, membership);
        }
        if self.state.memberships.current_index() != before || truncated_membership {
            effects.push(Effect::MembershipChanged(self.state.membership().clone()));
        }
        self.state.persist(now, truncate, new.to_vec(), effects);
        true
    }

    /// The place before `first` with its chain hash: from memory, else from the store, whose answer the leader's next
    /// attempt finds.
    fn place_before(&mut self, first: Index, effects: &mut Effects) -> Option<Position> {
        let index = first.prev();
        if let Ok(position) = self.state.tail.position_at(index) {
            return Some(position);
        }
        let term = self.state.tail.term_at(index);
        if let Some(position) = self.located.filter(|at| at.index == index && Some(at.term) == term) {
            return Some(position);
        }
        effects.push(Effect::ReadLog { reader: Reader::Role, from: index, through: index, bytes_max: 1 });
        None
    }

    fn reply(&mut self, to: NodeId, append: &Append, result: AppendResult, effects: &mut Effects) {
        let claim = match result {
            AppendResult::Matched { index } => Some(index),
            AppendResult::Conflict { .. } | AppendResult::NoSpace => None,
        };
        let reply =
            AppendReply { session: append.session, round: append.round, sent_at: append.sent_at, result };
        let message = self.state.message(to, Body::AppendReply(reply));
        match claim {
            Some(index) => self.state.send_after_log(index, message, effects),
            None => self.state.send_after_hard_state(message, effects),
        }
    }

    fn ask_read_index(&mut self, now: Time, reads: Vec<ReadId>, effects: &mut Effects) {
        let Some(leader) = self.leader.clone().filter(|_| self.state.standing() != Standing::Awaiting) else {
            effects.push(Effect::ReadRefused { reads, reason: Refusal::NotLeader });
            return;
        };
        let id = self.state.request_id(now);
        self.asked_reads.push(AskedReads { id, reads, asked_at: now });
        let request = Body::ReadIndexRequest(ReadIndexRequest { id, recovering: false });
        let message = self.state.message(leader, request);
        self.state.send_after_hard_state(message, effects);
    }

    fn read_index_reply(&mut self, term: Term, reply: &ReadIndexReply, effects: &mut Effects) {
        if term != self.state.term() {
            return;
        }
        if let Some(Recovery::Asked { id, .. }) = self.recovery
            && id == reply.id
        {
            self.recovery = reply.index.map(Recovery::Target);
            return;
        }
        let Some(at) = self.asked_reads.iter().position(|asked| asked.id == reply.id) else { return };
        let reads = self.asked_reads.remove(at).reads;
        effects.push(match reply.index {
            Some(index) => Effect::ReadReady { reads, index },
            None => Effect::ReadRefused { reads, reason: Refusal::NotLeader },
        });
    }

    /// Only a leader can answer; the asker should not wait for its own deadline to learn it.
    fn refuse_read_index(
        &mut self,
        now: Time,
        to: NodeId,
        request: &ReadIndexRequest,
        effects: &mut Effects,
    ) {
        let message =
            self.state.message(to, Body::ReadIndexReply(ReadIndexReply { id: request.id, index: None }));
        self.state.persist(now, None, Vec::new(), effects);
        self.state.send_after_hard_state(message, effects);
    }

    fn give_up_reads(&mut self, now: Time, effects: &mut Effects) {
        let timeout: Duration = self.state.config.election_timeout;
        let late = self.asked_reads.iter().take_while(|asked| now.since(asked.asked_at) >= timeout).count();
        for asked in self.asked_reads.drain(..late) {
            effects.push(Effect::ReadRefused { reads: asked.reads, reason: Refusal::NotLeader });
        }
    }

    fn refuse_reads(&mut self, effects: &mut Effects) {
        for asked in self.asked_reads.drain(..) {
            effects.push(Effect::ReadRefused { reads: asked.reads, reason: Refusal::NotLeader });
        }
    }

    /// While Recovering, asks the present leader for a read index that counts a majority without this node.
    fn ask_recovery_index(&mut self, now: Time, leader: &NodeId, effects: &mut Effects) {
        let timeout = self.state.config.election_timeout;
        let due = match self.recovery {
            None => true,
            Some(Recovery::Asked { at, .. }) => now.since(at) >= timeout,
            Some(Recovery::Target(_)) => false,
        };
        if !self.state.hard_state.recovering || !due {
            return;
        }
        let id = self.state.request_id(now);
        self.recovery = Some(Recovery::Asked { id, at: now });
        let request = Body::ReadIndexRequest(ReadIndexRequest { id, recovering: true });
        let message = self.state.message(leader.clone(), request);
        self.state.persist(now, None, Vec::new(), effects);
        self.state.send_after_hard_state(message, effects);
    }

    /// `safety.md` 5: only a log durable up to a read index confirmed after this boot ends it.
    fn leave_recovering(&mut self) {
        if let Some(Recovery::Target(index)) = self.recovery
            && self.state.hard_state.recovering
            && self.state.durable() >= index
            && self.state.commit >= index
        {
            self.state.hard_state.recovering = false;
            self.state.hard_state_dirty = true;
        }
    }
}

/// What every leader keeps to: the entries follow `prev`, and none is of a later term than the leader's. A message that
/// does not is a fault of its sender, and nothing in it counts.
fn is_well_formed(term: Term, append: &Append) -> Result<(), EntryError> {
    let before = append.prev;
    let Some((first, last)) = append.entries.first().zip(append.entries.last()) else { return Ok(()) };
    let follows = first.index.0.checked_sub(1) == Some(before.index.0) && first.term >= before.term;
    if !follows || last.term > term {
        let expected = Index(before.index.0.saturating_add(1));
        return Err(EntryError::Order {
            expected,
            found: if follows { last.log_id() } else { first.log_id() },
        });
    }
    Ok(())
}

/// The memberships among entries; `Err` names one that cannot be read.
fn memberships_in(entries: &[Entry]) -> Result<Vec<(Index, Membership)>, Index> {
    let kind = |entry: &&Entry| entry.kind == EntryKind::Membership;
    entries
        .iter()
        .filter(kind)
        .map(|entry| Membership::decode(&entry.payload).map(|m| (entry.index, m)).map_err(|_| entry.index))
        .collect()
}
