//! The snapshot files of a simulated disk. Every change is a step, as of the rest of it; a stall does not hold them, for they are
//! used beside the I/O thread.

use std::io;

use super::disk::{PLACE, SimDisk};
use crate::disk::{Disk, DiskError, Lacking, SnapshotDisk, VolumeBytes};

fn missing(action: &'static str, name: &str) -> DiskError {
    DiskError::Io { action, place: place(name), source: io::ErrorKind::NotFound.into() }
}

fn place(name: &str) -> String {
    format!("snapshot {name} of {PLACE}")
}

fn number(offset: u64) -> usize {
    usize::try_from(offset).expect("a simulated file is in memory")
}

impl SnapshotDisk for SimDisk {
    fn place(&self, name: &str) -> String {
        place(name)
    }

    fn list(&self) -> Result<Vec<String>, DiskError> {
        Ok(self.lock().image.snapshots.names())
    }

    fn length(&self, name: &str) -> Result<Option<u64>, DiskError> {
        Ok(self.lock().image.snapshots.read(name).map(|bytes| bytes.len() as u64))
    }

    fn read_at(&self, name: &str, offset: u64, bytes: &mut [u8]) -> Result<Option<usize>, DiskError> {
        let state = self.lock();
        let Some(content) = state.image.snapshots.read(name) else { return Ok(None) };
        if offset < state.unread.end && offset + bytes.len() as u64 > state.unread.start {
            let source = io::Error::other("the simulated disk failed a read");
            return Err(DiskError::Io { action: "read", place: place(name), source });
        }
        let rest = usize::try_from(offset).ok().and_then(|offset| content.get(offset..)).unwrap_or_default();
        let filled = rest.len().min(bytes.len());
        bytes[..filled].copy_from_slice(&rest[..filled]);
        Ok(Some(filled))
    }

    fn write_at(&self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let mut state = self.step_beside()?;
        let end = offset + bytes.len() as u64;
        let length = match state.image.snapshots.read(name) {
            Some(content) => content.len() as u64,
            None if offset == 0 => 0,
            None => return Err(missing("open", name)),
        };
        if state.used() + end.saturating_sub(length) > state.capacity {
            return Err(DiskError::Full { place: place(name), what: Lacking::Bytes });
        }
        state.image.snapshots.make(name);
        state.image.snapshots.write(name, number(offset), bytes);
        state.may_stop()
    }

    fn truncate(&self, name: &str, length: u64) -> Result<(), DiskError> {
        let mut state = self.step_beside()?;
        if !state.image.snapshots.exists(name) {
            return Err(missing("open", name));
        }
        state.image.snapshots.truncate(name, number(length));
        state.may_stop()
    }

    fn sync(&self, name: &str) -> Result<(), DiskError> {
        let mut state = self.step_beside()?;
        if !state.image.snapshots.exists(name) {
            return Err(missing("open", name));
        }
        state.may_stop()?;
        let synced = state.sync_beside();
        state.image.snapshots.synced(name, synced.is_ok());
        synced
    }

    fn publish(&self, from: &str, to: &str) -> Result<(), DiskError> {
        let mut state = self.step_beside()?;
        if !state.image.snapshots.exists(from) {
            return Err(missing("rename", from));
        }
        state.image.snapshots.rename(from, to);
        state.may_stop()?;
        drop(state);
        self.sync_names()
    }

    fn remove(&self, name: &str) -> Result<(), DiskError> {
        let mut state = self.step_beside()?;
        if !state.image.snapshots.exists(name) {
            return Ok(());
        }
        state.image.snapshots.remove(name);
        state.may_stop()?;
        drop(state);
        self.sync_names()
    }

    fn volume(&self) -> Result<VolumeBytes, DiskError> {
        Ok(VolumeBytes { free: self.free_bytes()?, total: self.total_bytes()? })
    }

    fn sync_names(&self) -> Result<(), DiskError> {
        let mut state = self.step_beside()?;
        state.may_stop()?;
        state.sync_beside()?;
        state.image.snapshots.names_synced();
        Ok(())
    }
}
