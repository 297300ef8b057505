//! The index of runs in memory: where a read or a walk can start.
//!
//! Each boundary has the position before it, so that a read starts at a trusted hash and checks everything from there. The number
//! of boundaries is bounded: above it every second one is removed, and from then on only every second run gets one, so that
//! they lie evenly over the whole log and a search walks a bounded part of it.

use quorate_core::{Index, Position};

/// Where a run begins, from which a read can start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Boundary {
    /// The key of its row.
    pub(crate) key: Index,
    /// The position before the run's first entry; in the log's first row, the position before the log's first entry.
    pub(crate) previous: Position,
    /// Bytes from here to the next boundary.
    pub(crate) bytes: u64,
}

/// The boundaries of one log, ascending; empty if the log is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RunIndex {
    boundaries: Vec<Boundary>,
    /// Runs from one boundary to the next, as a power of two; fewer after a truncation, up to twice as many after thinning.
    stride: u32,
    /// Runs since the last boundary.
    since: u64,
}

impl RunIndex {
    pub(crate) fn push(&mut self, boundary: Boundary, boundaries_max: usize) {
        if let Some(last) = self.boundaries.last_mut().filter(|_| self.since < 1 << self.stride) {
            last.bytes += boundary.bytes;
            self.since += 1;
            return;
        }
        self.boundaries.push(boundary);
        self.since = 1;
        if self.boundaries.len() > boundaries_max.max(4) {
            self.thin();
        }
    }

    fn thin(&mut self) {
        let is_even = self.boundaries.len().is_multiple_of(2);
        for pair in std::mem::take(&mut self.boundaries).chunks(2) {
            let bytes = pair.iter().map(|boundary| boundary.bytes).sum();
            self.boundaries.push(Boundary { bytes, ..pair[0] });
        }
        // The newest run is now the end of a longer stretch.
        self.since += if is_even { 1 << self.stride } else { 0 };
        self.stride += 1;
    }

    /// The boundary from which a walk reaches `index`.
    pub(crate) fn find(&self, index: Index) -> Option<Boundary> {
        let after = self.boundaries.partition_point(|boundary| boundary.previous.index < index);
        after.checked_sub(1).map(|at| self.boundaries[at])
    }

    /// The boundary after which about `bytes` of the newest entries follow.
    pub(crate) fn newest(&self, bytes: u64) -> Option<Boundary> {
        let mut found = None;
        let mut sum = 0;
        for boundary in self.boundaries.iter().rev() {
            if found.is_some() && sum + boundary.bytes > bytes {
                break;
            }
            sum += boundary.bytes;
            found = Some(*boundary);
        }
        found
    }

    /// Removes every boundary whose row begins at `from` or after; returns the last remaining one.
    pub(crate) fn truncate(&mut self, from: Index) -> Option<&mut Boundary> {
        let keep = self.boundaries.partition_point(|boundary| boundary.previous.index.next() < from);
        self.boundaries.truncate(keep);
        // How many runs are left in the last stretch is unknown: the next run begins another.
        self.since = 1 << self.stride;
        self.boundaries.last_mut()
    }

    /// The log now begins after `previous`, in the row `key`.
    pub(crate) fn compact(&mut self, key: Index, previous: Position) {
        let after = self.boundaries.partition_point(|boundary| boundary.key < key);
        let exact = self.boundaries.get(after).is_some_and(|boundary| boundary.key == key);
        let drop = if exact { after } else { after.saturating_sub(1) };
        self.boundaries.drain(..drop);
        if let Some(first) = self.boundaries.first_mut() {
            first.key = key;
            first.previous = previous;
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Bytes of all runs of the log.
    pub(crate) fn bytes(&self) -> u64 {
        self.boundaries.iter().map(|boundary| boundary.bytes).sum()
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.boundaries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A search walks a bounded part of the log, however long the log is: a replay reads each entry a
    /// few times, not once per index.
    #[test]
    fn boundaries_stay_spread_over_the_whole_log() {
        const RUNS: u64 = 50_000;
        const BOUNDARIES_MAX: usize = 64;
        let mut index = RunIndex::default();
        for at in 0..RUNS {
            let previous = Position { index: Index(at), ..Position::ORIGIN };
            index.push(Boundary { key: Index(at + 1), previous, bytes: 1 }, BOUNDARIES_MAX);
        }
        let walked = |to: u64| to - index.find(Index(to)).expect("the log begins somewhere").previous.index.0;
        let furthest = (1..=RUNS).map(walked).max().expect("there are some");
        assert!(furthest <= 2 * RUNS / BOUNDARIES_MAX as u64 + 1, "a search walks {furthest} of {RUNS} runs");
        assert_eq!(index.bytes(), RUNS, "none is forgotten in the sum");
    }
}
