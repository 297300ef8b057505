//! The state of a replica in every role. A role that ends passes it by value to the next one: nothing is shared, nothing
//! locked.

pub(crate) mod campaign;
pub(crate) mod membership;
pub(crate) mod room;
pub(crate) mod snapshots;

use std::collections::BTreeSet;

use crate::apply::{ApplyCursor, Awaits};
use crate::config::Config;
use crate::durability::Durability;
use crate::effect::{Become, Effect, Effects, NextRole, Notice, RoleEvent};
use crate::entries::Entries;
use crate::entry::{LogId, Position};
use crate::hard_state::HardState;
use crate::ids::{Boot, Index, NodeId, ReplicationSession, Round, Term, Time};
use crate::membership::MembershipLog;
use crate::message::{AppendReply, AppendResult, Body, Message};
use crate::random::SplitMix64;
use crate::tail::Tail;

/// Largest accepted jump of the term. No series of elections reaches it; even repeated, it cannot exhaust a u64.
const TERM_JUMP_MAX: u64 = 1 << 32;

/// What a replica starts with: what was read from disk, and what the process knows beside it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The node this replica runs on.
    pub me: NodeId,
    /// This start's boot number.
    pub boot: Boot,
    /// Term, vote and the Recovering flag.
    pub hard_state: HardState,
    /// The newest entries of the log and the terms of all of it.
    pub tail: Tail,
    /// The memberships in the log, the founding one first.
    pub memberships: MembershipLog,
    /// `max(durable snapshot, what the applier has applied)`: known to be committed (`safety.md` 10).
    pub commit: Index,
    /// The last entry the applier has applied, or that its machine was made of.
    pub applied: LogId,
    /// Founding members that have not admitted this node yet (`safety.md` 14). Of interest only as long as nothing has happened since the
    /// group was founded, in the term in which its log begins: zero, or that of the snapshot that it was restored from.
    pub unmet: BTreeSet<NodeId>,
    /// Seeds the election timeouts; drawn by the caller.
    pub entropy: u64,
}

/// What a replica may do beside following. It is computed and never stored, so it cannot disagree with its causes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Standing {
    /// Votes and may campaign.
    Voter,
    /// Votes when asked (the candidate's membership decides whose votes count), never campaigns.
    Learner,
    /// The membership in force does not name it: it was removed, or its log has not come to where it was taken in. Votes when asked, as
    /// a learner does, unless it knows no membership at all; never campaigns.
    Outside,
    /// Has never taken part, and some founding member does not have its incarnation on disk yet: ignores every message until
    /// each has (`safety.md` 14).
    Founding,
    /// Lost entries that it may have acknowledged: neither votes nor campaigns until it has caught up (`safety.md` 5).
    Recovering,
    /// The store is away: ignores every message until it is back (`safety.md` 9).
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
    /// `hard_state` has changed in this step, and the write is not ordered yet.
    pub(crate) hard_state_dirty: bool,
    pub(crate) tail: Tail,
    pub(crate) memberships: MembershipLog,
    /// A voter said that this node has no vote: while the membership of this index is in force, it does not stand.
    told_no_voter: Option<Index>,
    pub(crate) commit: Index,
    pub(crate) durability: Durability,
    pub(crate) apply: ApplyCursor,
    /// Where the newest published snapshot of this node ends, as far as this replica was told.
    snapshot: Option<Position>,
    /// A snapshot up to here is written, and is published once the log is on disk that far.
    unpublished: Option<Index>,
    pub(crate) store_away: bool,
    pub(crate) disk_full: bool,
    /// Of a full disk's reserve, so many bytes may be used for commands: see [`room`].
    reserve_left: usize,
    /// Founding members that have not admitted this node yet; a term above the one it was founded in makes it meaningless.
    unmet: BTreeSet<NodeId>,
    /// The term before the first entry, when this log was loaded.
    founded_in: Term,
    /// The newest replication session. A later leadership of this replica does not use it again, so entries read for an
    /// earlier session are never sent by a later one.
    pub(crate) sessions: ReplicationSession,
    /// The newest id of a read index request.
    requests: u64,
    /// What the machine had applied when this log was loaded, if the log is not known to have it: until then, what the applier reports says
    /// nothing of this log.
    ahead: Option<Index>,
    /// Draws election timeouts.
    random: SplitMix64,
    /// Campaigns since a leader was last heard, or since this node last insisted on its own.
    pub(crate) campaigns: u32,
    /// Campaigns left that wait for a short time only, because the leader's process most likely died (`safety.md` 17).
    pub(crate) early_campaigns: u32,
}

impl ReplicaState {
    /// The state of a replica that starts.
    pub fn new(loaded: Loaded, config: Config) -> Self {
        let last = loaded.tail.last().index;
        // What the machine has applied is committed. It says something of this log only if the log has that very entry: the machine may
        // have been made of a snapshot that was fetched, and the write that replaces the log was lost. The applier of a leader may also be
        // ahead of this disk (`safety.md` 10); the same entries will be appended again.
        let applied = loaded.applied.index;
        let is_of_log = loaded.tail.term_at(applied) == Some(loaded.applied.term);
        let known = if is_of_log { loaded.commit } else { Index::ZERO };
        let commit = known.max(loaded.tail.start().index).min(last);
        assert!(
            loaded.tail.last().term <= loaded.hard_state.term,
            "no entry is of a later term than the hard state"
        );
        let founded_in = loaded.tail.start().term;
        let mut apply = ApplyCursor::new(applied, &config);
        if applied < loaded.tail.start().index {
            apply.wait_for(Time::default(), Awaits::Snapshot);
        }
        Self {
            me: loaded.me,
            boot: loaded.boot,
            config,
            hard_state: loaded.hard_state,
            hard_state_dirty: false,
            durability: Durability::new(last),
            tail: loaded.tail,
            memberships: loaded.memberships,
            told_no_voter: None,
            commit,
            apply,
            snapshot: None,
            unpublished: None,
            store_away: false,
            disk_full: false,
            reserve_left: 0,
            unmet: loaded.unmet,
            founded_in,
            sessions: ReplicationSession::ZERO,
            requests: 0,
            ahead: (!is_of_log && applied > commit).then_some(applied),
            random: SplitMix64::from_state(loaded.entropy),
            campaigns: 0,
            early_campaigns: 0,
        }
    }

    /// The node this replica runs on.
    pub fn me(&self) -> &NodeId {
        &self.me
    }

    /// This start's boot number.
    pub fn boot(&self) -> Boot {
        self.boot
    }

    /// The settings it was started with.
    pub fn config(&self) -> &Config {
        &self.config
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

    /// The commit index.
    pub fn commit(&self) -> Index {
        self.commit
    }

    /// The last index known to be on this node's disk.
    pub fn durable(&self) -> Index {
        self.durability.durable()
    }

    /// The last index the applier has reported.
    pub fn applied(&self) -> Index {
        self.apply.applied()
    }

    /// How much is committed and not applied by this node's machine: entries, and bytes of those in memory.
    pub fn apply_lag(&self) -> (u64, usize) {
        let entries = self.commit.0.saturating_sub(self.applied().0);
        (entries, self.apply.lag_bytes(&self.tail, self.commit))
    }

    /// The founding members that must admit this node before it takes part; empty unless it is [`Standing::Founding`].
    pub fn unmet(&self) -> impl Iterator<Item = &NodeId> {
        let waits = self.standing() == Standing::Founding;
        self.unmet.iter().filter(move |_| waits)
    }

    pub(crate) fn last(&self) -> LogId {
        self.tail.last().log_id()
    }

    pub(crate) fn message(&self, to: NodeId, body: Body) -> Message {
        Message { from: self.me.clone(), to, boot: self.boot, term: self.term(), body }
    }

    /// An id that no read index request of this node carried before. The boot number in its upper bits tells it from ids of
    /// earlier processes, whose clocks began at the same value; the clock tells it from ids of a role that panicked.
    pub(crate) fn request_id(&mut self, now: Time) -> u64 {
        const CLOCK_BITS: u32 = 48;
        let from_clock = (self.boot.0 << CLOCK_BITS) | (now.0 & ((1 << CLOCK_BITS) - 1));
        self.requests = from_clock.max(self.requests + 1);
        self.requests
    }

    /// Raises the term and clears the vote, which are one record (`known-bugs.md` 2).
    pub(crate) fn raise_term(&mut self, term: Term) {
        assert!(term > self.hard_state.term, "terms only rise");
        self.hard_state.term = term;
        self.hard_state.voted_for = None;
        self.hard_state_dirty = true;
    }

    /// Orders a write if there is anything to write.
    pub(crate) fn persist(
        &mut self,
        now: Time,
        truncate: Option<Index>,
        entries: Entries,
        effects: &mut Effects,
    ) {
        if !self.hard_state_dirty && truncate.is_none() && entries.is_empty() {
            return;
        }
        self.count_room(&entries);
        let changed = std::mem::take(&mut self.hard_state_dirty);
        let persist = self.durability.issue(now, self.hard_state.clone(), changed, truncate, entries);
        effects.push(Effect::Persist(persist));
    }

    /// Sends a message that depends on term and vote alone, once they are durable.
    pub(crate) fn send_after_hard_state(&mut self, message: Message, effects: &mut Effects) {
        debug_assert!(!self.hard_state_dirty, "the write is ordered before the reply");
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

    /// Sends what waited for this write.
    pub(crate) fn persisted(&mut self, now: Time, sequence: crate::ids::Sequence, effects: &mut Effects) {
        let released = self.durability.complete(now, sequence);
        effects.extend(released.into_iter().map(Effect::Send));
    }

    /// Answers an [`AppendEntries`](crate::AppendEntries) of an earlier term with the current term. Session and round stay
    /// zero: the addressee may lead the current term and must not count this as an answer to a new message
    /// (`known-bugs.md` 28, 55).
    pub(crate) fn refuse_append(&mut self, to: NodeId, effects: &mut Effects) {
        let reply = AppendReply {
            session: ReplicationSession::ZERO,
            round: Round::ZERO,
            sent_at: Time::default(),
            result: AppendResult::Conflict { hint: LogId::default(), last: self.last().index },
            disk_full: self.disk_full,
            recovering: self.hard_state.recovering,
            machine_down: self.apply.is_down(),
            applied: None,
        };
        let message = self.message(to, Body::AppendReply(reply));
        self.send_after_hard_state(message, effects);
    }

    /// Whether the message is for this replica, and of a term that can be. A term is raised by one for an election; one that
    /// is far above would be taken over by every node, and at the end of the counter there are no more elections.
    pub(crate) fn is_for_us(&self, message: &Message, effects: &mut Effects) -> bool {
        let can_be = message.term.0.saturating_sub(self.term().0) <= TERM_JUMP_MAX;
        if !can_be {
            let (from, term) = (message.from.clone(), message.term);
            effects.push(Effect::Notice(Notice::TermJump { from, term }));
        }
        can_be && message.to == self.me
    }

    /// What every role does alike on a [`RoleEvent`].
    pub(crate) fn step_common(&mut self, now: Time, event: &RoleEvent, effects: &mut Effects) {
        match event {
            // A node that joins has applied entries before it knows any membership: no log could begin there.
            // One from before a snapshot that was installed meanwhile is published as ever: what wrote it waits for that.
            RoleEvent::SnapshotWritten(index)
                if !self.memberships.is_known_at(*index) && *index > self.tail.start().index => {}
            RoleEvent::Persisted(sequence) => self.persisted(now, *sequence, effects),
            RoleEvent::Applied(through) => {
                self.apply.applied_through(now, *through);
                self.ahead = self.ahead.filter(|at| *at > self.commit);
                if self.ahead.is_none() {
                    // The applier of a role that ended may have been at more than was known when this one started.
                    self.commit = self.commit.max((*through).min(self.last().index));
                }
            }
            RoleEvent::ApplierRestarted(applied) => self.machine_restarted(now, *applied, effects),
            RoleEvent::MachineDown => self.apply.machine_down(),
            RoleEvent::StoreAway => self.store_away = true,
            RoleEvent::StoreBack => {
                self.store_away = false;
                effects.extend(self.durability.resend().into_iter().map(Effect::Persist));
                self.machine_restarted(now, self.apply.applied(), effects);
            }
            RoleEvent::DiskFull(full) => self.disk_full = *full,
            RoleEvent::SnapshotWritten(index) => self.unpublished = self.unpublished.max(Some(*index)),
            RoleEvent::SnapshotReady(base) => self.snapshots_known(now, Some(base.at), effects),
            RoleEvent::NoSnapshot => self.snapshots_known(now, None, effects),
            RoleEvent::Compact(through) => self.compact(*through, effects),
            RoleEvent::Admitted(peer) => {
                let waited = self.standing() == Standing::Founding;
                self.unmet.remove(peer);
                if waited && self.standing() != Standing::Founding {
                    effects.push(Effect::Notice(Notice::Founded));
                }
            }
            RoleEvent::Message(_) | RoleEvent::Tick | RoleEvent::Located(_) | RoleEvent::Link { .. } => {}
        }
    }

    /// Hands the applier what it may apply, and drops entries that memory need not hold. `ceiling` is the commit index for a
    /// leader, and at most the durable index for every other role (`safety.md` 10).
    pub(crate) fn apply_and_trim(&mut self, now: Time, ceiling: Index, effects: &mut Effects) {
        self.publish_snapshot(effects);
        self.apply.hand_over_committed(now, &self.tail, ceiling, effects);
        // Entries that were not handed to the applier are read from disk later: an applier that has failed for good must not
        // hold memory.
        let through = self.commit.min(self.durable());
        self.tail.trim(through, self.config.tail_bytes_max);
        self.settle_memberships(effects);
    }

    /// Whether the entry `last` is at least as new as this log's end (Raft paper, section 5.4.1).
    pub(crate) fn is_up_to_date(&self, last: LogId) -> bool {
        last >= self.last()
    }

    /// Ends a role: the replies it held back were promises of that role, and are dropped.
    pub(crate) fn without_held_replies(mut self) -> Self {
        self.durability.drop_held_replies();
        self
    }
}

/// The last effect of a step that ends a role.
pub(crate) fn become_role(role: NextRole, reason: &'static str, redeliver: Option<Message>) -> Effect {
    Effect::Become(Become { role, reason, redeliver })
}
