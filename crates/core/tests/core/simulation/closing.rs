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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::coverage::Coverage;
    use super::super::nemesis::Attack;
    use super::super::options::Options;
    use super::super::run::run_with;

    /// Partitions, clogged links and links that break, under processes that live; messages are lost, too.
    const ATTACKS: [Attack; 9] = [
        Attack::Split,
        Attack::Bridge,
        Attack::IsolateLeader,
        Attack::HalfIsolate,
        Attack::OneWay,
        Attack::FlapLink,
        Attack::MajoritiesRing,
        Attack::Clog,
        Attack::Swizzle,
    ];

    /// Where no process ends, a closed connection is never a dead leader: standing early must not depose those that live. `QUORATE_SEEDS`
    /// asks for more seeds; the figures are in decision 0053.
    #[test]
    fn broken_links_are_not_followed_by_more_elections_than_without_early_ones() {
        let seeds = std::env::var("QUORATE_SEEDS").map_or(40, |seeds| seeds.parse().expect("a number"));
        let (mut early, mut late) = (Coverage::default(), Coverage::default());
        for seed in 0..seeds {
            for (drift, coverage) in [(None, &mut early), (Some(Duration::from_millis(1)), &mut late)] {
                let mut options = Options::draw(seed);
                options.attacks = ATTACKS.to_vec();
                (options.loss, options.torn_step, options.change_every) =
                    ([10, 50, 200][(seed % 3) as usize], 0, 0);
                options.config.clock_drift_max = drift;
                coverage.merge(&run_with(seed, options, false).coverage);
            }
        }
        let counts = [&early, &late].map(|coverage| {
            (
                coverage.of("elected"),
                coverage.of("connection closed by the leader"),
                coverage.of("attack FlapLink"),
            )
        });
        println!(
            "{seeds} seeds: elected, connections closed, links broken: {:?} with, {:?} without",
            counts[0], counts[1]
        );
        assert!(early.of("connection closed by the leader") > 0, "nothing is shown");
        let (with, without) = (early.of("elected"), late.of("elected"));
        assert!(with * 10 <= without * 12, "{with} elections, and {without} without early ones");
    }
}
