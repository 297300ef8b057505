//! What lies between the nodes: delay, loss, duplicates, stragglers, and cuts in either direction.

use std::collections::BTreeSet;

use super::options::Options;
use super::rng::Rng;

/// Which directed links are cut.
#[derive(Debug, Clone, Default)]
pub(crate) struct Network {
    cut: BTreeSet<(usize, usize)>,
    /// Nothing is lost any more.
    pub(crate) calm: bool,
}

impl Network {
    /// When a message sent now arrives: never, once, or more often.
    pub(crate) fn arrivals(&self, from: usize, to: usize, options: &Options, rng: &mut Rng) -> Vec<u64> {
        if self.calm {
            return vec![options.delay_min + rng.below(1_000)];
        }
        if self.cut.contains(&(from, to)) || rng.chance(options.loss) {
            return Vec::new();
        }
        let copies = if rng.chance(options.duplicate) { 2 + rng.below(2) } else { 1 };
        let mut delay = || {
            if rng.chance(options.straggler) {
                rng.below(options.election() * 20)
            } else {
                rng.range(options.delay_min, options.delay_max)
            }
        };
        (0..copies).map(|_| delay()).collect()
    }

    pub(crate) fn heal(&mut self) {
        self.cut.clear();
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

    /// Hears all, is heard by nobody; or the other way round.
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
