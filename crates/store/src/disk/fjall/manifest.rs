//! fjall's files that say which files of the database count, checked before fjall opens them.
//!
//! `version` is the format. fjall takes any value it does not know for another format. Here the two cases must be told
//! apart: a database of a newer format is left alone, a damaged one is set aside. The file has four bytes and no checksum, so
//! the journals beside it decide: each of their batches ends with the format it was written in.
//!
//! `keyspaces/N/current` names the newest `vM` beside it, the list of tables, and holds its checksum. fjall writes that
//! checksum but does not compare it: reading a damaged list it may allocate tens of gigabytes and abort the process. A keyspace
//! without `current` it deletes.

use std::path::{Path, PathBuf};

use super::preflight;
use crate::disk::DiskError;

const NAME: &[u8; 3] = b"FJL";
/// The format of fjall 3.
const KNOWN: u8 = 3;
/// Bytes of a file `current`: number, xxh3 of 128 bits, kind of checksum.
const CURRENT: usize = 8 + 16 + 1;
/// xxh3, the only kind there is.
const CHECKSUM_KIND: u8 = 0;

/// Checks that the database has the format of fjall 3: `Damaged` if the file `version` is, `Future` for a newer format.
pub(super) fn check_version(database: &Path) -> Result<(), DiskError> {
    let path = database.join("version");
    let bytes = std::fs::read(&path).map_err(DiskError::unreadable(&path))?;
    match bytes.strip_prefix(NAME).and_then(|rest| rest.first().copied()) {
        Some(KNOWN) => Ok(()),
        Some(found) if found > KNOWN && !preflight::any_journal_is_known(database)? => {
            let place = path.display().to_string();
            Err(DiskError::Future { place, found: found.into(), known: KNOWN.into() })
        }
        Some(_) | None => {
            let detail = format!("it holds {bytes:?}, and not the format of fjall {KNOWN}");
            Err(DiskError::damaged(&path, detail))
        }
    }
}

/// The directories of all keyspaces.
pub(super) fn keyspaces(database: &Path) -> Result<Vec<PathBuf>, DiskError> {
    let directory = database.join("keyspaces");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&directory).map_err(DiskError::unreadable(&directory))? {
        let path = entry.map_err(DiskError::unreadable(&directory))?.path();
        if path.is_dir() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Compares the newest list of tables of a keyspace with its checksum.
pub(super) fn check_list(keyspace: &Path) -> Result<(), DiskError> {
    let current = Current::read(keyspace)?;
    let list = keyspace.join(format!("v{}", current.number));
    let bytes = std::fs::read(&list).map_err(DiskError::unreadable(&list))?;
    if current.kind == CHECKSUM_KIND && xxhash_rust::xxh3::xxh3_128(&bytes) == current.sum {
        return Ok(());
    }
    Err(DiskError::damaged(&list, "it does not match the checksum in `current` beside it"))
}

/// Number of the newest list of tables of a keyspace.
pub(super) fn newest_list(keyspace: &Path) -> Result<u64, DiskError> {
    Ok(Current::read(keyspace)?.number)
}

/// The file `current`.
struct Current {
    number: u64,
    sum: u128,
    kind: u8,
}

impl Current {
    fn read(keyspace: &Path) -> Result<Self, DiskError> {
        let path = keyspace.join("current");
        let bytes = std::fs::read(&path).map_err(DiskError::unreadable(&path))?;
        let Ok(current) = <[u8; CURRENT]>::try_from(bytes.as_slice()) else {
            return Err(DiskError::damaged(&path, format!("it has {} bytes, not {CURRENT}", bytes.len())));
        };
        let (number, sum) = current[..CURRENT - 1].split_at(8);
        Ok(Self {
            number: u64::from_le_bytes(number.try_into().expect("eight bytes")),
            sum: u128::from_le_bytes(sum.try_into().expect("sixteen bytes")),
            kind: current[CURRENT - 1],
        })
    }
}
