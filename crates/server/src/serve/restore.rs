//! Makes the data directory of a node that does not run, of a snapshot: a new cluster from a backup.

use std::path::Path;

use quorate::{RestoreFailed, Restored};

use super::error::ServeError;
use super::options::ServeOptions;
use super::running::{builder, make_private, own_entry};

/// Why no directory was made.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The options.
    #[error(transparent)]
    Options(#[from] ServeError),
    /// The snapshot or the directory.
    #[error(transparent)]
    Restore(#[from] RestoreFailed),
}

/// Makes the directory that [`serve`](super::serve) with the same options starts from, and returns what was in the snapshot, and its new cluster. It blocks.
pub fn restore(options: &ServeOptions, snapshot: &Path) -> Result<Restored, RestoreError> {
    let entry = own_entry(options)?;
    // Without the API's address, which nodes tell each other: the members are then the same in every directory.
    let restored = builder(options, entry, "").restore(snapshot)?;
    make_private(&options.data_dir)
        .map_err(|source| ServeError::DataDir { path: options.data_dir.clone(), source })?;
    Ok(restored)
}
