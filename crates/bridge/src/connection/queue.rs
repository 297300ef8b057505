//! The send queue of one connection, bounded in bytes.
//!
//! Three lanes, emptied in this order:
//! - *system*: keepalive, monitor traffic, failure answers. Small. Never dropped; a peer that lets more than
//!   [`SYSTEM_BYTES_MAX`] of them pile up does not read, and its connection is closed.
//! - *control*: `control_bytes_max`. When full, the OLDEST are dropped for the newest. Bulk never displaces control.
//! - *bulk*: `queue_bytes_max`. When full the newest is refused as Busy.
//!
//! Replies are never dropped for room (their number is bounded by `calls_inbound_max`), but above twice the bulk bound
//! they are refused to the actor and the caller is told.

use crate::frame::{Class, FRAGMENT_BYTES, HEADER_BYTES};
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;

/// The bound of the system lane.
pub(crate) const SYSTEM_BYTES_MAX: usize = 4 << 20;

/// Why a message was not queued.
#[derive(Debug)]
pub(crate) enum PushError {
    Full { queued: usize, max: usize },
    Closed { reason: Arc<str> },
}

/// What an item is: it decides whether the item may be dropped and who is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ItemKind {
    System,
    Cast,
    Call(u64),
    Reply,
}

struct Item {
    sequence: u64,
    kind: ItemKind,
    /// Empty: taken back by its sender.
    bytes: Bytes,
    /// Bytes already handed to the writer, as fragments.
    offset: usize,
}

#[derive(Default)]
struct Lane {
    items: VecDeque<Item>,
    bytes: usize,
}

/// One frame for the writer, or one fragment of a long one.
pub(crate) enum Piece {
    Whole(Bytes),
    Fragment { class: Class, offset: usize, total: usize, bytes: Bytes },
}

pub(crate) struct Queue {
    system: Lane,
    control: Lane,
    bulk: Lane,
    sequence: u64,
    control_bytes_max: usize,
    bulk_bytes_max: usize,
    /// Casts whose first byte went to the writer.
    pub(crate) casts_handed: u64,
}

/// Items that will not be sent: displaced by a newer control message, or still queued when the connection ended.
#[derive(Default)]
pub(crate) struct Dropped {
    pub(crate) casts: u64,
    pub(crate) calls: Vec<u64>,
}

impl Queue {
    pub(crate) fn new(control_bytes_max: usize, bulk_bytes_max: usize) -> Self {
        let (system, control, bulk) = Default::default();
        Self { system, control, bulk, sequence: 0, control_bytes_max, bulk_bytes_max, casts_handed: 0 }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.system.bytes + self.control.bytes + self.bulk.bytes
    }

    /// Queues a system frame; false if the peer has let too many pile up.
    pub(crate) fn push_system(&mut self, bytes: Bytes) -> bool {
        self.sequence += 1;
        push(&mut self.system, self.sequence, ItemKind::System, bytes);
        self.system.bytes <= SYSTEM_BYTES_MAX
    }

    /// Queues a message under its class's policy; returns its sequence, for `take_back`.
    pub(crate) fn push(
        &mut self,
        class: Class,
        kind: ItemKind,
        bytes: Bytes,
    ) -> Result<(u64, Dropped), PushError> {
        let mut displaced = Dropped::default();
        if kind == ItemKind::Reply {
            let queued = self.bytes();
            if queued > 2 * self.bulk_bytes_max {
                return Err(PushError::Full { queued, max: 2 * self.bulk_bytes_max });
            }
        } else {
            match class {
                Class::Control => self.make_room(bytes.len(), &mut displaced)?,
                Class::Bulk => {
                    if self.bulk.bytes + bytes.len() > self.bulk_bytes_max {
                        return Err(PushError::Full { queued: self.bulk.bytes, max: self.bulk_bytes_max });
                    }
                }
            }
        }
        self.sequence += 1;
        let sequence = self.sequence;
        push(self.lane(class), sequence, kind, bytes);
        Ok((self.sequence, displaced))
    }

    fn lane(&mut self, class: Class) -> &mut Lane {
        match class {
            Class::Control => &mut self.control,
            Class::Bulk => &mut self.bulk,
        }
    }

    /// Drops the oldest control messages that are not replies and not half sent, until `length` fits.
    fn make_room(&mut self, length: usize, displaced: &mut Dropped) -> Result<(), PushError> {
        let max = self.control_bytes_max;
        let lane = &mut self.control;
        if length > max {
            return Err(PushError::Full { queued: lane.bytes, max });
        }
        let mut at = 0;
        while lane.bytes + length > max {
            let Some(item) = lane.items.get(at) else {
                return Err(PushError::Full { queued: lane.bytes, max });
            };
            match item.kind {
                ItemKind::Cast if item.offset == 0 => displaced.casts += u64::from(!item.bytes.is_empty()),
                ItemKind::Call(call) if item.offset == 0 => displaced.calls.push(call),
                ItemKind::Cast | ItemKind::Call(_) | ItemKind::Reply | ItemKind::System => {
                    at += 1;
                    continue;
                }
            }
            lane.bytes -= item.bytes.len();
            lane.items.remove(at);
        }
        Ok(())
    }

    /// Takes a message back; true if none of it had been handed to the writer.
    pub(crate) fn take_back(&mut self, class: Class, sequence: u64) -> bool {
        let lane = self.lane(class);
        let at = lane.items.partition_point(|item| item.sequence < sequence);
        match lane.items.get_mut(at) {
            Some(item) if item.sequence == sequence && item.offset == 0 => {
                lane.bytes -= item.bytes.len();
                // Left in place, empty: removing it from the middle would move the items behind it.
                item.bytes = Bytes::new();
                true
            }
            Some(_) | None => false,
        }
    }

    /// Moves to `pieces` what to write next: up to about `budget` bytes, system first, then control, then bulk. A long message
    /// is cut into pieces of at most so many bytes.
    pub(crate) fn take(&mut self, budget: usize, pieces: &mut Vec<Piece>) {
        let mut left = budget;
        for (class, lane) in [
            (Class::Control, &mut self.system),
            (Class::Control, &mut self.control),
            (Class::Bulk, &mut self.bulk),
        ] {
            while left > 0 {
                let Some(item) = lane.items.front_mut() else { break };
                if item.offset == 0 && item.kind == ItemKind::Cast && !item.bytes.is_empty() {
                    self.casts_handed += 1;
                }
                let total = item.bytes.len();
                if total <= FRAGMENT_BYTES + HEADER_BYTES {
                    let item = lane.items.pop_front().expect("it was at the front");
                    lane.bytes -= total;
                    left = left.saturating_sub(total);
                    if total > 0 {
                        pieces.push(Piece::Whole(item.bytes));
                    }
                    continue;
                }
                let end = total.min(item.offset + FRAGMENT_BYTES.min(budget));
                let bytes = item.bytes.slice(item.offset..end);
                pieces.push(Piece::Fragment { class, offset: item.offset, total, bytes });
                left = left.saturating_sub(end - item.offset);
                lane.bytes -= end - item.offset;
                item.offset = end;
                if end == total {
                    lane.items.pop_front();
                }
            }
        }
    }

    /// Empties the queue at the end of its connection.
    pub(crate) fn clear(&mut self) -> Dropped {
        let mut unsent = Dropped::default();
        for lane in [&mut self.system, &mut self.control, &mut self.bulk] {
            for item in lane.items.drain(..).filter(|item| item.offset == 0 && !item.bytes.is_empty()) {
                match item.kind {
                    ItemKind::Cast => unsent.casts += 1,
                    ItemKind::Call(call) => unsent.calls.push(call),
                    ItemKind::System | ItemKind::Reply => {}
                }
            }
            lane.bytes = 0;
        }
        unsent
    }
}

fn push(lane: &mut Lane, sequence: u64, kind: ItemKind, bytes: Bytes) {
    lane.bytes += bytes.len();
    lane.items.push_back(Item { sequence, kind, bytes, offset: 0 });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(length: usize) -> Bytes {
        Bytes::from(vec![7; length])
    }

    fn drain(queue: &mut Queue) -> Vec<usize> {
        let mut pieces = Vec::new();
        queue.take(usize::MAX, &mut pieces);
        pieces
            .iter()
            .map(|piece| match piece {
                Piece::Whole(bytes) | Piece::Fragment { bytes, .. } => bytes.len(),
            })
            .collect()
    }

    #[test]
    fn bulk_is_refused_when_full_and_control_keeps_the_newest() {
        let mut queue = Queue::new(100, 100);
        queue.push(Class::Bulk, ItemKind::Cast, bytes(90)).unwrap();
        assert!(matches!(
            queue.push(Class::Bulk, ItemKind::Cast, bytes(11)),
            Err(PushError::Full { queued: 90, max: 100 })
        ));
        queue.push(Class::Control, ItemKind::Cast, bytes(60)).unwrap();
        queue.push(Class::Control, ItemKind::Call(9), bytes(30)).unwrap();
        let (_, displaced) = queue.push(Class::Control, ItemKind::Cast, bytes(80)).unwrap();
        assert_eq!((displaced.casts, displaced.calls), (1, vec![9]));
        assert_eq!(drain(&mut queue), [80, 90], "control first");
        assert_eq!(queue.bytes(), 0);
    }

    #[test]
    fn a_big_message_goes_in_fragments_with_control_between() {
        let mut queue = Queue::new(1000, 1 << 20);
        queue.push(Class::Bulk, ItemKind::Cast, bytes(FRAGMENT_BYTES * 3)).unwrap();
        let mut pieces = Vec::new();
        queue.take(FRAGMENT_BYTES, &mut pieces);
        queue.push(Class::Control, ItemKind::Cast, bytes(10)).unwrap();
        assert_eq!(drain(&mut queue), [10, FRAGMENT_BYTES, FRAGMENT_BYTES]);
        assert_eq!((queue.bytes(), queue.casts_handed), (0, 2));
    }

    /// On a slow link the writer asks for little at a time.
    #[test]
    fn a_piece_of_a_big_message_is_no_longer_than_what_is_asked_for() {
        let mut queue = Queue::new(1000, 1 << 20);
        queue.push(Class::Bulk, ItemKind::Cast, bytes(FRAGMENT_BYTES * 2)).unwrap();
        let mut pieces = Vec::new();
        queue.take(8 << 10, &mut pieces);
        assert!(matches!(&pieces[..], [Piece::Fragment { offset: 0, bytes, .. }] if bytes.len() == 8 << 10));
    }

    #[test]
    fn what_was_not_handed_over_can_be_taken_back_and_is_counted_as_unsent() {
        let mut queue = Queue::new(1000, 1 << 20);
        let (first, _) = queue.push(Class::Bulk, ItemKind::Call(1), bytes(10)).unwrap();
        let mut pieces = Vec::new();
        queue.take(1, &mut pieces);
        let (second, _) = queue.push(Class::Bulk, ItemKind::Call(2), bytes(10)).unwrap();
        queue.push(Class::Bulk, ItemKind::Call(3), bytes(10)).unwrap();
        queue.push(Class::Bulk, ItemKind::Cast, bytes(10)).unwrap();
        assert!(!queue.take_back(Class::Bulk, first));
        assert!(queue.take_back(Class::Bulk, second));
        let unsent = queue.clear();
        assert_eq!((unsent.casts, unsent.calls), (1, vec![3]));
    }
}
