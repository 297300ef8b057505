//! Linearizable reads without a log entry: ReadIndex (Raft thesis section 6.4).
//!
//! A read takes the commit index, then waits until a quorum has answered a message that this leader sent *after* the read
//! arrived. Rounds are numbered within the term and never used twice, so an old acknowledgement confirms no new read
//! (`known-bugs.md` 55). Reads that arrive during a round wait for the next one.

use crate::effect::{Effect, Effects, ReadId};
use crate::ids::{Index, NodeId, Round, Time};
use crate::leader::role::Leader;
use crate::leader::waiting_reads::{Asker, Waiting};
use crate::message::{Body, ReadIndexReply, ReadIndexRequest};
use crate::replicator::ReplicatorEvent;

impl Leader {
    pub(super) fn read(&mut self, reads: Vec<ReadId>, effects: &mut Effects) {
        self.reads.gathering.extend(reads.into_iter().map(Asker::Here));
        self.begin_round(effects);
    }

    pub(super) fn peer_read(
        &mut self,
        now: Time,
        peer: NodeId,
        request: &ReadIndexRequest,
        effects: &mut Effects,
    ) {
        let asker = Asker::Peer { peer, id: request.id, recovering: request.recovering, at: now };
        self.reads.gathering.push(asker);
        self.begin_round(effects);
    }

    /// Reads wait until an entry of this term is committed: before that the commit index may lag behind what an earlier leader
    /// has answered (`known-bugs.md` 54).
    fn begin_round(&mut self, effects: &mut Effects) {
        if !self.has_committed_in_term() || self.reads.under_way.is_some() || self.reads.gathering.is_empty()
        {
            return;
        }
        self.round = self.round.next();
        let (round, index) = (self.round, self.state.commit);
        let (recovering, askers): (Vec<Asker>, Vec<Asker>) = std::mem::take(&mut self.reads.gathering)
            .into_iter()
            .partition(|asker| matches!(asker, Asker::Peer { recovering: true, .. }));
        for asker in recovering {
            let same_peer = |w: &Waiting| matches!((&w.askers[0], &asker), (Asker::Peer { peer: a, .. }, Asker::Peer { peer: b, .. }) if a == b);
            self.reads.recovering.retain(|waiting| !same_peer(waiting));
            self.reads.recovering.push(Waiting { round, index, askers: vec![asker] });
        }
        if !askers.is_empty() {
            self.reads.under_way = Some(Waiting { round, index, askers });
        }
        self.tell_all(&ReplicatorEvent::Confirm(round), effects);
    }

    /// Drops requests of peers after an election timeout: the peer has given up and asks again. This matters while the leader
    /// waits for an entry of its own term to commit.
    pub(super) fn forget_old_askers(&mut self, now: Time) {
        let timeout = self.state.config.election_timeout;
        self.reads.gathering.retain(|asker| match asker {
            Asker::Here(_) => true,
            Asker::Peer { at, .. } => now.since(*at) < timeout,
        });
    }

    /// Number of reads that wait for a round to begin.
    pub fn gathering_reads(&self) -> usize {
        self.reads.gathering.len()
    }

    /// The newest round that a quorum has answered, not counting `without`.
    fn confirmed_round(&self, without: Option<&NodeId>) -> Round {
        let answered = |id: &NodeId| {
            if Some(id) == without {
                Round::ZERO
            } else if *id == self.state.me {
                self.round
            } else {
                self.progress.get(id).map_or(Round::ZERO, |progress| progress.round)
            }
        };
        self.state.membership().quorum_value(answered)
    }

    pub(super) fn confirm_reads(&mut self, effects: &mut Effects) {
        self.begin_round(effects);
        let confirmed = self.confirmed_round(None);
        if let Some(done) = self.reads.under_way.take_if(|waiting| waiting.round <= confirmed) {
            self.answer_reads(done.askers, Some(done.index), effects);
            self.begin_round(effects);
            // A single node confirms the next round as it begins.
            if self.reads.under_way.is_some() && self.is_quorum_alone() {
                self.confirm_reads(effects);
            }
        }
        for waiting in std::mem::take(&mut self.reads.recovering) {
            let Asker::Peer { peer, .. } = &waiting.askers[0] else { continue };
            if waiting.round <= self.confirmed_round(Some(peer)) {
                self.answer_reads(waiting.askers, Some(waiting.index), effects);
            } else {
                self.reads.recovering.push(waiting);
            }
        }
    }

    pub(super) fn refuse_reads(&mut self, effects: &mut Effects) {
        let reads = std::mem::take(&mut self.reads);
        let waiting = reads.under_way.into_iter().chain(reads.recovering).flat_map(|waiting| waiting.askers);
        let askers: Vec<Asker> = waiting.chain(reads.gathering).collect();
        self.answer_reads(askers, None, effects);
    }

    fn answer_reads(&mut self, askers: Vec<Asker>, index: Option<Index>, effects: &mut Effects) {
        let mut here = Vec::new();
        for asker in askers {
            match asker {
                Asker::Here(id) => here.push(id),
                Asker::Peer { peer, id, .. } => {
                    let message =
                        self.state.message(peer, Body::ReadIndexReply(ReadIndexReply { id, index }));
                    self.state.send_after_hard_state(message, effects);
                }
            }
        }
        if !here.is_empty() {
            effects.push(match index {
                Some(index) => Effect::ReadReady { reads: here, index },
                None => Effect::ReadRefused { reads: here },
            });
        }
    }
}
