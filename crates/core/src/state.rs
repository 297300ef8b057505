//! What a replica is apart from its role: handed by value from the role that ends to the one that begins. Nothing is
//! shared, nothing locked.

use std::time::Duration;

use crate::apply::ApplyCursor;
use crate::config::Config;
use crate::durability::Durability;
use crate::effect::{Become, Common, Effect, Effects, NextRole};
use crate::entry::{Entry, LogId};
use crate::hard_state::HardState;
use crate::ids::{Boot, Index, NodeId, ReplicationSession, Round, Term, Time};
use crate::membership::{Membership, MembershipLog};
use crate::message::{AppendReply, AppendResult, Body, Message};
use crate::tail::Tail;

/// What was read from disk when a replica starts, and what the process knows besides.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// This node.
    pub me: NodeId,
    /// This start's boot number.
    pub boot: Boot,
    /// Term, vote and the Recovering flag.
    pub hard_state: HardState,
    /// The log.
    pub tail: Tail,
    /// The memberships in the log, the founding one first.
    pub memberships: MembershipLog,
    /// `max(durable snapshot, what the applier has applied)`: known to be committed (`safety.md` 10).
    pub commit: Index,
    /// What the applier has applied.
    pub applied: Index,
    /// Seeds the election timeouts; drawn by the caller.
    pub entropy: u64,
}

/// What a replica may do beside following. Computed, never stored, so that it cannot disagree with its causes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Standing {
    /// Votes and may stand.
    Voter,
    /// Votes when asked (the candidate's membership decides whose votes count), never stands.
    Learner,
    /// Lost entries it may have acknowledged: neither votes nor stands until it caught up.
    Recovering,
    /// The store is away: hears nothing until it is back.
    Awaiting,
}

/// State of a replica in any role (Raft paper, figure 2).
///
/// Invariants: `start <= commit <= last`, `applied <= commit`, `durable <= last`; commit and term never fall.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ReplicaState {
    pub(crate) me: NodeId,
    pub(crate) boot: Boot,
    pub(crate) config: Config,
    pub(crate) hard_state: HardState,
    /// `hard_state` has changed in this step and was not issued to the store yet.
    pub(crate) hard_state_dirty: bool,
    pub(crate) tail: Tail,
    pub(crate) memberships: MembershipLog,
    pub(crate) commit: Index,
    pub(crate) durability: Durability,
    pub(crate) apply: ApplyCursor,
    pub(crate) store_away: bool,
    pub(crate) disk_full: bool,
    /// The newest number a replicator was given; never used again by a later leadership of this replica, so that what
    /// was read for an earlier one is not sent by it.
    pub(crate) sessions: ReplicationSession,
    /// The newest number a read index was asked for with.
    requests: u64,
    /// State of the splitmix64 generator that draws election timeouts.
    entropy: u64,
}

impl ReplicaState {
    /// The state a replica starts with.
    pub fn new(loaded: Loaded, config: Config) -> Self {
        let last = loaded.tail.last().index;
        // The applier of a leader may be ahead of this disk (`safety.md` 10); those entries come again, as they were.
        let commit = loaded.commit.max(loaded.tail.start().index).min(last);
        assert!(
            loaded.tail.last().term <= loaded.hard_state.term,
            "no entry is of a later term than the hard state"
        );
        let apply = ApplyCursor::new(loaded.applied, config.apply_window_entries_max);
        Self {
            me: loaded.me,
            boot: loaded.boot,
            config,
            hard_state: loaded.hard_state,
            hard_state_dirty: false,
            durability: Durability::new(last),
            tail: loaded.tail,
            memberships: loaded.memberships,
            commit,
            apply,
            store_away: false,
            disk_full: false,
            sessions: ReplicationSession::ZERO,
            requests: 0,
            entropy: loaded.entropy,
        }
    }

    /// This node.
    pub fn me(&self) -> &NodeId {
        &self.me
    }

    /// This start's boot number.
    pub fn boot(&self) -> Boot {
        self.boot
    }

    /// The current term.
    pub fn term(&self) -> Term {
        self.hard_state.term
    }

    /// Term, vote and the Recovering flag as they are in memory.
    pub fn hard_state(&self) -> &HardState {
        &self.hard_state
    }

    /// The log in memory.
    pub fn tail(&self) -> &Tail {
        &self.tail
    }

    /// The membership in force.
    pub fn membership(&self) -> &Membership {
        self.memberships.current()
    }

    /// The newest membership that is committed.
    pub fn committed_membership(&self) -> &Membership {
        self.memberships.at(self.commit)
    }

    /// The commit index.
    pub fn commit(&self) -> Index {
        self.commit
    }

    /// The last index known to be on this node's disk.
    pub fn durable(&self) -> Index {
        self.durability.durable()
    }

    /// What the applier reported.
    pub fn applied(&self) -> Index {
        self.apply.applied()
    }

    /// What this replica may do beside following.
    pub fn standing(&self) -> Standing {
        if self.store_away {
            Standing::Awaiting
        } else if self.hard_state.recovering {
            Standing::Recovering
        } else if self.membership().is_voter(&self.me) {
            Standing::Voter
        } else {
            Standing::Learner
        }
    }

    pub(crate) fn last(&self) -> LogId {
        self.tail.last().log_id()
    }

    pub(crate) fn message(&self, to: NodeId, body: Body) -> Message {
        Message { from: self.me.clone(), to, boot: self.boot, term: self.term(), body }
    }

    /// A fresh election timeout, from the configured one to twice it, drawn anew each time (`known-bugs.md` 8).
    pub(crate) fn draw_election_timeout(&mut self) -> Duration {
        let base =
            u64::try_from(self.config.election_timeout.as_micros()).expect("a timeout is below an age");
        Duration::from_micros(base + self.draw() % base.max(1))
    }

    /// A number that no request of this node carried before. The boot in its upper bits tells it from those of earlier
    /// processes, whose clocks began anew; the clock from those of a role that panicked.
    pub(crate) fn request_id(&mut self, now: Time) -> u64 {
        const CLOCK_BITS: u32 = 48;
        let from_clock = (self.boot.0 << CLOCK_BITS) | (now.0 & ((1 << CLOCK_BITS) - 1));
        self.requests = from_clock.max(self.requests + 1);
        self.requests
    }

    fn draw(&mut self) -> u64 {
        self.entropy = self.entropy.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.entropy;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Raises the term; the vote of the old one goes with it, in the same record (`known-bugs.md` 2).
    pub(crate) fn raise_term(&mut self, term: Term) {
        assert!(term > self.hard_state.term, "terms only rise");
        self.hard_state.term = term;
        self.hard_state.voted_for = None;
        self.hard_state_dirty = true;
    }

    /// Orders a write if anything has changed.
    pub(crate) fn persist(
        &mut self,
        now: Time,
        truncate: Option<Index>,
        entries: Vec<Entry>,
        effects: &mut Effects,
    ) {
        if !self.hard_state_dirty && truncate.is_none() && entries.is_empty() {
            return;
        }
        let changed = std::mem::take(&mut self.hard_state_dirty);
        let persist = self.durability.issue(now, self.hard_state.clone(), changed, truncate, entries);
        effects.push(Effect::Persist(persist));
    }

    /// Sends a message that depends on term and vote alone, once they are durable.
    pub(crate) fn send_after_hard_state(&mut self, message: Message, effects: &mut Effects) {
        debug_assert!(!self.hard_state_dirty, "the write was ordered before the reply");
        match self.durability.hard_state_sequence() {
            Some(after) => self.durability.hold(after, message),
            None => effects.push(Effect::Send(message)),
        }
    }

    /// Sends a message that claims `index` is durable, once it is.
    pub(crate) fn send_after_log(&mut self, index: Index, message: Message, effects: &mut Effects) {
        match self.durability.log_sequence(index) {
            Some(after) => self.durability.hold(after, message),
            None => effects.push(Effect::Send(message)),
        }
    }

    /// What a completion releases, for every role.
    pub(crate) fn persisted(&mut self, sequence: crate::ids::Sequence, effects: &mut Effects) {
        let released = self.durability.complete(sequence);
        effects.extend(released.into_iter().map(Effect::Send));
    }

    /// Answers an [`Append`](crate::Append) of an earlier term: this reply's term says that it is over. It names no
    /// session and no round, for its addressee may lead this term by now and number its sessions and rounds anew: it
    /// would take an answer to the old message for one to a message of its own (`known-bugs.md` 28, 55).
    pub(crate) fn refuse_append(&mut self, to: NodeId, effects: &mut Effects) {
        let reply = AppendReply {
            session: ReplicationSession::ZERO,
            round: Round::ZERO,
            sent_at: Time::default(),
            result: AppendResult::Conflict { hint: LogId::default(), last: self.last().index },
        };
        let message = self.message(to, Body::AppendReply(reply));
        self.send_after_hard_state(message, effects);
    }

    /// The part of [`Common`] that is the same in every role.
    pub(crate) fn step_common(&mut self, event: &Common, effects: &mut Effects) {
        match event {
            Common::Persisted(sequence) => self.persisted(*sequence, effects),
            Common::Applied(through) => self.apply.applied_through(*through),
            Common::ApplierRestarted(applied) => self.apply.restart(*applied),
            Common::StoreAway => self.store_away = true,
            Common::StoreBack => {
                self.store_away = false;
                effects.extend(self.durability.resend().into_iter().map(Effect::Persist));
                self.apply.restart(self.apply.applied());
            }
            Common::DiskFull(full) => self.disk_full = *full,
            Common::Message(_) | Common::Tick | Common::Located(_) => {}
        }
    }

    /// Hands on what may be applied, and forgets what memory need not hold. `ceiling` is the commit index for a
    /// leader, and no more than the durable index for everyone else (`safety.md` 10).
    pub(crate) fn settle(&mut self, ceiling: Index, effects: &mut Effects) {
        self.apply.pump(&self.tail, ceiling, effects);
        // What an applier has not been handed yet it gets from disk: one that is gone for good must not hold memory.
        let through = self.commit.min(self.durable());
        self.tail.trim(through, self.config.tail_bytes_max);
        self.memberships.settle(self.commit);
    }

    /// Whether the entry `last` is at least as new as this log's end (Raft paper, section 5.4.1).
    pub(crate) fn is_up_to_date(&self, last: LogId) -> bool {
        last >= self.last()
    }

    /// The end of a role: what it held back was its own promise.
    pub(crate) fn hand_over(mut self) -> Self {
        self.durability.release_nothing();
        self
    }
}

/// The last effect of a step that ends a role.
pub(crate) fn become_role(role: NextRole, reason: &'static str, redeliver: Option<Message>) -> Effect {
    Effect::Become(Become { role, reason, redeliver })
}
