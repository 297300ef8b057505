//! Runs: how a log lies in the database, and how a place in it is found.
//!
//! A row's key is its group and the index of its first entry, its value the contiguous entries that one batch appended.
//! Memory holds some run boundaries, each with the place before it, so that a read starts at a trusted hash and checks
//! everything from there. Their number is bounded: above it every second one is forgotten, and from then on only every
//! second run gets one, so that they lie evenly over the whole log and a search walks a bounded part of it.

use std::ops::ControlFlow;

use bytes::Bytes;
use quorate_core::{
    ENTRY_VERSION, Entry, EntryError, GroupId, HEADER_BYTES, Index, Position, decode_run, verify_run,
};

use super::disk::{Disk, Keyspace};
use super::error::StoreError;
use super::records::{parse_run_key, run_key};

/// A place where a run begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Boundary {
    /// The key of its row.
    pub(super) key: Index,
    /// The place before the first entry that counts: the one before the row, or, in the log's first row, before the
    /// log's first entry.
    pub(super) previous: Position,
    /// Bytes from here to the next boundary.
    pub(super) bytes: u64,
}

/// The boundaries of one log, ascending; empty if the log is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct RunIndex {
    boundaries: Vec<Boundary>,
    /// Runs from one boundary to the next, as a power of two; fewer after a truncation, up to twice as many after a thinning.
    stride: u32,
    /// Runs from the last boundary on.
    since: u64,
}

impl RunIndex {
    pub(super) fn push(&mut self, boundary: Boundary, boundaries_max: usize) {
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
        // The run that was new has become the end of a longer stretch.
        self.since += if is_even { 1 << self.stride } else { 0 };
        self.stride += 1;
    }

    /// The boundary from which a walk reaches `index`.
    pub(super) fn find(&self, index: Index) -> Option<Boundary> {
        let after = self.boundaries.partition_point(|boundary| boundary.previous.index < index);
        after.checked_sub(1).map(|at| self.boundaries[at])
    }

    /// The boundary from which about `bytes` of the newest entries follow.
    pub(super) fn newest(&self, bytes: u64) -> Option<Boundary> {
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

    /// Forgets every boundary whose row begins at `from` or after, and says which of the rest is last.
    pub(super) fn truncate(&mut self, from: Index) -> Option<&mut Boundary> {
        let keep = self.boundaries.partition_point(|boundary| boundary.previous.index.next() < from);
        self.boundaries.truncate(keep);
        // How many runs are left in the last stretch is not known: the next run begins another.
        self.since = 1 << self.stride;
        self.boundaries.last_mut()
    }

    /// The log begins at `first` now, which lies in the row `key`, `previous` before it.
    pub(super) fn compact(&mut self, key: Index, previous: Position) {
        let after = self.boundaries.partition_point(|boundary| boundary.key < key);
        let exact = self.boundaries.get(after).is_some_and(|boundary| boundary.key == key);
        let drop = if exact { after } else { after.saturating_sub(1) };
        self.boundaries.drain(..drop);
        if let Some(first) = self.boundaries.first_mut() {
            first.key = key;
            first.previous = previous;
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Bytes of all runs.
    pub(super) fn bytes(&self) -> u64 {
        self.boundaries.iter().map(|boundary| boundary.bytes).sum()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.boundaries.len()
    }
}

/// One row of a log, decoded and verified.
pub(super) struct Run {
    pub(super) key: Index,
    /// The place before the first of `entries`.
    pub(super) previous: Position,
    /// The entries that count; in the log's first row those below its first entry are left out.
    pub(super) entries: Vec<Entry>,
    /// Bytes of the row.
    pub(super) bytes: u64,
}

impl Run {
    pub(super) fn last(&self) -> Position {
        self.entries.last().map_or(self.previous, Entry::position)
    }
}

/// Walks the rows of a log from a boundary on, checking each against the one before: contiguous, terms that do not
/// fall, unbroken chain. Ends where the rows end, or where `visit` breaks; says the place reached.
pub(super) fn walk(
    disk: &dyn Disk,
    group: GroupId,
    (key, previous): (Index, Position),
    visit: &mut dyn FnMut(Run) -> ControlFlow<()>,
) -> Result<Position, StoreError> {
    let mut reached = previous;
    let mut failed = None;
    disk.scan(Keyspace::Log, &run_key(group, key), &mut |row, value| {
        match parse_run_key(row) {
            Some((of, _)) if of != group => return ControlFlow::Break(()),
            Some((_, key)) => match verified(group, key, reached, &value) {
                Ok(run) => {
                    reached = run.last();
                    return visit(run);
                }
                Err(error) => failed = Some(error),
            },
            None => {
                let detail = format!("a row has a key of {} bytes", row.len());
                failed = Some(StoreError::Damaged { group, near: reached.index, detail });
            }
        }
        ControlFlow::Break(())
    })?;
    failed.map_or(Ok(reached), Err)
}

fn verified(group: GroupId, key: Index, previous: Position, value: &Bytes) -> Result<Run, StoreError> {
    let mut entries = decode_run(value).map_err(|error| {
        newer(group, previous, value, &error).unwrap_or_else(|| StoreError::entry(group, key, &error))
    })?;
    let damaged = |detail: String| StoreError::Damaged { group, near: key, detail };
    if entries.first().is_none_or(|first| first.index != key) {
        return Err(damaged("a run does not begin at its key".to_owned()));
    }
    let below = entries.partition_point(|entry| entry.index <= previous.index);
    if below == entries.len() {
        return Err(damaged(format!("a run ends before index {}, where the log stands", previous.index)));
    }
    entries.drain(..below);
    verify_run(previous, &entries).map_err(|error| StoreError::entry(group, key, &error))?;
    Ok(Run { key, previous, entries, bytes: value.len() as u64 })
}

/// The refusal, if what does not decode was written so by a newer build: a binary that was downgraded must not take a
/// healthy log for a damaged one. The entries before it must be whole. A header of this build's shape is believed if
/// the chain covers it as it stands; another version may have another shape, unless the chain says that it is ours
/// with a rotten first byte.
fn newer(group: GroupId, previous: Position, value: &Bytes, error: &EntryError) -> Option<StoreError> {
    let (offset, version) = match error {
        EntryError::Version { offset, version } if *version > ENTRY_VERSION => (*offset, Some(*version)),
        EntryError::Kind { offset, .. } => (*offset, None),
        _ => return None,
    };
    let mut before = decode_run(&value.slice(..offset)).ok()?;
    let below = before.partition_point(|entry| entry.index <= previous.index);
    // Below the log's beginning nothing but the row itself says what the chain was.
    let unchecked = before.get(below.wrapping_sub(1)).map_or(previous, Entry::position);
    before.drain(..below);
    let reached = verify_run(previous, &before).ok()?;
    let last = if before.is_empty() { unchecked } else { reached };
    let head: &[u8; HEADER_BYTES] = value.get(offset..offset + HEADER_BYTES)?.try_into().ok()?;
    let place = || format!("the log of group {group} after {}", last.log_id());
    match version {
        None if is_chained(last, head, &value[offset..]) => {
            Some(StoreError::newer(format!("{} (kind {})", place(), head[1]), None))
        }
        None => None,
        Some(version) => {
            let mut ours = *head;
            ours[0] = ENTRY_VERSION;
            let rotten = is_chained(last, &ours, &value[offset..]);
            (!rotten).then(|| StoreError::newer(place(), Some(version)))
        }
    }
}

/// Whether the chain hash in `head` covers the rest of it and the payload that follows it in `entry`.
fn is_chained(before: Position, head: &[u8; HEADER_BYTES], entry: &[u8]) -> bool {
    let (fixed, chain) = head.split_at(HEADER_BYTES / 2);
    let length = u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]) as usize;
    let Some(payload) = entry.get(HEADER_BYTES..HEADER_BYTES + length) else { return false };
    let mut hasher = blake3::Hasher::new();
    hasher.update(&before.chain.0).update(fixed).update(blake3::hash(payload).as_bytes());
    hasher.finalize().as_bytes() == chain
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However long a log is, a search walks a part of it that its number of boundaries bounds: a replay reads each entry a
    /// few times, not once for each place in it.
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
