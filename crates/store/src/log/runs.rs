//! Runs: how a log lies in the database.
//!
//! A row's key is its group and the index of its first entry; its value is the contiguous entries that one batch appended.

use std::ops::ControlFlow;

use bytes::Bytes;
use quorate_core::{Entry, GroupId, Index, Position, decode_run, verify_run};

use super::newer;
use super::records::{parse_run_key, run_key};
use crate::disk::{Disk, Keyspace};
use crate::error::StoreError;

/// A row of a log, decoded and verified.
pub(crate) struct Run {
    pub(crate) key: Index,
    /// The position before the first of `entries`.
    pub(crate) previous: Position,
    /// The live entries: in the log's first row, those below the log's beginning are left out.
    pub(crate) entries: Vec<Entry>,
    /// Bytes of the row.
    pub(crate) bytes: u64,
}

impl Run {
    pub(crate) fn last(&self) -> Position {
        self.entries.last().map_or(self.previous, Entry::position)
    }
}

/// Walks the rows of a log from a boundary on and checks each against the one before: contiguous, terms do not fall, hash
/// chain unbroken. Ends where the rows end or `visit` breaks; returns the position reached.
pub(crate) fn walk(
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
        newer::refusal(group, previous, value, &error)
            .unwrap_or_else(|| StoreError::entry(group, key, &error))
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
