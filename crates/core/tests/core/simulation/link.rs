//! One direction of a connection: so many bytes a second, and a queue with two lanes as the bridge has it
//! (`docs/decisions/0026-lanes-and-windows.md`). Control goes first and drops its oldest message for the newest; bulk refuses
//! what there is no room for. Long messages go in fragments, so that control waits for one fragment at most.
//!
//! Bound: `control_bytes_max` and `bulk_bytes_max`.

use std::collections::VecDeque;

use quorate_core::Message;

use crate::world::Lane;

/// What a message takes beside its entries.
const HEAD_BYTES: usize = 200;

/// How large a message is on the wire, near enough.
pub(crate) fn wire_bytes(message: &Message) -> usize {
    let quorate_core::Body::AppendEntries(append) = &message.body else { return HEAD_BYTES };
    HEAD_BYTES + append.entries.iter().map(quorate_core::Entry::encoded_bytes).sum::<usize>()
}

/// What every link of a run carries and holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LinkLimits {
    pub(crate) bytes_per_s: u64,
    pub(crate) fragment_bytes: usize,
    pub(crate) control_bytes_max: usize,
    pub(crate) bulk_bytes_max: usize,
}

impl LinkLimits {
    /// How long the link takes for so many bytes, in microseconds.
    pub(crate) fn time(&self, bytes: usize) -> u64 {
        (bytes as u64 * 1_000_000).div_ceil(self.bytes_per_s)
    }
}

#[derive(Debug, Clone)]
struct Item {
    message: Message,
    bytes_left: usize,
    begun: bool,
}

/// What a push did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pushed {
    Queued,
    /// Older messages made room for it.
    Displaced,
    Refused,
}

#[derive(Debug, Clone, Default)]
struct Queue {
    items: VecDeque<Item>,
    bytes: usize,
}

/// One direction of a connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Link {
    control: Queue,
    bulk: Queue,
    /// The piece under way: the first so many bytes of this lane.
    on_wire: Option<(Lane, usize)>,
    /// Counts losses of the connection: a piece of an earlier one is void.
    pub(crate) life: u64,
}

impl Link {
    pub(crate) fn push(&mut self, limits: &LinkLimits, lane: Lane, message: &Message) -> Pushed {
        let bytes = wire_bytes(message);
        let mut pushed = Pushed::Queued;
        match lane {
            Lane::Control => {
                while self.control.bytes + bytes > limits.control_bytes_max {
                    let Some(at) = self.control.items.iter().position(|item| !item.begun) else { break };
                    let gone = self.control.items.remove(at).expect("just found");
                    self.control.bytes -= gone.bytes_left;
                    pushed = Pushed::Displaced;
                }
            }
            Lane::Bulk if self.bulk.bytes + bytes > limits.bulk_bytes_max => return Pushed::Refused,
            Lane::Bulk => {}
        }
        let queue = self.queue(lane);
        queue.bytes += bytes;
        queue.items.push_back(Item { message: message.clone(), bytes_left: bytes, begun: false });
        pushed
    }

    fn queue(&mut self, lane: Lane) -> &mut Queue {
        match lane {
            Lane::Control => &mut self.control,
            Lane::Bulk => &mut self.bulk,
        }
    }

    /// Begins to send the next piece, and says how long that takes; `None` if there is none or one is under way.
    pub(crate) fn send_piece(&mut self, limits: &LinkLimits) -> Option<u64> {
        if self.on_wire.is_some() {
            return None;
        }
        let lane = if self.control.items.is_empty() { Lane::Bulk } else { Lane::Control };
        let item = self.queue(lane).items.front_mut()?;
        item.begun = true;
        let bytes = item.bytes_left.min(limits.fragment_bytes);
        self.on_wire = Some((lane, bytes));
        Some(limits.time(bytes))
    }

    /// The piece under way has left. The message that is complete with it, if one is.
    pub(crate) fn piece_sent(&mut self) -> Option<Message> {
        let (lane, bytes) = self.on_wire.take()?;
        let queue = self.queue(lane);
        queue.bytes -= bytes;
        let item = queue.items.front_mut().expect("what is under way is in front");
        item.bytes_left -= bytes;
        if item.bytes_left > 0 {
            return None;
        }
        queue.items.pop_front().map(|item| item.message)
    }

    /// Bytes that wait or are under way.
    pub(crate) fn bytes(&self) -> usize {
        self.control.bytes + self.bulk.bytes
    }

    /// The connection is lost with all that it held.
    pub(crate) fn reset(&mut self) {
        let life = self.life + 1;
        *self = Self { life, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use quorate_core::{Body, Boot, Term};

    use super::*;
    use crate::world::name;

    const LIMITS: LinkLimits = LinkLimits {
        bytes_per_s: 1_000_000,
        fragment_bytes: 150,
        control_bytes_max: 2 * HEAD_BYTES,
        bulk_bytes_max: 2 * HEAD_BYTES,
    };

    fn message(term: u64) -> Message {
        Message { from: name(0), to: name(1), boot: Boot(1), term: Term(term), body: Body::TimeoutNow }
    }

    /// Sends all there is: the terms of the messages, in order, and how long it took.
    fn drain(link: &mut Link) -> (Vec<u64>, u64) {
        let (mut terms, mut took) = (Vec::new(), 0);
        while let Some(time) = link.send_piece(&LIMITS) {
            took += time;
            terms.extend(link.piece_sent().map(|message| message.term.0));
        }
        (terms, took)
    }

    #[test]
    fn control_goes_between_the_fragments_of_bulk() {
        let mut link = Link::default();
        assert_eq!(link.push(&LIMITS, Lane::Bulk, &message(1)), Pushed::Queued);
        assert_eq!(link.send_piece(&LIMITS), Some(150));
        assert_eq!(link.push(&LIMITS, Lane::Control, &message(2)), Pushed::Queued);
        assert_eq!(link.send_piece(&LIMITS), None, "one piece at a time");
        assert_eq!(link.piece_sent(), None, "a part of it has left");
        assert_eq!(drain(&mut link), (vec![2, 1], 250));
        assert_eq!(link.bytes(), 0);
    }

    #[test]
    fn a_full_lane_refuses_bulk_and_displaces_control() {
        let mut link = Link::default();
        for (term, bulk, control) in [
            (1, Pushed::Queued, Pushed::Queued),
            (2, Pushed::Queued, Pushed::Queued),
            (3, Pushed::Refused, Pushed::Displaced),
        ] {
            assert_eq!(link.push(&LIMITS, Lane::Bulk, &message(term)), bulk);
            assert_eq!(link.push(&LIMITS, Lane::Control, &message(10 + term)), control);
        }
        assert_eq!(drain(&mut link), (vec![12, 13, 1, 2], 4 * HEAD_BYTES as u64));
        link.push(&LIMITS, Lane::Bulk, &message(4));
        link.reset();
        assert_eq!((link.bytes(), link.send_piece(&LIMITS)), (0, None));
    }
}
