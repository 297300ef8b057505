//! A truncation inside a log: which rows it removes, and what remains of the row it cuts.

use std::ops::ControlFlow;

use bytes::Bytes;
use quorate_core::{Entry, Index, Position, encode_run};

use crate::disk::Disk;
use crate::error::StoreError;
use crate::log::{GroupState, walk};

/// What a truncation changes on disk.
pub(super) struct Cut {
    /// The first index removed.
    pub(super) from: Index,
    /// The position before `from`.
    pub(super) before: Position,
    /// Key and value of the row that begins before `from`, without what is cut off.
    pub(super) rest: Option<(Index, Bytes)>,
    /// Keys of the rows removed.
    pub(super) rows: Vec<Index>,
    /// The boundary from which the rows were walked, and the bytes that remain after it.
    pub(super) kept: Option<(Index, u64)>,
}

impl Cut {
    /// Finds the rows that a truncation of `group` at `from` concerns.
    pub(super) fn find(disk: &dyn Disk, group: &GroupState, from: Index) -> Result<Self, StoreError> {
        if from <= group.start.index {
            let detail = format!("truncation at {from}, below its first entry");
            return Err(StoreError::Order { group: group.group, detail });
        }
        let mut cut = Self { from, before: group.start, rest: None, rows: Vec::new(), kept: None };
        let Some(boundary) = group.runs.find(from) else { return Ok(cut) };
        cut.before = boundary.previous;
        let mut kept_bytes = 0;
        walk(disk, group.group, (boundary.key, boundary.previous), &mut |run| {
            if run.key >= from {
                cut.rows.push(run.key);
            } else if run.last().index < from {
                cut.before = run.last();
                kept_bytes += run.bytes;
            } else {
                let keep = run.entries.partition_point(|entry| entry.index < from);
                let kept = &run.entries[..keep];
                cut.before = kept.last().map_or(run.previous, Entry::position);
                // The log's first row may begin below the marker. The row is removed if none of its live entries remain;
                // otherwise its key moves up to the first live entry.
                let key = kept.first().map(|first| first.index);
                cut.rest = key.map(|key| (key, encode_run(kept)));
                kept_bytes += cut.rest.as_ref().map_or(0, |(_, bytes)| bytes.len() as u64);
                if key != Some(run.key) {
                    cut.rows.push(run.key);
                }
            }
            ControlFlow::Continue(())
        })?;
        cut.kept = Some((boundary.key, kept_bytes));
        Ok(cut)
    }

    /// Whether the cut removes the first row, which began below the log's first entry, so that the marker must name a new
    /// row.
    pub(super) fn moves_first(&self, first: Index) -> bool {
        self.rows.iter().any(|row| *row < first)
    }
}
