//! Keys and small records of the database (`docs/formats-store.md`). A record holds its version and a checksum over itself and
//! its key, so that a misdirected row is detected as well as a rotten one.

use bytes::Bytes;
use quorate_core::{Boot, GroupId, Incarnation, Index, Membership, NodeId, Position};
use serde::{Deserialize, Serialize};

use crate::disk::{Batch, Keyspace};

/// The version of records and runs this build writes.
pub(crate) const RECORD_VERSION: u8 = 1;
const CHECKSUM: usize = 8;

/// The one key of the record that ties the database to its anchor.
pub(crate) const DATABASE_KEY: &[u8] = b"D";

/// Ties the database to its anchor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DatabaseRecord {
    pub(crate) incarnation: Incarnation,
    /// Number of this database, counted over the directory's whole life.
    pub(crate) database: u32,
    /// The last boot that opened it: an anchor of an earlier boot is an old copy.
    pub(crate) boot: Boot,
}

/// A group's name and its first membership.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NameRecord {
    pub(crate) name: String,
    pub(crate) founding: Membership,
}

/// Where a log begins (`safety.md` 7).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Marker {
    pub(crate) first: Index,
    /// The place before `first`.
    pub(crate) previous: Position,
    /// The time stamp there. Absent where the log begins with its first entry, and in what an earlier build wrote.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) time_ms: u64,
    /// The key of the run that contains `first`.
    pub(crate) run: Index,
    /// The membership in force at `previous`.
    pub(crate) membership: Membership,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A peer's incarnation (`safety.md` 14).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PeerRecord {
    pub(crate) incarnation: Incarnation,
    /// It has admitted this node: this node's incarnation is on its disk, too. An earlier build did not ask.
    #[serde(rename = "admitted_us", default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) has_admitted_this_node: bool,
}

/// Key of a run in `log`.
pub(crate) fn run_key(group: GroupId, first: Index) -> Vec<u8> {
    [group.0.to_be_bytes(), first.0.to_be_bytes()].concat()
}

/// Group and first index in the key of a run.
pub(crate) fn parse_run_key(key: &[u8]) -> Option<(GroupId, Index)> {
    let (group, first) = key.split_at_checked(8)?;
    let group = u64::from_be_bytes(group.try_into().ok()?);
    let first = u64::from_be_bytes(first.try_into().ok()?);
    Some((GroupId(group), Index(first)))
}

/// The kinds of rows that `hard` has for a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Row {
    Name,
    Hard,
    Marker,
}

impl Row {
    /// The key of a group's row.
    pub(crate) fn key(self, group: GroupId) -> Vec<u8> {
        let mut key = vec![match self {
            Self::Name => b'G',
            Self::Hard => b'H',
            Self::Marker => b'M',
        }];
        key.extend(group.0.to_be_bytes());
        key
    }
}

/// The group, if this is the key of a name row.
pub(crate) fn parse_name_key(key: &[u8]) -> Option<GroupId> {
    let number = key.strip_prefix(b"G")?;
    Some(GroupId(u64::from_be_bytes(number.try_into().ok()?)))
}

/// Key of a peer's row.
pub(crate) fn peer_key(peer: &NodeId) -> Vec<u8> {
    [b"P", peer.as_str().as_bytes()].concat()
}

/// The peer, if this is the key of a peer's row.
pub(crate) fn parse_peer_key(key: &[u8]) -> Option<NodeId> {
    NodeId::new(std::str::from_utf8(key.strip_prefix(b"P")?).ok()?).ok()
}

/// Why a record is not what was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecordError {
    #[error("record {key:?} is missing")]
    Missing { key: String },
    #[error("record {key:?} is damaged: {detail}")]
    Damaged { key: String, detail: String },
    #[error("record {key:?} has version {version}, this build knows {RECORD_VERSION}")]
    Future { key: String, version: u8 },
}

/// Adds a record to a batch.
pub(crate) fn put<T: Serialize>(batch: &mut Batch, key: Vec<u8>, record: &T) {
    let value = encode(&key, record);
    batch.put(Keyspace::Hard, key, value);
}

/// Version, checksum, MessagePack with named fields.
pub(crate) fn encode<T: Serialize>(key: &[u8], record: &T) -> Bytes {
    let body = rmp_serde::to_vec_named(record).expect("records have only maps, sets, strings and numbers");
    let mut bytes = vec![RECORD_VERSION];
    bytes.extend(checksum(RECORD_VERSION, key, &body));
    bytes.extend(body);
    bytes.into()
}

/// Reads a record; `bytes` is `None` for a missing row.
pub(crate) fn decode<T: for<'de> Deserialize<'de>>(
    key: &[u8],
    bytes: Option<&Bytes>,
) -> Result<T, RecordError> {
    let name = || String::from_utf8_lossy(key).into_owned();
    let Some(bytes) = bytes else { return Err(RecordError::Missing { key: name() }) };
    let damaged = |detail: String| RecordError::Damaged { key: name(), detail };
    let Some((head, body)) = bytes.split_at_checked(1 + CHECKSUM) else {
        return Err(damaged(format!("it has only {} bytes", bytes.len())));
    };
    if head[1..] != checksum(head[0], key, body) {
        return Err(damaged("its checksum does not match".to_owned()));
    }
    if head[0] != RECORD_VERSION {
        return Err(RecordError::Future { key: name(), version: head[0] });
    }
    rmp_serde::from_slice(body).map_err(|error| damaged(error.to_string()))
}

fn checksum(version: u8, key: &[u8], body: &[u8]) -> [u8; CHECKSUM] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[version]).update(&(key.len() as u64).to_be_bytes()).update(key).update(body);
    hasher.finalize().as_bytes()[..CHECKSUM].try_into().expect("eight of thirty-two")
}
