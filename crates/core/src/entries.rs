//! Entries that follow one another, with their bytes as they go to every peer and to disk (`docs/formats.md`): made once,
//! where the entries are appended or where they arrive, and shared by all that hold them.
//!
//! Owned by no one: a clone or a part shares entries and bytes, and the last one that is dropped frees both. The payloads are
//! parts of the bytes, so the proposer's own copy ends here. Bound: that of the one that holds it; a part keeps the whole in memory.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::{Deref, Range};
use std::sync::Arc;

use bytes::Bytes;

use crate::entry::{Entry, EntryError, HEADER_BYTES, decode_run, encode_run};

/// See the module's header.
#[derive(Clone, Default)]
pub struct Entries {
    all: Arc<Vec<Entry>>,
    /// The part of `all` that this is.
    part: Range<usize>,
    /// The bytes of the part.
    bytes: Bytes,
}

impl Entries {
    /// Reads the bytes of a run. Each entry must follow the one before in index, and no term may fall; the chain is not checked.
    pub fn decode(bytes: Bytes) -> Result<Self, EntryError> {
        let all = decode_run(&bytes)?;
        Ok(Self { part: 0..all.len(), all: Arc::new(all), bytes })
    }

    /// Their bytes, one after the other.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Those at `part`, counted from the first of these.
    #[must_use]
    pub fn slice(&self, part: Range<usize>) -> Self {
        if part == (0..self.len()) {
            return self.clone();
        }
        let bytes_of = |entries: &[Entry]| entries.iter().map(Entry::encoded_bytes).sum::<usize>();
        let from = bytes_of(&self[..part.start]);
        let bytes = self.bytes.slice(from..from + bytes_of(&self[part.clone()]));
        let (start, end) = (self.part.start + part.start, self.part.start + part.end);
        Self { all: self.all.clone(), part: start..end, bytes }
    }
}

impl From<Vec<Entry>> for Entries {
    fn from(mut all: Vec<Entry>) -> Self {
        let bytes = encode_run(&all);
        let mut at = 0;
        for entry in &mut all {
            let end = at + entry.encoded_bytes();
            entry.payload = bytes.slice(at + HEADER_BYTES..end);
            at = end;
        }
        Self { part: 0..all.len(), all: Arc::new(all), bytes }
    }
}

impl Deref for Entries {
    type Target = [Entry];

    fn deref(&self) -> &[Entry] {
        &self.all[self.part.clone()]
    }
}

impl<'a> IntoIterator for &'a Entries {
    type Item = &'a Entry;
    type IntoIter = std::slice::Iter<'a, Entry>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Debug for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// By the entries alone: their bytes follow from them.
impl PartialEq for Entries {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Entries {}

impl Hash for Entries {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{EntryKind, Hash as Blake3, Position};
    use crate::ids::Term;

    fn entries(payloads: &[&'static [u8]]) -> Vec<Entry> {
        let mut last = Position::ORIGIN;
        let follow = |payload: &&'static [u8]| {
            let payload = Bytes::from_static(payload);
            let leaf = Blake3::of(&payload);
            let entry = Entry::follow(last, Term(3), 17, EntryKind::Command, payload, leaf);
            last = entry.position();
            entry
        };
        payloads.iter().map(follow).collect()
    }

    /// What goes to a peer or to disk is what was made first, for every part of it.
    #[test]
    fn every_part_has_its_own_bytes_and_no_copy_of_them() {
        let made = entries(&[b"one", b"", b"three", b"4"]);
        let whole = Entries::from(made.clone());
        assert_eq!(*whole, made[..]);
        let within = |bytes: &[u8]| {
            let all = whole.bytes().as_ptr_range();
            all.start <= bytes.as_ptr() && bytes.as_ptr_range().end <= all.end
        };
        for start in 0..=made.len() {
            for end in start..=made.len() {
                let part = whole.slice(start..end);
                assert_eq!(
                    (&*part, &part.bytes()[..]),
                    (&made[start..end], &encode_run(&made[start..end])[..])
                );
                assert!(part.is_empty() || within(part.bytes()), "{start}..{end} is a copy");
                // A part of a part, too.
                let last = part.slice(part.len().saturating_sub(1)..part.len());
                assert_eq!(last.bytes()[..], encode_run(&last)[..]);
            }
        }
        let shared = |entry: &Entry| entry.payload.is_empty() || within(&entry.payload);
        assert!(whole.iter().all(shared), "the proposer's copy is kept");
        let read = Entries::decode(whole.bytes().clone()).expect("they are entries");
        assert_eq!(read, whole);
        assert!(read.iter().all(shared), "what arrived is copied");
    }
}
