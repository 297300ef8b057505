//! A machine's state as bytes: captured cheaply by [`Snapshot`], read back through [`SnapshotReader`].

use std::fmt;
use std::io::{self, BufReader, Read, Write};

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::codec::{CodecError, DEPTH_MAX};

type Produce = Box<dyn FnOnce(&mut dyn Write) -> io::Result<()> + Send>;

/// A captured state that can write itself out, once, on another thread than the machine's.
///
/// ```
/// use std::sync::Arc;
/// use quorate::machine::Snapshot;
///
/// let state = Arc::new(vec![1_u64, 2, 3]); // shared, so capturing it copies nothing
/// let captured = Arc::clone(&state);
/// let snapshot = Snapshot::new(move |out| captured.iter().try_for_each(|n| out.write_all(&n.to_be_bytes())));
/// assert_eq!(snapshot.into_bytes()?.len(), 24);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Snapshot(Produce);

impl Snapshot {
    /// From a closure that writes the bytes. The same state must give the same bytes on every replica.
    pub fn new(produce: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static) -> Self {
        Self(Box::new(produce))
    }

    /// From bytes at hand.
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self::new(move |out| out.write_all(&bytes))
    }

    /// From a value, encoded (MessagePack with named fields) when the bytes are produced. Read it back with
    /// [`SnapshotReader::only_value`].
    pub fn from_value<T: Serialize + Send + 'static>(value: T) -> Self {
        Self::new(move |mut out| rmp_serde::encode::write_named(&mut out, &value).map_err(io::Error::other))
    }

    /// Produces the bytes. It writes in small pieces: give it a buffered writer.
    pub fn write_to(self, out: &mut dyn Write) -> io::Result<()> {
        (self.0)(out)
    }

    /// Produces the bytes in memory.
    pub fn into_bytes(self) -> io::Result<Bytes> {
        let mut out = Vec::new();
        self.write_to(&mut out)?;
        Ok(out.into())
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Snapshot")
    }
}

/// Why no machine was made of a snapshot.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The bytes could not be read.
    #[error("snapshot cannot be read at byte {offset}; take it from another node")]
    Io {
        /// How many bytes were read.
        offset: u64,
        /// The error of the source.
        source: io::Error,
    },
    /// The bytes are no value of the type expected.
    #[error(
        "snapshot cannot be decoded before byte {offset}: {source}; \
         it is damaged, or of another machine or a newer build"
    )]
    Decode {
        /// How many bytes were read.
        offset: u64,
        /// What is wrong.
        source: rmp_serde::decode::Error,
    },
    /// A value inside is malformed.
    #[error("snapshot cannot be decoded: {0}; it is damaged")]
    Codec(#[from] CodecError),
    /// More bytes than the machine read.
    #[error("snapshot has {length} bytes, only {read} were read; it is of another machine or a newer build")]
    Trailing {
        /// How many bytes the machine read.
        read: u64,
        /// How many bytes the snapshot has.
        length: u64,
    },
    /// A format this build does not know.
    #[error("snapshot of {what} has version {found}, this build knows {known}; upgrade this node")]
    Version {
        /// The kind of snapshot.
        what: &'static str,
        /// The version in the snapshot.
        found: u32,
        /// The newest known.
        known: u32,
    },
    /// It decodes, and its content is not valid. Machines report that with [`RestoreError::invalid`].
    #[error("snapshot is not valid: {detail}")]
    Invalid {
        /// What is wrong with it.
        detail: String,
    },
    /// The machine panicked in `restore`.
    #[error("state machine panicked in restore: {message}; fix the machine")]
    Panicked {
        /// The message of the panic.
        message: String,
    },
    /// It would take a running machine back (known bug 60).
    #[error("snapshot at index {snapshot} is not ahead of what is applied, {applied}")]
    Behind {
        /// Where it was taken.
        snapshot: quorate_core::Index,
        /// What is applied.
        applied: quorate_core::Index,
    },
}

impl RestoreError {
    /// The bytes decode, and their content is not valid.
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::Invalid { detail: detail.into() }
    }
}

/// The bytes of a snapshot, of known length. It reads in small pieces: its source should be buffered.
///
/// Every byte has to be read: what is left over when `restore` returns is an error, so that a snapshot of another
/// machine, or of a newer build, is not taken for a shorter one.
pub struct SnapshotReader<'a> {
    source: &'a mut dyn Read,
    length: u64,
    position: u64,
}

impl<'a> SnapshotReader<'a> {
    /// From a source that holds `length` bytes; what it holds beyond is left alone.
    pub fn new(source: &'a mut dyn Read, length: u64) -> Self {
        Self { source, length, position: 0 }
    }

    /// The bytes of the whole.
    #[expect(clippy::len_without_is_empty, reason = "`remaining` is what readers ask")]
    pub fn len(&self) -> u64 {
        self.length
    }

    /// How many were read.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// How many are left.
    pub fn remaining(&self) -> u64 {
        self.length - self.position
    }

    /// Reads the next of several values. Nesting is limited, memory grows with what is there and not with what lengths
    /// claim.
    pub fn value<T: DeserializeOwned>(&mut self) -> Result<T, RestoreError> {
        let mut decoder = rmp_serde::Deserializer::new(&mut *self);
        decoder.set_max_depth(DEPTH_MAX);
        T::deserialize(&mut decoder).map_err(|source| RestoreError::Decode { offset: self.position, source })
    }

    /// Reads the one value that the snapshot is, as [`Snapshot::from_value`] writes it.
    pub fn only_value<T: DeserializeOwned>(mut self) -> Result<T, RestoreError> {
        let value = {
            let mut decoder = rmp_serde::Deserializer::new(BufReader::new(&mut self));
            decoder.set_max_depth(DEPTH_MAX);
            let value = T::deserialize(&mut decoder);
            value.map(|value| (value, decoder.get_ref().buffer().len() as u64))
        };
        match value {
            Ok((value, 0)) => self.end().map(|()| value),
            Ok((_, unread)) => {
                Err(RestoreError::Trailing { read: self.position - unread, length: self.length })
            }
            Err(source) => Err(RestoreError::Decode { offset: self.position, source }),
        }
    }

    /// Reads all that is left into memory.
    pub fn rest(mut self) -> Result<Vec<u8>, RestoreError> {
        let mut bytes = Vec::new();
        match self.read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            Err(source) => Err(RestoreError::Io { offset: self.position, source }),
        }
    }

    /// Checks that everything was read.
    pub fn end(self) -> Result<(), RestoreError> {
        if self.remaining() > 0 {
            return Err(RestoreError::Trailing { read: self.position, length: self.length });
        }
        Ok(())
    }

    pub(super) fn exact<const N: usize>(&mut self) -> Result<[u8; N], RestoreError> {
        let mut bytes = [0; N];
        match self.read_exact(&mut bytes) {
            Ok(()) => Ok(bytes),
            Err(source) => Err(RestoreError::Io { offset: self.position, source }),
        }
    }
}

impl Read for SnapshotReader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.remaining()).unwrap_or(usize::MAX).min(out.len());
        if most == 0 {
            return Ok(0);
        }
        let read = self.source.read(&mut out[..most])?;
        if read == 0 {
            // Fewer bytes than were promised must not look like the end.
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "snapshot cut short"));
        }
        self.position += read as u64;
        Ok(read)
    }
}

impl fmt::Debug for SnapshotReader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotReader")
            .field("length", &self.length)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of(value: impl Serialize + Send + 'static) -> Bytes {
        Snapshot::from_value(value).into_bytes().expect("writes")
    }

    #[test]
    fn a_value_comes_back_and_trailing_bytes_do_not_pass() {
        let bytes = bytes_of(("a".to_owned(), 7_u64));
        let read = |bytes: &[u8], length: usize| {
            SnapshotReader::new(&mut &bytes[..], length as u64).only_value::<(String, u64)>()
        };
        assert_eq!(read(&bytes, bytes.len()).expect("reads"), ("a".to_owned(), 7));
        assert!(read(&bytes, bytes.len() - 1).is_err());
        assert!(read(&bytes, bytes.len() + 1).is_err(), "shorter than promised");
        let longer = [&bytes[..], &[0]].concat();
        assert!(matches!(read(&longer, longer.len()), Err(RestoreError::Trailing { read: 4, length: 5 })));
        assert!(read(&longer, bytes.len()).is_ok(), "the rest is not the reader's");
    }

    #[test]
    fn several_values_are_read_one_by_one() {
        let bytes = [bytes_of(1_u8), bytes_of("two"), bytes_of([3_u8; 3])].concat();
        let mut source = &bytes[..];
        let mut reader = SnapshotReader::new(&mut source, bytes.len() as u64);
        assert_eq!(reader.value::<u8>().expect("one"), 1);
        assert_eq!(reader.value::<String>().expect("two"), "two");
        assert_eq!(reader.remaining(), 4);
        assert_eq!(reader.rest().expect("rest"), [0x93, 3, 3, 3]);
    }

    #[test]
    fn a_claim_of_four_gigabytes_costs_nothing() {
        let claim = b"\xc6\xff\xff\xff\xffabc";
        let mut source = &claim[..];
        let reader = SnapshotReader::new(&mut source, claim.len() as u64);
        assert!(matches!(reader.only_value::<Bytes>(), Err(RestoreError::Decode { .. })));
    }

    #[test]
    fn errors_of_the_source_and_of_the_producer_come_through() {
        let failing = Snapshot::new(|_| Err(io::Error::other("no")));
        assert!(failing.into_bytes().is_err());
        let mut source = io::empty();
        let reader = SnapshotReader::new(&mut source, 1);
        assert!(matches!(reader.rest(), Err(RestoreError::Io { offset: 0, .. })));
    }
}
