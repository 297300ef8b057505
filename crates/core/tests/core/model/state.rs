//! A state of the model. Parts are shared between states: a step copies only what it changes.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::config::Budget;
use super::history::History;
use super::network::Network;
use super::site::Site;
use crate::world::Broken;

/// The whole world at one moment, between two steps.
#[derive(Debug, Clone)]
pub(crate) struct State {
    pub(crate) sites: Vec<Arc<Site>>,
    pub(crate) network: Network,
    pub(crate) history: Arc<History>,
    /// [`History::identity`], set when a step is over.
    pub(crate) history_identity: u64,
    /// What may still happen.
    pub(crate) left: Budget,
    pub(crate) broken: Option<Arc<Broken>>,
}

impl State {
    /// The parts of its identity. `broken` follows from the step that led here and ends the search.
    fn parts(&self) -> impl Iterator<Item = u64> {
        let sites = self.sites.iter().map(|site| site.identity);
        let packets = self.network.packets().iter().map(|packet| packet.identity);
        sites.chain([self.history_identity, u64::from(self.broken.is_some())]).chain(packets)
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.left == other.left && self.parts().eq(other.parts())
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.left.hash(hasher);
        self.parts().for_each(|part| hasher.write_u64(part));
    }
}
