//! The messages in flight: a set, from which any one may be delivered next, or never.

use std::sync::Arc;

use quorate_core::Message;

use super::identity::identity;

/// A message and its identity.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) message: Message,
    pub(crate) identity: u64,
}

/// Ordered by identity, each once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Network {
    packets: Vec<Arc<Packet>>,
}

impl Network {
    pub(crate) fn packets(&self) -> &[Arc<Packet>] {
        &self.packets
    }

    /// Sends a message. If the link is full, the message of the lowest term on it is lost.
    pub(crate) fn send(&mut self, message: Message, link_max: usize) {
        let packet = Arc::new(Packet { identity: identity(&message), message });
        let (from, to) = (packet.message.from.clone(), packet.message.to.clone());
        let Err(place) = self.packets.binary_search_by_key(&packet.identity, |p| p.identity) else { return };
        self.packets.insert(place, packet);
        let on_link = |p: &Packet| p.message.from == from && p.message.to == to;
        if self.packets.iter().filter(|p| on_link(p)).count() > link_max {
            let stalest = self.packets.iter().enumerate().filter(|(_, p)| on_link(p));
            let stalest = stalest.min_by_key(|(_, p)| (p.message.term, p.identity)).map(|(at, _)| at);
            self.packets.remove(stalest.expect("the link is full"));
        }
    }

    pub(crate) fn remove(&mut self, packet: &Packet) {
        self.packets.retain(|p| p.identity != packet.identity);
    }

    pub(crate) fn clear(&mut self) {
        self.packets.clear();
    }

    /// Drops the messages for which `lost` holds.
    pub(crate) fn lose(&mut self, lost: impl Fn(&Message) -> bool) {
        self.packets.retain(|p| !lost(&p.message));
    }
}
