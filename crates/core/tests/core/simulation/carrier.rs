//! How messages come from one node to another: through the link's queue if links are narrow, then over the network.

use quorate_core::Message;

use super::cluster::{Cluster, Event};
use super::link::{Pushed, wire_bytes};
use crate::world::{Lane, place_of};

impl Cluster {
    pub(crate) fn send(&mut self, at: usize, message: &Message, lane: Lane) {
        self.invariants.sending(&self.nodes, at, message);
        self.coverage.note(message.body.name());
        // The bridge's frames have a limit. What it does not carry is never acknowledged, and nothing after it is.
        let (bytes, most) = (wire_bytes(message), self.options.frame_bytes_max);
        assert!(bytes <= most, "bounds: {message} has {bytes} bytes, and a frame carries {most}");
        self.trace(|| format!("send {lane:?} {message}"));
        let link = (at, place_of(&message.to));
        let Some(limits) = self.options.links else {
            self.carry(link, message);
            return;
        };
        match self.network.link(link).push(&limits, lane, message) {
            Pushed::Queued => {}
            Pushed::Displaced => self.coverage.note("control displaced by newer control"),
            Pushed::Refused => self.coverage.note("entries refused by a full queue"),
        }
        self.send_piece(link);
    }

    fn send_piece(&mut self, link: (usize, usize)) {
        let Some(limits) = self.options.links else { return };
        let state = self.network.link(link);
        let life = state.life;
        if let Some(took) = state.send_piece(&limits) {
            if limits.time(state.bytes()) >= self.options.election() {
                self.coverage.note("a queue that takes an election timeout");
            }
            self.schedule(took, Event::PieceSent { link, life });
        }
    }

    pub(crate) fn piece_sent(&mut self, link: (usize, usize), life: u64) {
        if self.network.link(link).life != life {
            return;
        }
        if let Some(message) = self.network.link(link).piece_sent() {
            self.carry(link, &message);
        }
        self.send_piece(link);
    }

    fn carry(&mut self, link: (usize, usize), message: &Message) {
        for delay in self.network.arrivals(self.now, link, &self.options, &mut self.rng) {
            self.schedule(delay, Event::Deliver(Box::new(message.clone())));
        }
    }
}
