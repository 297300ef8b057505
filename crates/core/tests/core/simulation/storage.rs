//! What disks do, in time: writes become durable in order, reads answer, and a store may be busy for seconds.
//!
//! Two kinds of disk. On one, each write takes a time of its own, however many are under way. The other is like the product's:
//! what is ordered during a sync waits for the next one, which takes as long again.

use quorate_core::{Effect, Persist, Reader, RoleEvent};

use super::cluster::{Cluster, Event, LogRead};
use crate::world::ReplicaEvent;

/// How writes that are under way at the same time become durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writes {
    /// Each in its own time.
    Apart,
    /// What is ordered during a sync waits for the next one.
    Together,
}

/// The syncs of one disk.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Syncs {
    /// When the one under way, or the last one, ends.
    ends: u64,
    /// When the one after it ends, if anything waits for that.
    next_ends: Option<u64>,
}

impl Syncs {
    /// When a write ordered now is durable, if a sync takes so long.
    fn add(&mut self, now: u64, takes: u64) -> u64 {
        if now >= self.ends
            && let Some(next) = self.next_ends.take()
        {
            self.ends = next;
        }
        if now >= self.ends {
            self.ends = now + takes;
            return self.ends;
        }
        *self.next_ends.get_or_insert(self.ends + takes)
    }

    /// When nothing is under way any more.
    fn idle_at(&self) -> u64 {
        self.next_ends.unwrap_or(self.ends)
    }
}

impl Cluster {
    pub(crate) fn persist(&mut self, at: usize, persist: Persist) {
        self.invariants.persisting(&self.nodes, at, &persist);
        if persist.truncate_from.is_some() {
            self.coverage.note("truncation");
        }
        if persist.install.is_some() {
            self.coverage.note("log replaced by a snapshot");
        }
        if !self.nodes[at].store_away {
            let before = self.nodes[at].disk.pending.len();
            self.nodes[at].disk.submit(persist);
            if self.nodes[at].disk.pending.len() > before && !self.nodes[at].disk_stalled {
                self.schedule_disk(at);
            }
        }
    }

    /// Completions come in order: a later write is never durable before an earlier one.
    pub(crate) fn schedule_disk(&mut self, at: usize) {
        let (min, max) = (self.options.disk_min, self.options.disk_max.max(self.options.disk_min));
        let takes = self.rng.range(min, max) * self.options.disk_factor(at);
        let now = self.now;
        let due = if self.options.writes == Writes::Together {
            self.nodes[at].syncs.add(now, takes)
        } else {
            now + takes
        };
        let due = due.max(self.nodes[at].disk_due);
        if takes >= self.options.election() / 2 {
            self.coverage.note("a sync took half an election timeout");
        }
        self.nodes[at].disk_due = due;
        let life = self.nodes[at].life;
        self.schedule(due - now, Event::DiskDone { at, life });
    }

    pub(crate) fn disk_done(&mut self, at: usize, life: u64) {
        if self.nodes[at].life != life || self.paused(at, || Event::DiskDone { at, life }) {
            return;
        }
        if self.nodes[at].disk_stalled || self.nodes[at].store_away {
            return;
        }
        if self.nodes[at].sync_fails && !self.nodes[at].disk.pending.is_empty() {
            self.fail_sync(at);
            return;
        }
        let busy = self.nodes[at].store_busy_until.saturating_sub(self.now);
        if busy > 0 {
            self.coverage.note("a write waited for a busy store");
            self.schedule(busy, Event::DiskDone { at, life });
            return;
        }
        if let Some(sequence) = self.nodes[at].disk.complete_one() {
            self.trace(|| format!("n{at} persisted {sequence}"));
            self.say(at, RoleEvent::Persisted(sequence));
        }
    }

    pub(crate) fn order_read(&mut self, at: usize, effect: Effect) {
        let Effect::ReadLog { reader, from, through, bytes_max } = effect else { return };
        let (life, mut delay) = (self.nodes[at].life, self.rng.range(1, self.options.read_max));
        if self.options.writes == Writes::Together {
            // One thread reads and writes.
            delay += self.nodes[at].syncs.idle_at().saturating_sub(self.now);
        }
        if delay >= self.options.election() {
            self.coverage.note("a read of the log took an election timeout");
        }
        let applier_life = self.nodes[at].applier.life;
        let read = LogRead { reader, from, through, bytes_max, applier_life };
        self.schedule(delay, Event::ReadDone { at, life, read });
    }

    pub(crate) fn read_done(&mut self, at: usize, life: u64, read: &LogRead) {
        if self.nodes[at].life != life || self.paused(at, || Event::ReadDone { at, life, read: read.clone() })
        {
            return;
        }
        let node = &mut self.nodes[at];
        let prev = node.disk.position(read.from.prev());
        let entries = node.disk.read(read.from, read.through, read.bytes_max);
        self.coverage.note("log read from disk");
        match &read.reader {
            Reader::Role => {
                if let Some(place) = node.disk.position(read.from) {
                    self.coverage.note("conflict below memory");
                    self.say(at, RoleEvent::Located(place));
                }
            }
            Reader::Replicator { peer, session } => {
                let (peer, session) = (peer.clone(), *session);
                self.coverage.note("entries for a peer read from disk");
                // What was ordered may have been forgotten before it was read.
                let Some(prev) = prev.filter(|_| !entries.is_empty()).map(quorate_core::Position::log_id)
                else {
                    return;
                };
                self.step(at, ReplicaEvent::Fetched { peer, session, prev, entries });
            }
            Reader::Applier if self.nodes[at].applier.life != read.applier_life => {}
            Reader::Applier => {
                if entries.is_empty() && read.from.0 <= self.nodes[at].disk.compacted {
                    // The log was replaced, and the machine is made again.
                    return;
                }
                assert!(!entries.is_empty(), "committed entries are read only where they are durable");
                self.coverage.note("entries for a machine read from disk");
                self.hand_to_applier(at, entries);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ordered_during_a_sync_waits_for_the_next_one() {
        let mut syncs = Syncs::default();
        assert_eq!(syncs.add(100, 10), 110);
        assert_eq!((syncs.add(101, 10), syncs.add(109, 10)), (120, 120), "together");
        assert_eq!(syncs.add(115, 10), 130, "behind the second");
        assert_eq!(syncs.idle_at(), 130);
        assert_eq!(syncs.add(200, 10), 210, "idle again");
    }
}
