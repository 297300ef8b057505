//! The files that say which files of the database count, looked at before fjall does.
//!
//! `version` names the format. fjall takes whatever it does not know there for another format,
//! and a database of a newer format must be left alone, while a damaged one is set aside: the two must not be mixed up.
//! The file has four bytes and no checksum, so the journals beside it are the witness: each of their batches ends with the
//! format it was written in.
//!
//! `keyspaces/N/current` names the newest `vM` beside it, which lists the tables, and has its checksum. fjall writes that and
//! does not compare it: from a damaged list it may take tens of gigabytes of memory and abort the process; and a keyspace
//! without `current` it deletes.

use std::path::Path;

use super::disk::DiskError;
use super::preflight;

const NAME: &[u8; 3] = b"FJL";
/// The format of fjall 3.
const KNOWN: u8 = 3;
/// Bytes of a file `current`: number, xxh3 of 128 bits, kind of checksum.
const CURRENT: usize = 8 + 16 + 1;
/// xxh3, the only one there is.
const CHECKSUM_KIND: u8 = 0;

/// Says whether the database is of the format that fjall 3 reads: `Damaged` if the file is, `Future` if it is not.
pub(super) fn check(database: &Path) -> Result<(), DiskError> {
    let path = database.join("version");
    let place = path.display().to_string();
    let bytes = std::fs::read(&path).map_err(unread(&path))?;
    let said = bytes.strip_prefix(NAME).and_then(|rest| rest.first().copied());
    match said {
        Some(KNOWN) => Ok(()),
        Some(found) if found > KNOWN && !preflight::has_batch(database)? => {
            Err(DiskError::Future { place, found: found.into(), known: KNOWN.into() })
        }
        Some(_) | None => {
            let detail = format!("it holds {bytes:?}, and not the format of fjall {KNOWN}");
            Err(DiskError::Damaged { place, detail })
        }
    }
}

/// Compares the newest list of tables of each keyspace with its checksum.
pub(super) fn check_trees(database: &Path) -> Result<(), DiskError> {
    let directory = database.join("keyspaces");
    let entries = std::fs::read_dir(&directory).map_err(unread(&directory))?;
    for entry in entries {
        let path = entry.map_err(unread(&directory))?.path();
        if path.is_dir() {
            check_tree(&path)?;
        }
    }
    Ok(())
}

fn check_tree(tree: &Path) -> Result<(), DiskError> {
    let current = Current::read(tree)?;
    let list = tree.join(format!("v{}", current.number));
    let found = xxhash_rust::xxh3::xxh3_128(&std::fs::read(&list).map_err(unread(&list))?);
    if current.kind == CHECKSUM_KIND && found == current.sum {
        return Ok(());
    }
    Err(damaged(&list, "it is not what `current` beside it has the checksum of".to_owned()))
}

/// Number of the newest list of tables of a keyspace.
pub(super) fn newest(tree: &Path) -> Result<u64, DiskError> {
    Ok(Current::read(tree)?.number)
}

/// The file of that name.
struct Current {
    number: u64,
    sum: u128,
    kind: u8,
}

impl Current {
    fn read(tree: &Path) -> Result<Self, DiskError> {
        let path = tree.join("current");
        let bytes = std::fs::read(&path).map_err(unread(&path))?;
        let Ok(current) = <[u8; CURRENT]>::try_from(bytes.as_slice()) else {
            return Err(damaged(&path, format!("it has {} bytes, not {CURRENT}", bytes.len())));
        };
        let (number, sum) = current[..CURRENT - 1].split_at(8);
        Ok(Self {
            number: u64::from_le_bytes(number.try_into().expect("eight bytes")),
            sum: u128::from_le_bytes(sum.try_into().expect("sixteen bytes")),
            kind: current[CURRENT - 1],
        })
    }
}

fn damaged(path: &Path, detail: String) -> DiskError {
    DiskError::Damaged { place: path.display().to_string(), detail }
}

/// What must be there and is not is damage; what cannot be read is not.
fn unread(path: &Path) -> impl FnOnce(std::io::Error) -> DiskError {
    let place = path.display().to_string();
    move |source| match source.kind() {
        std::io::ErrorKind::NotFound => DiskError::Damaged { place, detail: "it is missing".to_owned() },
        _ => DiskError::Io { action: "read", place, source },
    }
}
