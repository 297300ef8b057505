//! Stage 4 of 7, Replicated, at the peer: from an AppendEntries message to this log and its disk (Raft paper, section 5.3).
//!
//! [`Follower::append_entries`] checks term and sender, `accept_entries` the entry before, `find_conflict` where the logs part,
//! `append_new` the hash chain; then the write is ordered, and the reply waits until this disk has it.

use crate::effect::{Effect, Effects, Notice, Reader, SnapshotWanted};
use crate::entries::Entries;
use crate::entry::{Entry, EntryError, EntryKind, LogId, Position, verify_run};
use crate::follower::role::Follower;
use crate::ids::{Index, NodeId, Term, Time};
use crate::membership::Membership;
use crate::message::{AppendEntries, AppendReply, AppendResult, Body};

/// An AppendEntries message on its way through the checks.
#[derive(Clone, Copy)]
struct Incoming<'a> {
    now: Time,
    from: &'a NodeId,
    term: Term,
    append: &'a AppendEntries,
}

impl Follower {
    pub(super) fn append_entries(
        &mut self,
        now: Time,
        from: NodeId,
        term: Term,
        append: &AppendEntries,
        effects: &mut Effects,
    ) {
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
        self.leader_closed = None;
        self.lapses = 0;
        self.state.campaigns = 0;
        self.set_leader(Some(from.clone()), effects);
        self.ask_recovery_index(now, &from, effects);
        self.accept_entries(Incoming { now, from: &from, term, append }, effects);
    }

    /// The consistency check and what follows from it (Raft paper, section 5.3).
    fn accept_entries(&mut self, incoming: Incoming<'_>, effects: &mut Effects) {
        let Incoming { from, term, append, .. } = incoming;
        if let Err(error) = check_well_formed(term, append) {
            let at = append.entries.first().map_or(append.prev.index, |first| first.index);
            self.refuse_entries(incoming, at, Notice::BadEntries { from: from.clone(), error }, effects);
            return;
        }
        let start = self.state.tail.start().index;
        if append.prev.index >= start && self.state.tail.term_at(append.prev.index) != Some(append.prev.term)
        {
            let hint = self.state.tail.terms().last_not_above(append.prev);
            self.fetch_offered(from, append, effects);
            let result = AppendResult::Conflict { hint, last: self.state.last().index };
            self.reply(incoming, result, effects);
            return;
        }
        // What this node has compacted was committed: the leader has the same entries there (`known-bugs.md` 25).
        let mut verified = append.prev.index.plus(append.entries.len() as u64);
        let mut new = match self.find_conflict(append, start) {
            Ok(at) => append.entries.slice(at..append.entries.len()),
            Err(at) => {
                self.refuse_entries(incoming, at, Notice::Diverged { from: from.clone(), at }, effects);
                return;
            }
        };
        let fits = self.state.fits(term, &new);
        if fits < new.len() {
            new = new.slice(0..fits);
            let Some(last) = new.last() else {
                self.reply(incoming, AppendResult::NoSpace, effects);
                return;
            };
            verified = last.index;
        }
        if !new.is_empty() && !self.append_new(incoming, &new, effects) {
            return;
        }
        if !append.entries.is_empty() {
            self.refused = None;
        }
        // Only what this message has verified is known to match the leader's log (`known-bugs.md` 29).
        let commit = append.commit.min(verified).min(self.state.last().index);
        self.state.commit = self.state.commit.max(commit);
        let claim = if append.entries.is_empty() { verified.min(self.state.durable()) } else { verified };
        let claim = claim.min(self.state.last().index);
        self.reply(incoming, AppendResult::Matched { index: claim }, effects);
    }

    /// The leader's log no longer has what this one lacks. Said with each heartbeat; who fetches knows that it does.
    fn fetch_offered(&self, from: &NodeId, append: &AppendEntries, effects: &mut Effects) {
        let LogId { term, index } = append.prev;
        if let Some(chain) = append.snapshot.filter(|_| index > self.state.commit) {
            let at = Position { index, term, chain };
            effects.push(Effect::FetchSnapshot(SnapshotWanted::Offered { from: from.clone(), at }));
        }
    }

    /// The place in the message of the first entry that this log lacks or has with another term. A message without such an
    /// entry truncates nothing (`known-bugs.md` 24). `Err` is the index of an entry of the same term with other bytes.
    fn find_conflict(&self, append: &AppendEntries, start: Index) -> Result<usize, Index> {
        for (at, entry) in append.entries.iter().enumerate() {
            if entry.index < start {
                continue;
            }
            // What this log begins after was committed: a leader that has another entry there is of another history.
            if entry.index == start {
                if entry.log_id() != self.state.tail.start() {
                    return Err(entry.index);
                }
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

    /// Removes what conflicts, then appends `new`. False if nothing was done.
    fn append_new(&mut self, incoming: Incoming<'_>, new: &Entries, effects: &mut Effects) -> bool {
        let from = incoming.from.clone();
        let first = new[0].index;
        let Some(before) = self.position_before(first, effects) else { return false };
        let memberships = match verify_run(before, new).map(|_| memberships_in(new)) {
            Ok(Ok(memberships)) => memberships,
            Ok(Err(at)) => {
                self.refuse_entries(incoming, at, Notice::Diverged { from, at }, effects);
                return false;
            }
            Err(error) => {
                self.refuse_entries(incoming, first, Notice::BadEntries { from, error }, effects);
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
        self.state.tail.append(new);
        let before = self.state.memberships.current_index();
        for (index, membership) in memberships {
            self.state.memberships.append(index, membership);
        }
        if self.state.memberships.current_index() != before || truncated_membership {
            self.state.tell_membership(effects);
        }
        self.state.persist(incoming.now, truncate, new.clone(), effects);
        true
    }

    /// The position before `first`, with its chain hash: from memory, otherwise from the store. In that case this message is
    /// dropped, and the leader's next attempt finds the answer.
    fn position_before(&mut self, first: Index, effects: &mut Effects) -> Option<Position> {
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

    /// Answers, so that the leader does not take the message for lost and resend it at once; says why, once for each place.
    fn refuse_entries(&mut self, incoming: Incoming<'_>, at: Index, why: Notice, effects: &mut Effects) {
        let place = Some((incoming.from.clone(), at));
        if self.refused != place {
            self.refused = place;
            effects.push(Effect::Notice(why));
        }
        self.reply(incoming, AppendResult::Refused { at }, effects);
    }

    /// Answers once what this step changed is on disk.
    fn reply(&mut self, incoming: Incoming<'_>, result: AppendResult, effects: &mut Effects) {
        self.state.persist(incoming.now, None, Entries::default(), effects);
        let claim = match result {
            AppendResult::Matched { index } => Some(index),
            AppendResult::Conflict { .. } | AppendResult::NoSpace | AppendResult::Refused { .. } => None,
        };
        let AppendEntries { session, round, sent_at, .. } = *incoming.append;
        let (disk_full, machine_down) = (self.state.disk_full, self.state.apply.is_down());
        let (recovering, applied) = (self.state.hard_state.recovering, Some(self.state.applied()));
        let reply =
            AppendReply { session, round, sent_at, result, disk_full, recovering, machine_down, applied };
        let message = self.state.message(incoming.from.clone(), Body::AppendReply(reply));
        match claim {
            Some(index) => self.state.send_after_log(index, message, effects),
            None => self.state.send_after_hard_state(message, effects),
        }
    }
}

/// Checks that the entries follow `prev`, and that none is of a later term than the leader's. Otherwise the sender has a bug: none
/// of its entries is taken, and the leader is told.
fn check_well_formed(term: Term, append: &AppendEntries) -> Result<(), EntryError> {
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

/// The memberships among entries; `Err` is the index of one that cannot be decoded.
fn memberships_in(entries: &[Entry]) -> Result<Vec<(Index, Membership)>, Index> {
    let kind = |entry: &&Entry| entry.kind == EntryKind::Membership;
    entries
        .iter()
        .filter(kind)
        .map(|entry| Membership::decode(&entry.payload).map(|m| (entry.index, m)).map_err(|_| entry.index))
        .collect()
}
