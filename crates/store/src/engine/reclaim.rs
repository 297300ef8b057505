//! Freeing dead rows, those below a log's beginning (`safety.md` 7).

use std::ops::ControlFlow;

use quorate_core::Index;

use crate::disk::{Batch, Keyspace};
use crate::error::StoreError;
use crate::log::run_key;
use crate::store::Store;

/// Rows freed by one batch of tombstones, at most.
const TOMBSTONES_MAX: usize = 1_000;
/// Up to this many groups, dropping whole tables frees dead rows; with more, tables hold rows of many groups.
const DROP_RANGE_GROUPS_MAX: usize = 16;

impl Store {
    /// Whether rows wait to be freed.
    pub fn has_dead_runs(&self) -> bool {
        self.groups.values().any(|group| group.dead_below.is_some())
    }

    /// Frees rows below the markers: by dropping whole tables where few groups share them (rows that come back after
    /// reopening are harmless below the marker), by tombstones where many do.
    pub fn reclaim(&mut self) -> Result<(), StoreError> {
        self.change(Self::free_dead_rows)
    }

    fn free_dead_rows(&mut self) -> Result<(), StoreError> {
        let few = self.groups.len() <= DROP_RANGE_GROUPS_MAX;
        for state in self.groups.values_mut() {
            let Some(below) = state.dead_below.take() else { continue };
            let (from, to) = (run_key(state.group, Index::ZERO), run_key(state.group, below));
            if few {
                self.disk.drop_range(Keyspace::Log, &from, &to)?;
                continue;
            }
            let mut batch = Batch::new();
            let mut rows = 0;
            self.disk.scan(Keyspace::Log, &from, &mut |key, _| {
                if key >= to.as_slice() || rows == TOMBSTONES_MAX {
                    return ControlFlow::Break(());
                }
                rows += 1;
                batch.remove(Keyspace::Log, key.to_vec());
                ControlFlow::Continue(())
            })?;
            if rows > 0 {
                self.disk.commit(&batch)?;
            }
            if rows == TOMBSTONES_MAX {
                state.dead_below = Some(below);
            }
        }
        Ok(())
    }
}
