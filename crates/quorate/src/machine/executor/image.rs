//! An executor as bytes, and back.
//!
//! ```text
//! 0..4     "QRMI"
//! 4..8     version, 1, big-endian
//! 8..12    length of the head, big-endian
//! ..       the head: position, sessions, refused commands; MessagePack with named fields
//! rest     the machine's own bytes
//! ```
//! Checksums are the Snapshotter's: it stores and sends these bytes in checksummed chunks.

use bytes::Bytes;
use quorate_core::{Hash, Index, Position, Term};
use serde::{Deserialize, Serialize};

use super::{CaptureError, Executor, Life, OnUnreadable, StateMachine, caught};
use crate::machine::codec;
use crate::machine::sessions::{KEPT_REPLIES_BYTES_MAX, Sessions, SessionsImage};
use crate::machine::snapshot::{RestoreError, Snapshot, SnapshotReader};

const MAGIC: [u8; 4] = *b"QRMI";
const VERSION: u32 = 1;
/// The replies that are kept, and as much again as 4,096 sessions and a position could ever take.
const HEAD_BYTES_MAX: usize = KEPT_REPLIES_BYTES_MAX + (2 << 20);

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    index: Index,
    term: Term,
    #[serde(with = "serde_bytes")]
    chain: [u8; 32],
    unreadable: u64,
    sessions: SessionsImage,
}

/// A machine before the first entry, as bytes. Cloning shares them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotZero(Bytes);

impl SnapshotZero {
    pub(super) fn capture<M: StateMachine>(machine: &M) -> Result<Self, CaptureError> {
        let bytes =
            caught(|| image(machine.snapshot(), Position::ORIGIN, 0, &Sessions::default()).into_bytes())
                .map_err(|message| CaptureError::Panicked { message })??;
        Ok(Self(bytes))
    }

    /// The bytes, in the same format as any snapshot of an executor.
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }
}

fn image(machine: Snapshot, at: Position, unreadable: u64, sessions: &Sessions) -> Snapshot {
    let (index, term, chain) = (at.index, at.term, at.chain.0);
    let head = Head { index, term, chain, unreadable, sessions: sessions.image() };
    Snapshot::new(move |out| {
        let head = codec::encode(&head, HEAD_BYTES_MAX).map_err(std::io::Error::other)?;
        let length = u32::try_from(head.len()).map_err(std::io::Error::other)?;
        out.write_all(&MAGIC)?;
        out.write_all(&VERSION.to_be_bytes())?;
        out.write_all(&length.to_be_bytes())?;
        out.write_all(&head)?;
        machine.write_to(out)
    })
}

impl<M: StateMachine> Executor<M> {
    /// Captures machine and sessions, cheaply; the bytes are produced by whoever holds the [`Snapshot`]. It stands for all
    /// entries up to the position beside it.
    pub fn snapshot(&self) -> Result<(Position, Snapshot), CaptureError> {
        let machine = self.life.running().map_err(|fault| CaptureError::Faulted(fault.clone()))?;
        let machine = caught(|| machine.snapshot()).map_err(|message| CaptureError::Panicked { message })?;
        Ok((self.applied, image(machine, self.applied, self.unreadable, &self.sessions)))
    }

    /// Makes an executor of the newest snapshot, or of snapshot zero where there is none. The log from
    /// [`applied`](Self::applied) on has to be replayed into it, without replies or events.
    pub fn restore(zero: SnapshotZero, newest: Option<SnapshotReader<'_>>) -> Result<Self, RestoreError> {
        let (head, machine) = if let Some(reader) = newest {
            read(reader)?
        } else {
            let mut bytes: &[u8] = &zero.0;
            let length = bytes.len() as u64;
            read(SnapshotReader::new(&mut bytes, length))?
        };
        let applied = head.position();
        Ok(Self {
            life: Life::Running(machine),
            sessions: Sessions::of_image(head.sessions, applied.index)?,
            applied,
            unreadable: head.unreadable,
            on_unreadable: OnUnreadable::default(),
            zero,
        })
    }

    /// Replaces machine, sessions and position by a snapshot that is ahead, as sent by a leader. It also heals a faulted
    /// executor whose entry it has passed. On an error everything stays as it was.
    pub fn install(&mut self, reader: SnapshotReader<'_>) -> Result<Position, RestoreError> {
        let (head, machine) = read::<M>(reader)?;
        let at = head.position();
        if at.index <= self.applied.index {
            return Err(RestoreError::Behind { snapshot: at.index, applied: self.applied.index });
        }
        let sessions = Sessions::of_image(head.sessions, at.index)?;
        let before = std::mem::replace(&mut self.life, Life::Running(machine));
        (self.sessions, self.applied, self.unreadable) = (sessions, at, head.unreadable);
        // The new machine must not suffer from a destructor of the old one.
        drop(caught(|| drop(before)));
        Ok(at)
    }
}

impl Head {
    fn position(&self) -> Position {
        Position { index: self.index, term: self.term, chain: Hash(self.chain) }
    }
}

fn read<M: StateMachine>(mut reader: SnapshotReader<'_>) -> Result<(Head, M), RestoreError> {
    if reader.exact()? != MAGIC {
        return Err(RestoreError::invalid("it does not begin as a snapshot of a group's machine"));
    }
    let found = u32::from_be_bytes(reader.exact()?);
    if found != VERSION {
        return Err(RestoreError::Version { what: "a group", found, known: VERSION });
    }
    let length = u32::from_be_bytes(reader.exact()?) as usize;
    if length > HEAD_BYTES_MAX {
        return Err(RestoreError::invalid(format!("its head claims {length} bytes")));
    }
    let head = SnapshotReader::new(&mut reader, length as u64).rest()?;
    let head: Head = codec::decode(&head)?;
    let rest = reader.remaining();
    let machine = caught(|| M::restore(SnapshotReader::new(&mut reader, rest)))
        .map_err(|message| RestoreError::Panicked { message })??;
    // Checked here, for every machine.
    reader.end()?;
    Ok((head, machine))
}
