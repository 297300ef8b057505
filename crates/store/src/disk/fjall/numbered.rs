//! Files that fjall names by numbers: which names are its own, and the journals in their order.

use std::fs::DirEntry;
use std::path::{Path, PathBuf};

use crate::disk::DiskError;

/// The journals by number, ascending. Fails on a name that is almost one.
pub(super) fn journals(database: &Path) -> Result<Vec<(u64, PathBuf)>, DiskError> {
    let mut found = Vec::new();
    for entry in list(database)? {
        let (path, text) = name(&entry)?;
        if is_journal_like(&path) {
            found.push((check_journal(&entry, &path, &text)?, path));
        }
    }
    found.sort();
    Ok(found)
}

/// fjall takes a file with this ending, in capitals too, for a journal.
pub(super) fn is_journal_like(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("jnl"))
}

pub(super) fn check_journal(entry: &DirEntry, path: &Path, text: &str) -> Result<u64, DiskError> {
    let number = text.strip_suffix(".jnl").and_then(own_number);
    let number =
        number.ok_or_else(|| DiskError::stray(path, "the name of a journal is a number and `.jnl`"))?;
    let kind = entry.file_type().map_err(DiskError::io("look at", path))?;
    if kind.is_file() {
        return Ok(number);
    }
    // A link that leads nowhere cannot be examined: that is an error of the system, not of a name.
    std::fs::metadata(path).map_err(DiskError::io("look at", path))?;
    Err(DiskError::stray(path, "a journal is a file, and not a directory or a link"))
}

pub(super) fn list(directory: &Path) -> Result<Vec<DirEntry>, DiskError> {
    let entries = std::fs::read_dir(directory).map_err(DiskError::unreadable(directory))?;
    entries.map(|entry| entry.map_err(DiskError::io("list", directory))).collect()
}

/// fjall fails on a name that is not UTF-8, whatever its ending.
pub(super) fn name(entry: &DirEntry) -> Result<(PathBuf, String), DiskError> {
    let path = entry.path();
    match entry.file_name().into_string() {
        Ok(text) => Ok((path, text)),
        Err(_) => Err(DiskError::stray(&path, "its name is not UTF-8")),
    }
}

/// A number as fjall writes it; `+7` and `07`, which it would take for 7 as well, are none.
pub(super) fn own_number(text: &str) -> Option<u64> {
    let is_plain =
        text.bytes().all(|byte| byte.is_ascii_digit()) && !matches!(text.as_bytes(), [b'0', _, ..]);
    is_plain.then(|| text.parse().ok()).flatten()
}
