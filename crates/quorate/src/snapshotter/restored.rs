//! How a machine is made of the newest snapshot that can be read, or of its first state.

use std::io::BufReader;

use quorate_core::{GroupId, SnapshotBase};
use quorate_store::{SnapshotError, SnapshotFile, Snapshots};

use super::files::base_of;
use crate::host::machine::{MachineFactory, MachineHost};
use crate::machine::{Executor, RestoreError, SnapshotReader};

/// A machine, and the snapshot of which it was made.
pub(crate) struct Restored {
    pub(crate) executor: Executor<Box<dyn MachineHost>>,
    pub(crate) base: Option<SnapshotBase>,
}

/// Tries one snapshot after the other, the newest first. One that is damaged is passed over: an older one and the log, or a peer's,
/// gives the same state. A machine that cannot read a whole one is an error, for it would read no other either.
pub(crate) fn restore(
    machine: &dyn MachineFactory,
    files: &Snapshots,
    group: GroupId,
) -> Result<Restored, RestoreError> {
    let list = files.list(group).map_err(|error| io_error(0, error))?;
    for info in list.found {
        let tried = files.open(group, info.head.at).map_err(|error| io_error(0, error));
        match tried.and_then(|file| of_file(machine, &file)) {
            Ok(executor) => return Ok(Restored { executor, base: Some(base_of(&info.head)) }),
            Err(RestoreError::Io { source, .. }) => {
                tracing::error!(%group, index = %info.head.at.index, error = %source, "snapshot passed over");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Restored { executor: machine.restore(None)?, base: None })
}

fn of_file(
    machine: &dyn MachineFactory,
    file: &SnapshotFile,
) -> Result<Executor<Box<dyn MachineHost>>, RestoreError> {
    let length = file.info().payload_bytes;
    let mut reader = BufReader::new(file.reader());
    machine.restore(Some(SnapshotReader::new(&mut reader, length)))
}

fn io_error(offset: u64, error: SnapshotError) -> RestoreError {
    RestoreError::Io { offset, source: error.into() }
}
