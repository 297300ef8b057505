//! Callers: they propose and read at any node, and remember the answers.

use std::collections::BTreeMap;

use quorate_core::{Entry, Index, Proposal, ReadId, Refusal, Term};

use super::callers::Outcome;
use super::cluster::{Cluster, Event};
use super::invariants::reads_linearizable;
use crate::world::ReplicaEvent;

/// A read that has not been answered.
#[derive(Debug, Clone)]
pub(crate) struct Read {
    pub(crate) at: usize,
    pub(crate) asked_at: u64,
    /// The greatest index that any caller had been told of before this read began.
    pub(crate) floor: Index,
}

/// What callers know.
#[derive(Debug, Clone, Default)]
pub(crate) struct Clients {
    next: u64,
    /// Proposals of the step under way, in order.
    asking: std::collections::VecDeque<u64>,
    pub(crate) reads: BTreeMap<u64, Read>,
    /// The greatest index of an answered proposal, or seen by an answered read.
    pub(crate) acknowledged: Index,
    pub(crate) acks: u64,
    pub(crate) reads_answered: u64,
    /// When the newest read was asked that each node answered.
    pub(crate) answered: BTreeMap<usize, u64>,
    /// The newest proposal that was answered with its index.
    pub(crate) last_ack: Option<u64>,
}

impl Clients {
    pub(crate) fn next_id(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// The id that is given next.
    pub(crate) fn next_is(&self) -> u64 {
        self.next + 1
    }

    pub(crate) fn lost(&mut self, at: usize) {
        self.reads.retain(|_, read| read.at != at);
    }

    /// The machine that was to answer them has ended.
    pub(crate) fn lose(&mut self, queries: &[u64]) {
        for id in queries {
            self.reads.remove(id);
        }
    }

    pub(crate) fn read_refused(&mut self, reads: &[ReadId]) {
        for read in reads {
            self.reads.remove(&read.0);
        }
    }
}

impl Cluster {
    fn caller_asks(&mut self, stray: u64) -> usize {
        let leads: Vec<usize> = (0..self.nodes.len()).filter(|at| self.nodes[*at].leads()).collect();
        if leads.is_empty() || self.rng.chance(stray) {
            self.rng.place(self.nodes.len())
        } else {
            self.rng.pick(&leads)
        }
    }

    pub(crate) fn propose(&mut self) {
        if self.callers.are_alone {
            return;
        }
        let delay = self.rng.range(1, self.options.propose_every * 2);
        self.schedule(delay, Event::Propose);
        let at = self.caller_asks(self.options.stray_proposals);
        let count = self.rng.range(1, self.options.batch_max);
        self.propose_at(at, count);
    }

    pub(crate) fn propose_at(&mut self, at: usize, count: u64) {
        if !self.nodes[at].is_up() || self.nodes[at].paused_until > self.now {
            return;
        }
        if self.nodes[at].store_busy_until > self.now {
            // The shell of a role refuses commands while its store is behind.
            self.coverage.note("refused by a busy store");
            return;
        }
        let Some(is_newer) = self.draws_newer(at) else { return };
        let mut proposals = Vec::new();
        for _ in 0..count {
            let id = self.clients.next_id();
            proposals.push(Proposal::new(self.payload(id, is_newer)));
            self.clients.asking.push_back(id);
        }
        self.trace(|| format!("propose {count} at n{at}"));
        let wall_ms = self.wall_ms();
        self.step(at, ReplicaEvent::Propose { wall_ms, proposals });
        if !self.nodes[at].is_up() {
            self.clients.asking.clear();
        }
        assert!(self.clients.asking.is_empty(), "every proposal is accepted or refused in its step");
    }

    pub(crate) fn accepted(&mut self, at: usize, first: Index, term: Term, count: usize) {
        for place in 0..count as u64 {
            let id = self.clients.asking.pop_front().expect("only what was asked is accepted");
            let before = self.nodes[at].waiting.insert(first.plus(place), (term, id));
            if let Some((_, id)) = before {
                self.caller_hears(id, Outcome::Superseded);
            }
        }
    }

    pub(crate) fn refused(&mut self, count: usize, reason: Refusal) {
        if let Refusal::TooLarge { .. } = reason {
            self.coverage.note("refused TooLarge");
        } else {
            self.coverage.note(&format!("refused {reason:?}"));
        }
        for _ in 0..count {
            let id = self.clients.asking.pop_front().expect("only what was asked is refused");
            self.caller_hears(id, Outcome::Refused(reason));
        }
    }

    /// The applier answers (`safety.md` 12): same term, done; another term at that index, superseded.
    pub(crate) fn answer_applied(&mut self, at: usize, new: &[Entry]) {
        for entry in new {
            // Once an entry of a term is applied, none of an earlier term can follow it in the log.
            let old = |(term, id): &(Term, u64)| (*term < entry.term).then_some(*id);
            let superseded: Vec<u64> = self.nodes[at].waiting.values().filter_map(old).collect();
            self.nodes[at].waiting.retain(|_, (term, _)| *term >= entry.term);
            for id in superseded {
                self.caller_hears(id, Outcome::Superseded);
            }
            let Some((term, id)) = self.nodes[at].waiting.remove(&entry.index) else { continue };
            if term == entry.term {
                assert_eq!(
                    entry.payload[..8],
                    id.to_be_bytes(),
                    "an acknowledged entry is what was proposed"
                );
                self.clients.acknowledged = self.clients.acknowledged.max(entry.index);
                self.clients.acks += 1;
                self.clients.last_ack = Some(id);
                self.caller_hears(id, Outcome::Acknowledged);
            } else {
                self.caller_hears(id, Outcome::Superseded);
            }
        }
    }

    pub(crate) fn read(&mut self) {
        let delay = self.rng.range(1, self.options.read_every * 2);
        self.schedule(delay, Event::Read);
        let at = self.caller_asks(self.options.stray_reads);
        if self.nodes[at].is_up() {
            let id = self.clients.next_id();
            let read = Read { at, asked_at: self.now, floor: self.clients.acknowledged };
            self.clients.reads.insert(id, read);
            self.read_at(at, self.nodes[at].life, id);
        }
    }

    pub(crate) fn read_at(&mut self, at: usize, life: u64, id: u64) {
        if self.nodes[at].life == life && !self.paused(at, || Event::ReadAt { at, life, id }) {
            self.step(at, ReplicaEvent::Read(vec![ReadId(id)]));
        }
    }

    pub(crate) fn read_ready(&mut self, at: usize, reads: &[ReadId], index: Index) {
        for id in reads {
            let Some(read) = self.clients.reads.get(&id.0) else { continue };
            reads_linearizable::ready(at, read, index);
            self.nodes[at].ready.push((index, id.0));
        }
        self.queue_queries(at);
    }

    pub(crate) fn answer_queries(&mut self, at: usize, queries: &[u64]) {
        let applied = self.nodes[at].applier.applied;
        for id in queries {
            if let Some(read) = self.clients.reads.remove(id) {
                self.clients.reads_answered += 1;
                let newest = self.clients.answered.entry(at).or_default();
                *newest = read.asked_at.max(*newest);
                // A later read must see at least what was seen here.
                self.clients.acknowledged = self.clients.acknowledged.max(applied);
            }
        }
    }
}
