//! The network between the nodes: delay, loss, duplicates, stragglers, cuts in either direction, and links that are clogged:
//! they lose nothing, and deliver nothing until they deliver all at once.

use std::collections::{BTreeMap, BTreeSet};

use super::link::Link;
use super::options::Options;
use quorate_core::SplitMix64;

/// Which directed links are cut.
#[derive(Debug, Clone, Default)]
pub(crate) struct Network {
    cut: BTreeSet<(usize, usize)>,
    /// Until when.
    clogged: BTreeMap<(usize, usize), u64>,
    /// Cut for good, whatever heals.
    severed: BTreeSet<(usize, usize)>,
    /// Nothing is lost any more.
    pub(crate) calm: bool,
    /// Those that are narrow, with what they hold.
    links: BTreeMap<(usize, usize), Link>,
}

impl Network {
    /// When a message sent now arrives: never, once, or more often.
    pub(crate) fn arrivals(
        &self,
        now: u64,
        link: (usize, usize),
        options: &Options,
        rng: &mut SplitMix64,
    ) -> Vec<u64> {
        if self.severed.contains(&link) {
            return Vec::new();
        }
        if self.calm {
            // What went through a queue keeps its order.
            let more = if options.links.is_some() { 500 } else { rng.below(1_000) };
            return vec![options.delay_min + more];
        }
        if self.cut.contains(&link) || rng.chance(options.loss) {
            return Vec::new();
        }
        let burst_in = self.clogged.get(&link).map_or(0, |until| until.saturating_sub(now));
        let copies = if rng.chance(options.duplicate) { 2 + rng.below(2) } else { 1 };
        let mut delay = || {
            if burst_in > 0 {
                burst_in + rng.below(1_000)
            } else if rng.chance(options.straggler) {
                rng.below(options.election() * 20)
            } else {
                rng.range(options.delay_min, options.delay_max)
            }
        };
        (0..copies).map(|_| delay()).collect()
    }

    pub(crate) fn link(&mut self, link: (usize, usize)) -> &mut Link {
        self.links.entry(link).or_default()
    }

    /// The process of a node has ended: its connections are lost with all they held.
    pub(crate) fn reset(&mut self, node: usize) {
        let of_node = self.links.iter_mut().filter(|((from, to), _)| *from == node || *to == node);
        of_node.for_each(|(_, link)| link.reset());
    }

    /// Whether nothing passes this way.
    pub(crate) fn is_cut(&self, link: (usize, usize)) -> bool {
        self.cut.contains(&link) || self.severed.contains(&link)
    }

    pub(crate) fn heal(&mut self) {
        self.cut.clear();
    }

    /// Nothing passes this way any more.
    pub(crate) fn sever(&mut self, from: usize, to: usize) {
        self.severed.insert((from, to));
    }

    pub(crate) fn clog(&mut self, from: usize, to: usize, until: u64) {
        let end = self.clogged.entry((from, to)).or_default();
        *end = until.max(*end);
    }

    /// Every node hears a majority, itself included, and no two the same one: each hears those that come after it in
    /// `order`. If `both_ways`, it hears those on both sides and reaches whom it hears.
    pub(crate) fn majorities_ring(&mut self, order: &[usize], both_ways: bool) {
        let count = order.len();
        let others = count / 2;
        for (place, to) in order.iter().enumerate() {
            for (other, from) in order.iter().enumerate().filter(|(other, _)| *other != place) {
                let after = (other + count - place) % count;
                let apart = after.min(count - after);
                let hears = if both_ways { apart <= others.div_ceil(2) } else { after <= others };
                if !hears {
                    self.cut.insert((*from, *to));
                }
            }
        }
    }

    pub(crate) fn cut_one_way(&mut self, from: usize, to: usize) {
        self.cut.insert((from, to));
    }

    pub(crate) fn isolate(&mut self, node: usize, nodes: usize) {
        for other in (0..nodes).filter(|other| *other != node) {
            self.cut.insert((node, other));
            self.cut.insert((other, node));
        }
    }

    /// Hears all nodes and is heard by none; or the other way round.
    pub(crate) fn half_isolate(&mut self, node: usize, nodes: usize, deaf: bool) {
        for other in (0..nodes).filter(|other| *other != node) {
            self.cut.insert(if deaf { (other, node) } else { (node, other) });
        }
    }

    /// Two sides; `bridge`, if any, reaches both.
    pub(crate) fn split(&mut self, side: &[bool], bridge: Option<usize>) {
        for a in (0..side.len()).filter(|a| Some(*a) != bridge) {
            for b in (0..side.len()).filter(|b| Some(*b) != bridge && side[*b] != side[a]) {
                self.cut.insert((a, b));
            }
        }
    }
}
