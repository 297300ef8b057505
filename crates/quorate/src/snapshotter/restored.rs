//! How a machine is made of the newest snapshot that can be read, or of its first state.

use std::io::BufReader;

use quorate_core::{GroupId, Index, SnapshotBase};
use quorate_store::{SnapshotError, SnapshotFile, Snapshots};

use super::files::{base_of, set_aside};
use crate::host::machine::{MachineFactory, MachineHost};
use crate::machine::{Executor, RestoreError, SnapshotReader};

/// A machine, and the snapshot of which it was made.
pub(crate) struct Made {
    pub(crate) executor: Executor<Box<dyn MachineHost>>,
    pub(crate) base: Option<SnapshotBase>,
}

/// How a restore ended.
pub(crate) struct Restored {
    pub(crate) machine: Result<Made, RestoreError>,
    /// Where the snapshots end that could not be read.
    pub(crate) passed_over: Vec<Index>,
}

/// Tries one snapshot after the other, the newest first. One that is damaged is set aside: an older one and the log, or a peer's,
/// gives the same state. A machine that cannot read a whole one is an error, for it would read no other either.
pub(crate) fn restore(machine: &dyn MachineFactory, files: &Snapshots, group: GroupId) -> Restored {
    let mut passed_over = Vec::new();
    let machine = newest(machine, files, group, &mut passed_over);
    Restored { machine, passed_over }
}

fn newest(
    machine: &dyn MachineFactory,
    files: &Snapshots,
    group: GroupId,
    passed_over: &mut Vec<Index>,
) -> Result<Made, RestoreError> {
    let io = |error: SnapshotError| RestoreError::Io { offset: 0, source: error.into() };
    let mut list = files.list(group).map_err(io)?;
    // What the disk does not give now may be whole: the machine is made again after a pause, and not of less.
    if let Some(at) = list.damaged.iter().position(|damaged| is_unread(&damaged.error)) {
        return Err(io(list.damaged.swap_remove(at).error));
    }
    // Whole when the snapshotter looked, which has to hear of it: it would have the machine made of them again and again.
    for damaged in &list.damaged {
        set_aside(files, group, damaged.index, &damaged.error);
        passed_over.push(damaged.index);
    }
    for info in list.found {
        let at = info.head.at;
        let damage = match files.open(group, at) {
            Ok(file) => match of_file(machine, &file) {
                Ok(executor) => return Ok(Made { executor, base: Some(base_of(&info.head)) }),
                // Whatever the machine says of bytes that ended within a record: the file is asked whether it is whole.
                Err(error) => match file.verify() {
                    Ok(_) => return Err(error),
                    Err(damage) => damage,
                },
            },
            Err(error) => error,
        };
        if is_unread(&damage) {
            return Err(io(damage));
        }
        if !matches!(damage, SnapshotError::Gone { .. }) {
            set_aside(files, group, at.index, &damage);
        }
        passed_over.push(at.index);
    }
    Ok(Made { executor: machine.restore(None)?, base: None })
}

fn is_unread(error: &SnapshotError) -> bool {
    matches!(error, SnapshotError::Disk(_))
}

fn of_file(
    machine: &dyn MachineFactory,
    file: &SnapshotFile,
) -> Result<Executor<Box<dyn MachineHost>>, RestoreError> {
    let length = file.info().payload_bytes;
    let mut reader = BufReader::new(file.reader());
    machine.restore(Some(SnapshotReader::new(&mut reader, length)))
}

#[cfg(test)]
mod tests;
