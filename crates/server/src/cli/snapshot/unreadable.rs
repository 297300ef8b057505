//! How a command ends whose snapshot file cannot be read.

use std::path::Path;

use quorate::store::SnapshotError;

use super::super::exit::{Exit, Failure};

pub(super) fn unreadable(file: &Path, error: &SnapshotError) -> Failure {
    let exit = match error {
        SnapshotError::Gone { .. } => {
            return Failure::new(Exit::NotFound, format!("{} is not there", file.display()));
        }
        error if error.is_no_room() => Exit::DiskFull,
        _ => Exit::Failed,
    };
    Failure::new(exit, error.to_string())
}
