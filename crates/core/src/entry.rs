//! One entry of the log, and the hash chain that runs through it.
//!
//! The bytes of an entry are a fixed header of [`HEADER_BYTES`] and the payload as it was proposed; the same bytes go
//! to disk and to every peer (`docs/formats.md`). `leaf = blake3(payload)` is computed where the bytes enter;
//! `chain = blake3(chain before, the header's fixed part, leaf)` by the role that appends (`safety.md` 8). The chain
//! makes a missing suffix, a hole and a swapped entry visible, and gives replicas one digest of a whole prefix.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::ids::{Index, Term};

/// Bytes of an entry before its payload.
pub const HEADER_BYTES: usize = 64;
/// The part of the header that the chain covers: all but the chain itself.
pub const FIXED_BYTES: usize = 32;
/// The version this build writes.
pub const ENTRY_VERSION: u8 = 1;
/// The longest payload a decoder accepts, in bytes. What may be proposed is limited further by configuration.
pub const PAYLOAD_BYTES_MAX: usize = 16 << 20;

/// What the payload of an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EntryKind {
    /// Empty; appended by a new leader so that it can commit in its own term (Raft thesis section 6.4).
    Noop,
    /// A command for the state machine.
    Command,
    /// A [`Membership`](crate::Membership) in MessagePack; in force from the moment it is appended.
    Membership,
}

impl EntryKind {
    fn to_byte(self) -> u8 {
        match self {
            Self::Noop => 0,
            Self::Command => 1,
            Self::Membership => 2,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Noop),
            1 => Some(Self::Command),
            2 => Some(Self::Membership),
            _ => None,
        }
    }
}

/// A blake3 hash, printed by its first eight bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// The hash of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..8].iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Term and index of an entry: what the up-to-date check of a vote compares, term first (Raft paper, section 5.4.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LogId {
    /// The term it was appended in.
    pub term: Term,
    /// Its index in the log.
    pub index: Index,
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.index, self.term)
    }
}

/// A position in the log, with the chain hash up to and including it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Position {
    /// Index of the entry there; zero before the first entry.
    pub index: Index,
    /// The term of the entry there.
    pub term: Term,
    /// The chain hash up to and including that entry.
    pub chain: Hash,
}

impl Position {
    /// Before the first entry of any log.
    pub const ORIGIN: Self = Self { index: Index::ZERO, term: Term::ZERO, chain: Hash([0; 32]) };

    /// Term and index alone.
    pub fn log_id(self) -> LogId {
        LogId { term: self.term, index: self.index }
    }
}

/// One entry of the log. Cloning shares the payload.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Entry {
    /// The term of the leader that appended the entry.
    pub term: Term,
    /// Its index in the log.
    pub index: Index,
    /// The leader's wall clock at append, in milliseconds since 1970; never below that of the entry before.
    pub time_ms: u64,
    /// What the payload is.
    pub kind: EntryKind,
    /// The chain hash up to and including this entry.
    pub chain: Hash,
    /// blake3 of the payload.
    pub leaf: Hash,
    /// The payload, as it was proposed.
    pub payload: Bytes,
}

/// What is wrong with bytes that should be entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// The bytes end inside an entry.
    #[error("entry cut short at byte {offset}: {have} bytes left, {need} needed")]
    Short {
        /// Byte at which the entry starts.
        offset: usize,
        /// Bytes left.
        have: usize,
        /// Bytes that the entry claims to take.
        need: usize,
    },
    /// A version this build does not know.
    #[error(
        "entry at byte {offset} has version {version}, this build knows {ENTRY_VERSION}: a newer quorate wrote it, upgrade this node"
    )]
    Version {
        /// Byte at which the entry starts.
        offset: usize,
        /// Its version byte.
        version: u8,
    },
    /// A kind this build does not know.
    #[error(
        "entry at byte {offset} has kind {kind}, which this build does not know: a newer quorate wrote it, upgrade this node"
    )]
    Kind {
        /// Byte at which the entry starts.
        offset: usize,
        /// Its kind byte.
        kind: u8,
    },
    /// A voucher (a signature, or a certificate of several): no protocol of this build writes one.
    #[error(
        "entry at byte {offset} carries a voucher of {length} bytes, which this build cannot read: a newer quorate wrote it, upgrade this node"
    )]
    Vouched {
        /// Byte at which the entry starts.
        offset: usize,
        /// The length of the voucher that the header claims.
        length: u16,
    },
    /// A length above [`PAYLOAD_BYTES_MAX`].
    #[error("entry at byte {offset} claims {length} bytes of payload, the limit is {PAYLOAD_BYTES_MAX}")]
    Long {
        /// Byte at which the entry starts.
        offset: usize,
        /// The payload length that the header claims, in bytes.
        length: usize,
    },
    /// It does not follow the entry before it.
    #[error("entry {found} does not follow {expected}: a gap, or a term that falls")]
    Order {
        /// The index that must come next.
        expected: Index,
        /// Term and index of the entry found there.
        found: LogId,
    },
    /// The hash chain does not hold at this entry.
    #[error("entry {at} does not fit the hash chain: the bytes are not those that were appended")]
    Chain {
        /// Term and index of the entry.
        at: LogId,
    },
}

impl EntryError {
    /// Whether a build that knows more than this one may have written it, and could read it.
    pub fn is_newer(&self) -> bool {
        match self {
            Self::Version { .. } | Self::Kind { .. } | Self::Vouched { .. } => true,
            Self::Short { .. } | Self::Long { .. } | Self::Order { .. } | Self::Chain { .. } => false,
        }
    }
}

impl Entry {
    /// Makes the entry that follows `before`. `leaf` must be `Hash::of(&payload)`; it is an argument because the
    /// bytes were hashed where they entered.
    pub fn follow(
        before: Position,
        term: Term,
        time_ms: u64,
        kind: EntryKind,
        payload: Bytes,
        leaf: Hash,
    ) -> Self {
        debug_assert_eq!(leaf, Hash::of(&payload), "a leaf is the hash of its payload");
        let mut entry =
            Self { term, index: before.index.next(), time_ms, kind, chain: Hash::default(), leaf, payload };
        entry.chain = entry.chain_after(before.chain);
        entry
    }

    /// Term and index.
    pub fn log_id(&self) -> LogId {
        LogId { term: self.term, index: self.index }
    }

    /// The position of this entry, with its chain hash.
    pub fn position(&self) -> Position {
        Position { index: self.index, term: self.term, chain: self.chain }
    }

    /// The bytes it takes on disk and on the wire.
    pub fn encoded_bytes(&self) -> usize {
        HEADER_BYTES + self.payload.len()
    }

    /// The chain hash this entry must have after one with the chain hash `before`.
    pub fn chain_after(&self, before: Hash) -> Hash {
        chain_hash(before, &self.fixed(), self.leaf)
    }

    /// Appends header and payload to `out`.
    pub fn encode(&self, out: &mut BytesMut) {
        out.reserve(self.encoded_bytes());
        out.put_slice(&self.fixed());
        out.put_slice(&self.chain.0);
        out.put_slice(&self.payload);
    }

    /// Reads one entry at `offset` and says where the next begins. The payload is a slice of `bytes`, and the leaf is
    /// computed here, where the bytes enter. The chain is not checked: see [`verify_run`].
    pub fn decode(bytes: &Bytes, offset: usize) -> Result<(Self, usize), EntryError> {
        let have = bytes.len().saturating_sub(offset);
        if have < HEADER_BYTES {
            return Err(EntryError::Short { offset, have, need: HEADER_BYTES });
        }
        let head = &bytes[offset..offset + HEADER_BYTES];
        let number = |at: usize| u64::from_be_bytes(head[at..at + 8].try_into().expect("eight bytes"));
        if head[0] != ENTRY_VERSION {
            return Err(EntryError::Version { offset, version: head[0] });
        }
        let kind = EntryKind::from_byte(head[1]).ok_or(EntryError::Kind { offset, kind: head[1] })?;
        let voucher = u16::from_be_bytes([head[2], head[3]]);
        if voucher != 0 {
            return Err(EntryError::Vouched { offset, length: voucher });
        }
        let length = u32::from_be_bytes(head[4..8].try_into().expect("four bytes")) as usize;
        if length > PAYLOAD_BYTES_MAX {
            return Err(EntryError::Long { offset, length });
        }
        if have < HEADER_BYTES + length {
            return Err(EntryError::Short { offset, have, need: HEADER_BYTES + length });
        }
        let start = offset + HEADER_BYTES;
        let payload = bytes.slice(start..start + length);
        let chain = Hash(head[FIXED_BYTES..].try_into().expect("thirty-two bytes"));
        let entry = Self {
            term: Term(number(8)),
            index: Index(number(16)),
            time_ms: number(24),
            kind,
            chain,
            leaf: Hash::of(&payload),
            payload,
        };
        Ok((entry, start + length))
    }

    /// Version, kind, voucher length u16 (always 0: Raft's entries are vouched for by the leader's term alone), payload
    /// length u32, term, index, time; all big-endian.
    fn fixed(&self) -> [u8; FIXED_BYTES] {
        let mut head = [0; FIXED_BYTES];
        head[0] = ENTRY_VERSION;
        head[1] = self.kind.to_byte();
        let length = u32::try_from(self.payload.len()).expect("a payload is capped far below 4 GiB");
        head[4..8].copy_from_slice(&length.to_be_bytes());
        head[8..16].copy_from_slice(&self.term.0.to_be_bytes());
        head[16..24].copy_from_slice(&self.index.0.to_be_bytes());
        head[24..32].copy_from_slice(&self.time_ms.to_be_bytes());
        head
    }
}

/// The chain hash of an entry with these header bytes and this leaf, after one with the chain hash `before`.
pub fn chain_hash(before: Hash, fixed: &[u8; FIXED_BYTES], leaf: Hash) -> Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&before.0).update(fixed).update(&leaf.0);
    Hash(*hasher.finalize().as_bytes())
}

/// Encodes contiguous entries one after the other: the bytes of a run.
pub fn encode_run(entries: &[Entry]) -> Bytes {
    let mut out = BytesMut::with_capacity(entries.iter().map(Entry::encoded_bytes).sum());
    for entry in entries {
        entry.encode(&mut out);
    }
    out.freeze()
}

/// Decodes a run. Each entry must follow the one before in index, and no term may fall; the chain is not checked.
pub fn decode_run(bytes: &Bytes) -> Result<Vec<Entry>, EntryError> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut offset = 0;
    while offset < bytes.len() {
        let (entry, end) = Entry::decode(bytes, offset)?;
        if let Some(last) = entries.last() {
            check_order(last.log_id(), &entry)?;
        }
        entries.push(entry);
        offset = end;
    }
    Ok(entries)
}

/// Checks that `entries` continue the log after `before`: contiguous, terms that do not fall, and an unbroken chain.
pub fn verify_run(before: Position, entries: &[Entry]) -> Result<Position, EntryError> {
    let mut last = before;
    for entry in entries {
        check_order(last.log_id(), entry)?;
        if entry.chain != entry.chain_after(last.chain) {
            return Err(EntryError::Chain { at: entry.log_id() });
        }
        last = entry.position();
    }
    Ok(last)
}

fn check_order(last: LogId, next: &Entry) -> Result<(), EntryError> {
    // Bytes from another node may claim any index: none may cause a panic here.
    let expected = Index(last.index.0.saturating_add(1));
    if next.index != expected || next.index == last.index || next.term < last.term {
        return Err(EntryError::Order { expected, found: next.log_id() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(before: Position, payload: &'static [u8]) -> Entry {
        Entry::follow(before, Term(3), 17, EntryKind::Command, Bytes::from_static(payload), Hash::of(payload))
    }

    #[test]
    fn a_run_comes_back_as_it_was() {
        let a = entry(Position::ORIGIN, b"a");
        let b = entry(a.position(), b"");
        let run = encode_run(&[a.clone(), b.clone()]);
        let back = decode_run(&run).expect("what was encoded decodes");
        assert_eq!(back, vec![a, b]);
        assert!(verify_run(Position::ORIGIN, &back).is_ok());
    }

    /// The wire and disk formats are frozen: kind bytes and length encoding must not change.
    #[test]
    fn every_kind_comes_back_from_the_bytes_of_the_format() {
        for (kind, byte) in [(EntryKind::Noop, 0), (EntryKind::Command, 1), (EntryKind::Membership, 2)] {
            let payload = Bytes::from_static(b"payload");
            let entry =
                Entry::follow(Position::ORIGIN, Term(3), 17, kind, payload.clone(), Hash::of(&payload));
            let mut bytes = BytesMut::new();
            entry.encode(&mut bytes);
            assert_eq!((bytes[0], bytes[1], bytes.len()), (ENTRY_VERSION, byte, entry.encoded_bytes()));
            assert_eq!(Entry::decode(&bytes.freeze(), 0), Ok((entry.clone(), entry.encoded_bytes())));
        }
    }

    #[test]
    fn an_entry_that_someone_vouches_for_is_refused_as_newer() {
        let run = encode_run(&[entry(Position::ORIGIN, b"a")]);
        for (at, length) in [(2, 0x100), (3, 1)] {
            let mut newer = run.to_vec();
            newer[at] = 1;
            let refused = decode_run(&newer.into());
            assert_eq!(refused, Err(EntryError::Vouched { offset: 0, length }));
        }
    }

    #[test]
    fn a_hash_is_printed_by_its_first_eight_bytes() {
        let hash = Hash(std::array::from_fn(|at| at as u8));
        assert_eq!(
            (hash.to_string(), format!("{hash:?}")),
            ("0001020304050607".into(), "0001020304050607".into())
        );
    }

    #[test]
    fn entries_at_the_end_of_all_indexes_are_refused_without_a_panic() {
        let before = Position { index: Index(u64::MAX - 1), term: Term(1), chain: Hash::default() };
        let last = entry(before, b"last");
        let run = encode_run(&[last.clone(), last]);
        assert!(matches!(decode_run(&run), Err(EntryError::Order { .. })));
    }

    #[test]
    fn every_flipped_byte_is_seen() {
        let a = entry(Position::ORIGIN, b"payload");
        let b = entry(a.position(), b"more");
        let run = encode_run(&[a, b]);
        for at in 0..run.len() {
            let mut bad = run.to_vec();
            bad[at] ^= 0x10;
            let seen = decode_run(&bad.into()).and_then(|run| verify_run(Position::ORIGIN, &run));
            assert!(seen.is_err(), "a flip at byte {at} went unseen");
        }
    }

    #[test]
    fn every_cut_is_seen_or_leaves_whole_entries() {
        let a = entry(Position::ORIGIN, b"payload");
        let run = encode_run(std::slice::from_ref(&a));
        for end in 1..run.len() {
            assert!(matches!(decode_run(&run.slice(..end)), Err(EntryError::Short { .. })), "cut at {end}");
        }
    }

    #[test]
    fn bug_04_log_ids_compare_term_first() {
        let old = LogId { term: Term(1), index: Index(9) };
        let new = LogId { term: Term(2), index: Index(1) };
        assert!(new > old);
    }

    #[test]
    fn a_length_is_believed_up_to_the_longest_payload() {
        let payload = Bytes::from(vec![7; PAYLOAD_BYTES_MAX]);
        let leaf = Hash::of(&payload);
        let longest = Entry::follow(Position::ORIGIN, Term(3), 17, EntryKind::Command, payload, leaf);
        let whole = encode_run(std::slice::from_ref(&longest));
        assert_eq!(decode_run(&whole), Ok(vec![longest]));
        let (have, need) = (whole.len() - 1, HEADER_BYTES + PAYLOAD_BYTES_MAX);
        let cut = decode_run(&whole.slice(..have));
        assert_eq!(cut, Err(EntryError::Short { offset: 0, have, need }));
        let mut longer = whole.to_vec();
        let length = PAYLOAD_BYTES_MAX + 1;
        longer[4..8].copy_from_slice(&u32::try_from(length).expect("it fits").to_be_bytes());
        assert_eq!(decode_run(&longer.into()), Err(EntryError::Long { offset: 0, length }));
    }
}
