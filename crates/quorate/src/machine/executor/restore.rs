//! An executor captured as a snapshot, made of one, or replaced by one.

use quorate_core::Position;

use super::apply::{Executor, OnUnreadable};
use super::error::CaptureError;
use super::image::{SnapshotZero, image, read};
use crate::machine::caught::caught;
use crate::machine::snapshot::{RestoreError, Snapshot, SnapshotReader};
use crate::machine::state_machine::StateMachine;

impl<M: StateMachine> Executor<M> {
    /// Captures machine and sessions, cheaply; the holder of the [`Snapshot`] produces the bytes. It covers all entries up
    /// to the position beside it.
    pub fn snapshot(&self) -> Result<(Position, Snapshot), CaptureError> {
        self.snapshot_with(StateMachine::snapshot)
    }

    /// Makes an executor of the newest snapshot, or of snapshot zero where there is none. The log from
    /// [`applied`](Self::applied) on has to be replayed into it, without replies or events.
    pub fn restore(zero: SnapshotZero, newest: Option<SnapshotReader<'_>>) -> Result<Self, RestoreError> {
        Self::restore_with(zero, newest, |reader| M::restore(reader))
    }

    /// Replaces machine, sessions and position by a snapshot that is ahead, as sent by a leader. It also heals a faulted
    /// executor whose entry it has passed. On an error everything stays as it was.
    pub fn install(&mut self, reader: SnapshotReader<'_>) -> Result<Position, RestoreError> {
        let (head, machine) = read(reader, |reader| M::restore(reader))?;
        let at = head.position();
        if at.index <= self.applied.index {
            return Err(RestoreError::Behind { snapshot: at.index, applied: self.applied.index });
        }
        let unreadable = head.unreadable;
        let keys = head.into_keys()?;
        let before = std::mem::replace(&mut self.machine, Ok(machine));
        (self.keys, self.applied, self.unreadable) = (keys, at, unreadable);
        // A panic in the old machine's destructor must not fail the install.
        drop(caught(|| drop(before)));
        Ok(at)
    }
}

impl<M> Executor<M> {
    /// As `snapshot`, with the function that captures the machine.
    pub(crate) fn snapshot_with(
        &self,
        capture: impl FnOnce(&M) -> Snapshot,
    ) -> Result<(Position, Snapshot), CaptureError> {
        let machine = self.running().map_err(CaptureError::Faulted)?;
        let machine = caught(|| capture(machine)).map_err(|message| CaptureError::Panicked { message })?;
        Ok((self.applied, image(machine, self.applied, self.unreadable, &self.keys)))
    }

    /// As `restore`, with the function that makes the machine of its bytes.
    pub(crate) fn restore_with(
        zero: SnapshotZero,
        newest: Option<SnapshotReader<'_>>,
        machine: impl FnOnce(SnapshotReader<'_>) -> Result<M, RestoreError>,
    ) -> Result<Self, RestoreError> {
        let (head, machine) = if let Some(reader) = newest {
            read(reader, machine)?
        } else {
            let mut bytes: &[u8] = &zero.0;
            let length = bytes.len() as u64;
            read(SnapshotReader::new(&mut bytes, length), machine)?
        };
        let (applied, unreadable) = (head.position(), head.unreadable);
        Ok(Self {
            machine: Ok(machine),
            keys: head.into_keys()?,
            applied,
            unreadable,
            on_unreadable: OnUnreadable::default(),
            zero,
            heard: true,
        })
    }
}
