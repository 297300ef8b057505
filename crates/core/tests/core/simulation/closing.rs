//! Connections that the other side closes: those to a process that has ended, and those that something between two nodes has
//! broken. A follower may take the first for a dead leader (`safety.md` 17), and the second for one, too.

use quorate_core::{NodeId, PeerLink, RoleEvent};

use super::cluster::{Cluster, Event};
use crate::world::{ReplicaEvent, name};

/// What a node will learn of its connection to a peer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LinkChange {
    at: usize,
    life: u64,
    peer: usize,
    /// How often the peer's process had begun or ended by then: what was said before that is void.
    turns: u64,
    link: PeerLink,
}

impl Cluster {
    /// The process of this node has ended: every node that it can reach is told, each at its own moment.
    pub(crate) fn connections_closed(&mut self, peer: usize) {
        self.nodes[peer].turns += 1;
        for at in (0..self.nodes.len()).filter(|at| *at != peer) {
            self.tell_link_later(at, peer, PeerLink::Closed);
        }
    }

    /// The process of this node runs again.
    pub(crate) fn connections_made(&mut self, peer: usize) {
        self.nodes[peer].turns += 1;
        for at in (0..self.nodes.len()).filter(|at| *at != peer) {
            self.tell_link_later(at, peer, PeerLink::Up);
        }
    }

    fn tell_link_later(&mut self, at: usize, peer: usize, link: PeerLink) {
        let delay = self.rng.range(self.options.delay_min, self.options.delay_max);
        let change = LinkChange { at, life: self.nodes[at].life, peer, turns: self.nodes[peer].turns, link };
        self.schedule(delay, Event::LinkChanged(change));
    }

    pub(crate) fn link_changed(&mut self, change: LinkChange) {
        let LinkChange { at, life, peer, turns, link } = change;
        let is_void = self.nodes[at].life != life || self.nodes[peer].turns != turns;
        if is_void || !self.nodes[at].is_up() || self.paused(at, || Event::LinkChanged(change)) {
            return;
        }
        let is_cut = self.network.is_cut((peer, at));
        match link {
            // It is made once there is a way.
            PeerLink::Up if is_cut => {
                self.schedule(self.options.election() / 4, Event::LinkChanged(change));
            }
            // Nothing of a process beyond a cut is heard, its end included.
            PeerLink::Down | PeerLink::Closed if is_cut => {}
            PeerLink::Up | PeerLink::Down | PeerLink::Closed => self.tell_link(at, peer, link),
        }
    }

    pub(crate) fn tell_link(&mut self, at: usize, peer: usize, link: PeerLink) {
        if link == PeerLink::Closed && self.nodes[at].follows() == Some(&name(peer)) {
            self.coverage.note("connection closed by the leader");
            self.nodes[at].leader_closed_at = Some(self.now);
        }
        self.step(at, ReplicaEvent::Role(RoleEvent::Link { peer: name(peer), link }));
    }

    /// The links between these two break, or those of all nodes to `to`; the processes live on, and other connections hold.
    pub(crate) fn break_links(&mut self, to: usize, with: usize, length: u64) {
        let all = self.rng.chance(300);
        for at in (0..self.nodes.len()).filter(|at| *at != to && (all || *at == with)) {
            self.tell_link(at, to, PeerLink::Closed);
            self.undo_after(length, super::nemesis::Undo::LinkUp(at, to));
        }
    }

    /// A node knows a leader.
    pub(crate) fn note_election(&mut self, at: usize, leader: Option<&NodeId>) {
        if leader != Some(&name(at)) {
            return;
        }
        self.coverage.note("elected");
        let closed_at = self.nodes[at].leader_closed_at.take();
        if closed_at.is_some_and(|closed_at| self.now - closed_at < self.options.election()) {
            self.coverage.note("elected before an election timeout");
        }
    }
}
