//! Stage 4 of 7, Replicated: from the leader's log to a peer, one replicator each. It probes until it finds a place
//! where both logs agree, then streams with a window in messages and bytes (etcd-io/raft's `Progress`).
//!
//! It knows neither term nor vote and never answers for the leader: acknowledgements go to the leader, which tells it
//! what they mean. A new replicator, with a new replication session, takes over whenever the peer's earlier answers no longer
//! count.

use std::time::Duration;

use crate::config::Config;
use crate::entries::Entries;
use crate::entry::{Hash, LogId, Position};
use crate::ids::{Index, NodeId, ReplicationSession, Round, Time};
use crate::message::AppendEntries;
use crate::window::Window;

/// Refusals that still lengthen the pause: 2^6 election timeouts at most.
const REFUSALS_MAX: u32 = 7;

/// What a replicator is told. Everything comes from its leader, except that [`ReplicatorEvent::Fetched`] may come from the
/// store.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ReplicatorEvent {
    /// The leader's log grew by these.
    Appended {
        /// The entry before the first.
        prev: LogId,
        /// What was appended.
        entries: Entries,
    },
    /// The commit index moved.
    Committed(Index),
    /// Reads wait for this round: send a heartbeat with it now.
    Confirm(Round),
    /// The peer's log agrees up to here and has it on disk.
    Matched(LogId),
    /// The peer's log does not agree: probe after this entry next.
    Rewind(LogId),
    /// The answer to [`ReplicatorEffect::Fetch`].
    Fetched {
        /// The replication session that asked.
        session: ReplicationSession,
        /// The entry before the first.
        prev: LogId,
        /// Contiguous; empty if they could not be read.
        entries: Entries,
    },
    /// Entries that the peer needs were compacted: only a snapshot helps.
    Compacted {
        /// The last compacted entry.
        through: LogId,
        /// The newest snapshot of this node, which reaches further; `None` while it has none.
        snapshot: Option<Position>,
    },
    /// This is the newest snapshot of this node: offer it, if the peer waits for one and there was none, or if the one that was
    /// offered is gone, as one is that turned out to be damaged.
    SnapshotReady(Position),
    /// What this node has offered is gone: it offers nothing until there is another one.
    NoSnapshot,
    /// The peer's disk is full: send heartbeats alone until it matches more, or an election timeout has passed.
    NoSpace,
    /// The peer refuses the entries, and will refuse them again: send heartbeats alone for an election timeout, and twice as long
    /// each time.
    Refused,
    /// The link to the peer fell: messages in flight may be lost.
    LinkDown,
    /// The link to the peer is up.
    LinkUp,
    /// [`Replicator::deadline`] may have passed.
    Tick,
}

/// What a replicator asks of its shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplicatorEffect {
    /// Send this to the peer.
    Send(AppendEntries),
    /// Send this to the peer, ahead of what is queued for it. It has no entries, and claims nothing that is still in flight.
    SendAhead(AppendEntries),
    /// Ask the leader for entries from here.
    Fetch {
        /// The first index wanted.
        from: Index,
        /// About so many bytes can be sent now.
        bytes_max: usize,
    },
}

/// What a replicator is doing for its peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum ReplicationState {
    /// Looking for the entry up to which both logs agree, one message at a time.
    Probe,
    /// Sending ahead of the acknowledgements.
    Stream,
    /// The peer needs entries that were compacted: heartbeats offer it a snapshot, which it fetches.
    Snapshot,
}

/// Replicates to one peer.
///
/// Invariants: `matched <= prev.index`; in flight only while streaming.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Replicator {
    peer: NodeId,
    session: ReplicationSession,
    config: Config,
    state: ReplicationState,
    /// The entry before the next one to send: nextIndex of the paper is the index after it.
    prev: LogId,
    matched: LogId,
    /// The chain hash of the snapshot that ends at `prev`, while it is offered.
    offer: Option<Hash>,
    /// The leader's last entry.
    last: Index,
    commit: Index,
    round: Round,
    window: Window,
    /// When entries were asked for that have not arrived.
    fetching_since: Option<Time>,
    /// When the peer reported a full disk. Until it matches more, or an election timeout has passed, it gets heartbeats alone.
    paused: Option<Time>,
    /// Pauses in a row in which the peer refused entries and matched nothing more.
    refusals: u32,
    link_up: bool,
    sent_at: Time,
    /// When a heartbeat was last sent ahead. An answer does not count: it may be to what was sent long ago.
    contact_at: Time,
    /// The commit index in the newest message to the peer.
    told_commit: Index,
    /// Since when the commit index is above that.
    untold_since: Option<Time>,
}

impl Replicator {
    /// Begins to probe at the leader's last entry.
    pub fn start(
        peer: NodeId,
        session: ReplicationSession,
        config: Config,
        now: Time,
        last: LogId,
        commit: Index,
        round: Round,
    ) -> (Self, Vec<ReplicatorEffect>) {
        let mut replicator = Self {
            peer,
            session,
            window: Window::new(&config, now),
            config,
            state: ReplicationState::Probe,
            prev: last,
            matched: LogId::default(),
            offer: None,
            last: last.index,
            commit,
            round,
            fetching_since: None,
            paused: None,
            refusals: 0,
            link_up: true,
            sent_at: now,
            contact_at: now,
            told_commit: Index::ZERO,
            untold_since: None,
        };
        let mut effects = Vec::new();
        replicator.send(now, Entries::default(), &mut effects);
        (replicator, effects)
    }

    /// The peer it replicates to.
    pub fn peer(&self) -> &NodeId {
        &self.peer
    }

    /// Its replication session.
    pub fn session(&self) -> ReplicationSession {
        self.session
    }

    /// Whether it probes, streams, or waits for a snapshot.
    pub fn state(&self) -> ReplicationState {
        self.state
    }

    /// Messages and bytes in flight.
    pub fn in_flight(&self) -> (usize, usize) {
        self.window.in_flight()
    }

    /// When [`ReplicatorEvent::Tick`] is due.
    pub fn deadline(&self) -> Option<Time> {
        let heartbeat = self.sent_at.min(self.contact_at) + self.config.heartbeat_interval;
        self.link_up.then(|| self.tell_commit_at().map_or(heartbeat, |at| at.min(heartbeat)))
    }

    /// One event in, its effects out.
    pub fn step(&mut self, now: Time, event: ReplicatorEvent) -> Vec<ReplicatorEffect> {
        let mut effects = Vec::new();
        self.expire_stale(now);
        match event {
            ReplicatorEvent::Appended { prev, entries } => self.appended(now, prev, &entries, &mut effects),
            ReplicatorEvent::Committed(commit) => {
                self.commit = self.commit.max(commit);
                self.untold_since = self.untold_since.or(Some(now));
            }
            ReplicatorEvent::Confirm(round) => {
                self.round = self.round.max(round);
                self.confirm(now, &mut effects);
            }
            ReplicatorEvent::Matched(at) => self.matched_at(now, at),
            ReplicatorEvent::Rewind(to) => self.rewind(now, to, &mut effects),
            ReplicatorEvent::Fetched { session, prev, entries } => {
                // A failed read is repeated once an election timeout has passed, not at once, or it would spin.
                if session == self.session && !entries.is_empty() {
                    self.fetching_since = None;
                    self.fetched(now, prev, &entries, &mut effects);
                }
            }
            ReplicatorEvent::Compacted { through, snapshot } => {
                self.compacted(now, through, snapshot, &mut effects);
            }
            ReplicatorEvent::SnapshotReady(at) => {
                let is_gone = self.prev.index > at.index;
                if self.state == ReplicationState::Snapshot && (self.offer.is_none() || is_gone) {
                    self.offer_snapshot(now, at, &mut effects);
                }
            }
            ReplicatorEvent::NoSnapshot => {
                if self.state == ReplicationState::Snapshot {
                    self.offer = None;
                }
            }
            ReplicatorEvent::NoSpace => {
                self.reset_to_matched();
                self.paused = Some(now);
            }
            ReplicatorEvent::Refused => {
                self.reset_to_matched();
                // What was in flight is refused along with it: that is one refusal.
                if self.paused.is_none() {
                    self.refusals = (self.refusals + 1).min(REFUSALS_MAX);
                }
                self.paused = Some(now);
            }
            ReplicatorEvent::LinkDown => {
                self.link_up = false;
                self.reset_to_matched();
            }
            ReplicatorEvent::LinkUp => {
                self.link_up = true;
                self.reset_to_matched();
                self.send(now, Entries::default(), &mut effects);
            }
            ReplicatorEvent::Tick => self.tick(now, &mut effects),
        }
        self.fetch_missing(now, &mut effects);
        effects
    }

    /// Expires stale fetches and in-flight messages. Checked on every event: under constant ReadIndex traffic the heartbeat
    /// tick may never fire.
    fn expire_stale(&mut self, now: Time) {
        let timeout: Duration = self.config.election_timeout;
        if self.fetching_since.is_some_and(|at| now.since(at) >= timeout) {
            self.fetching_since = None;
        }
        // Treat it as lost: a peer that failed must not hold the window.
        if self.window.is_lost(now, &self.config) {
            self.window.give_up(now, &self.config);
            self.reset_to_matched();
        }
        let pause = timeout * 2_u32.pow(self.refusals.saturating_sub(1));
        self.paused = self.paused.filter(|since| now.since(*since) < pause);
    }

    fn tick(&mut self, now: Time, effects: &mut Vec<ReplicatorEffect>) {
        let interval = self.config.heartbeat_interval;
        let is_alone = self.window.is_empty() && now.since(self.contact_at) >= interval;
        if self.link_up && (is_alone || now.since(self.sent_at) >= interval) {
            self.send(now, Entries::default(), effects);
        }
        if self.link_up && !self.window.is_empty() && now.since(self.contact_at) >= interval {
            self.send_ahead(now, effects);
        }
    }

    /// Asks the peer whether it still follows. What is in flight may wait for seconds on a slow link, and reads with it.
    fn confirm(&mut self, now: Time, effects: &mut Vec<ReplicatorEffect>) {
        if self.window.is_empty() {
            self.send(now, Entries::default(), effects);
        } else {
            self.send_ahead(now, effects);
        }
    }

    fn appended(&mut self, now: Time, prev: LogId, entries: &Entries, effects: &mut Vec<ReplicatorEffect>) {
        let Some(last) = entries.last() else { return };
        self.last = self.last.max(last.index);
        // The common case: the peer lacks nothing before these entries, so they are sent without a fetch.
        if self.prev == prev && self.fetching_since.is_none() {
            self.stream(now, entries, effects);
        }
    }

    fn fetched(&mut self, now: Time, prev: LogId, entries: &Entries, effects: &mut Vec<ReplicatorEffect>) {
        if self.prev == prev {
            self.stream(now, entries, effects);
        }
    }

    /// Sends entries that follow those already sent, in messages within the limits, while the window is open.
    fn stream(&mut self, now: Time, entries: &Entries, effects: &mut Vec<ReplicatorEffect>) {
        let mut start = 0;
        while start < entries.len() && self.may_stream() {
            let (mut bytes, mut end) = (0, start);
            let bytes_max = self.window.message_bytes_max(&self.config);
            while let Some(next) = entries.get(end) {
                let grown = bytes + next.encoded_bytes();
                let full = end - start >= self.config.append_entries_max || grown > bytes_max;
                if full && end > start {
                    break;
                }
                (bytes, end) = (grown, end + 1);
            }
            self.send(now, entries.slice(start..end), effects);
            start = end;
        }
    }

    fn may_stream(&self) -> bool {
        self.state == ReplicationState::Stream
            && self.link_up
            && self.paused.is_none()
            && self.window.is_open(&self.config)
    }

    fn send(&mut self, now: Time, entries: Entries, effects: &mut Vec<ReplicatorEffect>) {
        if !self.link_up {
            return;
        }
        let prev = self.prev;
        if let Some(last) = entries.last() {
            self.window.sent(now, last.index, entries.bytes().len());
            self.prev = last.log_id();
        }
        self.sent_at = now;
        (self.told_commit, self.untold_since) = (self.commit, None);
        // Nothing of this group is in flight, so the heartbeat may overtake other groups' bytes. Otherwise it queues behind them,
        // and the reply shows what was lost.
        let ahead = entries.is_empty() && self.window.is_empty();
        if ahead {
            self.contact_at = now;
        }
        let append = AppendEntries {
            session: self.session,
            prev,
            entries,
            commit: self.commit,
            round: self.round,
            sent_at: now,
            snapshot: self.offer,
        };
        effects.push(if ahead {
            ReplicatorEffect::SendAhead(append)
        } else {
            ReplicatorEffect::Send(append)
        });
    }

    /// A heartbeat that may arrive before what is in flight, so it speaks of what the peer is known to have, and of nothing
    /// later.
    fn send_ahead(&mut self, now: Time, effects: &mut Vec<ReplicatorEffect>) {
        if !self.link_up {
            return;
        }
        self.contact_at = now;
        effects.push(ReplicatorEffect::SendAhead(AppendEntries {
            session: self.session,
            prev: self.matched,
            entries: Entries::default(),
            commit: self.commit.min(self.matched.index),
            round: self.round,
            sent_at: now,
            snapshot: None,
        }));
    }

    fn matched_at(&mut self, now: Time, at: LogId) {
        if at.index < self.matched.index {
            return;
        }
        if at.index > self.matched.index {
            self.paused = None;
            self.refusals = 0;
            self.window.progressed(now);
        }
        self.matched = at;
        self.window.acknowledged(now, at.index, &self.config);
        match self.state {
            ReplicationState::Stream => {
                if at.index > self.prev.index {
                    self.prev = at;
                }
            }
            ReplicationState::Probe | ReplicationState::Snapshot => {
                self.reset(ReplicationState::Stream);
                self.prev = at;
            }
        }
    }

    fn rewind(&mut self, now: Time, to: LogId, effects: &mut Vec<ReplicatorEffect>) {
        self.reset(ReplicationState::Probe);
        // Never below what is known to match, even if a late rejection asks for it (`known-bugs.md` 27).
        self.prev = to.max(self.matched);
        self.send(now, Entries::default(), effects);
    }

    /// What is offered stays so while it helps: the peer may have fetched most of it.
    fn compacted(
        &mut self,
        now: Time,
        through: LogId,
        snapshot: Option<Position>,
        effects: &mut Vec<ReplicatorEffect>,
    ) {
        // The answer to a heartbeat that overtook what is in flight, or a late one: the peer has more, or may have.
        let may_have = self.state == ReplicationState::Stream && !self.window.is_empty();
        if self.matched.index >= through.index || (may_have && self.fetching_since.is_none()) {
            return;
        }
        self.fetching_since = None;
        if self.state == ReplicationState::Snapshot
            && self.offer.is_some()
            && self.prev.index >= through.index
        {
            return;
        }
        self.reset(ReplicationState::Snapshot);
        if let Some(at) = snapshot {
            self.offer_snapshot(now, at, effects);
        }
    }

    fn offer_snapshot(&mut self, now: Time, at: Position, effects: &mut Vec<ReplicatorEffect>) {
        (self.prev, self.offer) = (at.log_id(), Some(at.chain));
        self.send(now, Entries::default(), effects);
    }

    fn reset_to_matched(&mut self) {
        self.fetching_since = None;
        if self.state == ReplicationState::Stream {
            self.reset(ReplicationState::Probe);
            self.prev = self.matched;
        }
    }

    fn reset(&mut self, state: ReplicationState) {
        (self.state, self.offer) = (state, None);
        self.window.clear();
    }

    /// When a peer with nothing in flight and nothing to come is to be told the commit index.
    fn tell_commit_at(&self) -> Option<Time> {
        let idle = self.may_stream() && self.prev.index == self.last && self.window.is_empty();
        let since = self.untold_since.filter(|_| idle && self.told_commit < self.commit)?;
        Some(since + self.config.untold_commit_max)
    }

    /// Fetches missing entries while the window is open, and tells an idle peer the commit index.
    fn fetch_missing(&mut self, now: Time, effects: &mut Vec<ReplicatorEffect>) {
        if !self.may_stream() {
            return;
        }
        if self.prev.index < self.last {
            if self.fetching_since.is_none() {
                self.fetching_since = Some(now);
                let bytes_max = self.window.room();
                effects.push(ReplicatorEffect::Fetch { from: self.prev.index.next(), bytes_max });
            }
        } else if self.tell_commit_at().is_some_and(|at| now >= at) {
            self.send(now, Entries::default(), effects);
        }
    }
}
