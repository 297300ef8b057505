//! Whether a database holds no more than its making leaves there.

use std::path::Path;

use super::journal::batch;
use super::numbered::{journals, list};
use super::{manifest, preflight};
use crate::disk::DiskError;

/// The record of the database, which ends its making, is one batch.
const BATCHES_MAX: usize = 1;
/// fjall's own list of keyspaces, the only one that has tables then.
const OWN_KEYSPACE: &str = "0";

/// What is not whole counts as nothing: a making may end anywhere.
pub(super) fn is_unused(database: &Path) -> Result<bool, DiskError> {
    let mut batches = 0;
    for (_, path) in journals(database)? {
        let (bytes, mut at) = (preflight::read(&path)?, 0);
        while let Some((next, _)) = batch(&bytes, at) {
            (batches, at) = (batches + 1, next);
        }
    }
    let has_tables = |keyspace: &Path| {
        let tables = keyspace.join("tables");
        Ok::<_, DiskError>(tables.is_dir() && !list(&tables)?.is_empty())
    };
    let keyspaces =
        if database.join("keyspaces").is_dir() { manifest::keyspaces(database)? } else { Vec::new() };
    for keyspace in keyspaces.iter().filter(|path| !path.ends_with(OWN_KEYSPACE)) {
        if has_tables(keyspace)? {
            return Ok(false);
        }
    }
    Ok(batches <= BATCHES_MAX)
}
