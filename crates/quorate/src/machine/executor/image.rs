//! An executor as bytes, and back.
//!
//! ```text
//! 0..4     "QRMI"
//! 4..8     version, 2, big-endian; 1, without opaque keys and hashes of commands, is read too
//! 8..12    length of the head, big-endian
//! ..       the head: position, sessions, opaque keys, refused commands; MessagePack with named fields
//! rest     the machine's own bytes
//! ```
//! No checksum is in here: it belongs to the chunks in which these bytes are stored and sent.

use bytes::Bytes;
use quorate_core::{Hash, Index, Position, Term};
use serde::{Deserialize, Serialize};

use super::error::CaptureError;
use crate::machine::caught::caught;
use crate::machine::codec;
use crate::machine::key_table::KeyTable;
use crate::machine::sessions::{KEPT_REPLIES_BYTES_MAX, SessionsImage};
use crate::machine::snapshot::{RestoreError, Snapshot, SnapshotReader};
use crate::machine::state_machine::StateMachine;

const MAGIC: [u8; 4] = *b"QRMI";
const VERSION: u32 = 2;
/// The replies that are kept of sessions and of opaque keys, and as much again as 4,096 sessions, 65,536 keys and a position
/// could ever take.
const HEAD_BYTES_MAX: usize = 2 * KEPT_REPLIES_BYTES_MAX + (16 << 20);

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Head {
    index: Index,
    term: Term,
    #[serde(with = "serde_bytes")]
    chain: [u8; 32],
    pub(super) unreadable: u64,
    sessions: SessionsImage,
    /// Absent in version 1.
    #[serde(default)]
    keys: SessionsImage,
}

/// A machine before the first entry, as bytes. Cloning shares them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotZero(pub(super) Bytes);

impl SnapshotZero {
    pub(super) fn capture<M: StateMachine>(machine: &M) -> Result<Self, CaptureError> {
        let bytes =
            caught(|| image(machine.snapshot(), Position::ORIGIN, 0, &KeyTable::default()).into_bytes())
                .map_err(|message| CaptureError::Panicked { message })??;
        Ok(Self(bytes))
    }

    /// The bytes, in the same format as any snapshot of an executor.
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }
}

pub(super) fn image(machine: Snapshot, at: Position, unreadable: u64, keys: &KeyTable) -> Snapshot {
    let (index, term, chain) = (at.index, at.term, at.chain.0);
    let (sessions, keys) = keys.images();
    let head = Head { index, term, chain, unreadable, sessions, keys };
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

impl Head {
    pub(super) fn position(&self) -> Position {
        Position { index: self.index, term: self.term, chain: Hash(self.chain) }
    }

    pub(super) fn into_keys(self) -> Result<KeyTable, RestoreError> {
        KeyTable::of_images(self.sessions, self.keys, self.index)
    }
}

pub(super) fn read<M>(
    mut reader: SnapshotReader<'_>,
    machine: impl FnOnce(SnapshotReader<'_>) -> Result<M, RestoreError>,
) -> Result<(Head, M), RestoreError> {
    if reader.exact()? != MAGIC {
        return Err(RestoreError::invalid("it does not begin as a snapshot of a group's machine"));
    }
    let found = u32::from_be_bytes(reader.exact()?);
    if !(1..=VERSION).contains(&found) {
        return Err(RestoreError::Version { what: "a group", found, known: VERSION });
    }
    let length = u32::from_be_bytes(reader.exact()?) as usize;
    if length > HEAD_BYTES_MAX {
        return Err(RestoreError::invalid(format!("its head claims {length} bytes")));
    }
    let head = SnapshotReader::new(&mut reader, length as u64).rest()?;
    let head: Head = codec::decode(&head)?;
    let rest = reader.remaining();
    let machine = caught(|| machine(SnapshotReader::new(&mut reader, rest)))
        .map_err(|message| RestoreError::Panicked { message })??;
    // Checked here for every machine, so that a snapshot of another one is not taken for a shorter one.
    reader.end()?;
    Ok((head, machine))
}
