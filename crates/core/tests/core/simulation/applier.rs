//! A node's applier and state machine: one job after the other, in index order, and a digest of everything applied.

use std::collections::VecDeque;

use crate::world::Snapshot;
use quorate_core::{Entry, Hash, Index, SplitMix64};

/// How long a machine takes, in microseconds.
#[derive(Debug, Clone, Default)]
pub(crate) struct MachineTimes {
    /// For each entry.
    pub(crate) entry: u64,
    /// More for each entry whose index is a multiple of `long_every` (none, if that is zero), on every node alike: a command that takes long takes as
    /// long everywhere.
    pub(crate) long: u64,
    pub(crate) long_every: u64,
    /// For each query.
    pub(crate) query: u64,
    /// To restore the machine after a start.
    pub(crate) restore: u64,
    /// On this node everything takes so many times as long.
    pub(crate) slow: Option<(usize, u64)>,
}

impl MachineTimes {
    fn factor(&self, at: usize) -> u64 {
        self.slow.filter(|(node, _)| *node == at).map_or(1, |(_, factor)| factor)
    }

    /// How long a job takes on this node, beside what any job may take.
    pub(crate) fn of(&self, at: usize, job: &Job, any_max: u64, rng: &mut SplitMix64) -> u64 {
        let any = rng.range(1, any_max);
        any + self.factor(at)
            * match job {
                Job::Apply(entries) => {
                    let is_long = |entry: &&Entry| entry.index.0.is_multiple_of(self.long_every);
                    self.entry * entries.len() as u64
                        + self.long * entries.iter().filter(is_long).count() as u64
                }
                Job::Answer(queries) => self.query * queries.len() as u64,
            }
    }
}

/// What a machine does at a time.
#[derive(Debug, Clone)]
pub(crate) enum Job {
    Apply(Vec<Entry>),
    /// Queries whose read index is applied.
    Answer(Vec<u64>),
}

/// The applier of one node.
#[derive(Debug, Clone, Default)]
pub(crate) struct Applier {
    pub(crate) applied: Index,
    /// The digest after each payload applied; independent of the log's chain hash.
    pub(crate) digests: Vec<Hash>,
    pub(crate) queue: VecDeque<Job>,
    /// The number of the job under way, which is the first of the queue.
    pub(crate) works: Option<u64>,
    /// The number of the newest job.
    pub(crate) jobs: u64,
    /// Its machine is being restored: what it is given meanwhile is lost.
    pub(crate) is_away: bool,
    /// Counts restarts: events scheduled before one are void.
    pub(crate) life: u64,
}

impl Applier {
    /// Applies entries and returns those that were new.
    pub(crate) fn apply(&mut self, entries: Vec<Entry>) -> Vec<Entry> {
        let mut new = Vec::new();
        for entry in entries {
            if entry.index <= self.applied {
                continue;
            }
            assert_eq!(entry.index, self.applied.next(), "the applier is handed entries without a gap");
            let before = self.digests.last().copied().unwrap_or_default();
            let mut bytes = before.0.to_vec();
            bytes.extend_from_slice(&entry.index.0.to_be_bytes());
            bytes.extend_from_slice(&entry.payload);
            self.digests.push(Hash::of(&bytes));
            self.applied = entry.index;
            new.push(entry);
        }
        new
    }

    /// The last index that it has applied or been handed.
    pub(crate) fn handed(&self) -> Index {
        let last = |job: &Job| match job {
            Job::Apply(entries) => entries.last().map(|entry| entry.index),
            Job::Answer(_) => None,
        };
        self.queue.iter().filter_map(last).max().unwrap_or_default().max(self.applied)
    }

    /// Restarts from the state after `keep`, or from the snapshot if that is further on.
    pub(crate) fn restart(&mut self, keep: Index, newest: Option<&Snapshot>) {
        if let Some(snapshot) = newest.filter(|snapshot| snapshot.index() > keep) {
            self.applied = snapshot.index();
            self.digests = snapshot.digests.to_vec();
        } else {
            self.applied = keep;
            self.digests.truncate(keep.0 as usize);
        }
        self.queue.clear();
        (self.works, self.is_away) = (None, false);
        self.life += 1;
    }
}
