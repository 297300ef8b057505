//! Which names in the database's directory are fjall's own, checked before fjall opens it.
//!
//! fjall panics on a name that is not a number where it expects one, takes every `N.jnl` for its journal, deletes directories of
//! keyspaces, lists (`v..`) and tables that it does not know, and passes over everything else. A file that somebody put there is
//! no damage. So one that fjall would misread, delete or fail on is refused by its name, and one it passes over is reported;
//! nothing is changed. What fjall itself leaves after a crash (a list or a table by number, a temporary file) is its own.

use std::path::{Path, PathBuf};

use super::manifest;
use super::numbered::{check_journal, is_journal_like, list, name, own_number};
use crate::disk::DiskError;

/// What fjall makes in the directory itself, beside its journals.
const IN_DATABASE: &[&str] = &["version", "lock", "keyspaces"];
/// What fjall makes in a keyspace, beside its lists.
const IN_KEYSPACE: &[&str] = &["current", "tables"];
/// Its own list of keyspaces, and the two that the store makes.
const KEYSPACES: usize = 3;
/// The names of its temporary files begin so.
const TEMPORARY: &str = ".tmp";
/// In a directory of tables fjall passes over what two other systems leave everywhere.
const PASSED_OVER: &[&str] = &[".DS_Store", "._"];

/// Refuses what fjall would misread, delete or fail on. Returns what it passes over.
pub(super) fn check(database: &Path) -> Result<Vec<PathBuf>, DiskError> {
    let mut unknown = Vec::new();
    for entry in list(database)? {
        let (path, text) = name(&entry)?;
        if is_journal_like(&path) {
            check_journal(&entry, &path, &text)?;
        } else if !IN_DATABASE.contains(&text.as_str()) {
            unknown.push(path);
        }
    }
    let mut keyspaces = Vec::new();
    for entry in list(&database.join("keyspaces"))? {
        let (path, text) = name(&entry)?;
        let kind = entry.file_type().map_err(DiskError::io("look at", &path))?;
        match own_number(&text) {
            // Not a link: fjall takes a link for a directory.
            _ if kind.is_file() => unknown.push(path),
            Some(number) => keyspaces.push((number, path)),
            None => return Err(DiskError::stray(&path, "the name of a keyspace is a number")),
        }
    }
    keyspaces.sort();
    if let Some((_, path)) = keyspaces.get(KEYSPACES) {
        return Err(DiskError::stray(path, format!("there are {KEYSPACES} keyspaces, and this is one more")));
    }
    for (_, path) in &keyspaces {
        check_keyspace(path, &mut unknown)?;
    }
    // fjall would make the missing one again, empty.
    if keyspaces.len() < KEYSPACES {
        let detail = format!("it has {} of {KEYSPACES} keyspaces", keyspaces.len());
        return Err(DiskError::damaged(&database.join("keyspaces"), detail));
    }
    unknown.sort();
    Ok(unknown)
}

fn check_keyspace(keyspace: &Path, unknown: &mut Vec<PathBuf>) -> Result<(), DiskError> {
    // First, so that a damaged `current` is not the measure of the lists beside it.
    manifest::check_list(keyspace)?;
    for entry in list(keyspace)? {
        let path = entry.path();
        let text = entry.file_name().to_string_lossy().into_owned();
        let is_directory = entry.file_type().map_err(DiskError::io("look at", &path))?.is_dir();
        if IN_KEYSPACE.contains(&text.as_str()) || text.starts_with(TEMPORARY) {
            continue;
        }
        match text.as_str() {
            "version" => return Err(DiskError::stray(&path, "a keyspace of this format has no such file")),
            "blobs" => return Err(DiskError::stray(&path, "the store keeps no values outside of tables")),
            _ if !is_directory && text.starts_with('v') => check_list(keyspace, &path, &text)?,
            _ => unknown.push(path),
        }
    }
    let tables = keyspace.join("tables");
    // A keyspace without a table may lack it; fjall makes it.
    if tables.try_exists().map_err(DiskError::io("look at", &tables))? {
        check_tables(&tables, unknown)?;
    }
    Ok(())
}

/// fjall deletes every `v..` but the newest list. Its own may be older, or one ahead: written, and `current` not yet renamed.
fn check_list(keyspace: &Path, path: &Path, text: &str) -> Result<(), DiskError> {
    let Some(number) = text.strip_prefix('v').and_then(own_number) else {
        return Err(DiskError::stray(path, "the name of a list of tables is `v` and a number"));
    };
    let newest = manifest::newest_list(keyspace)?;
    if number > newest.saturating_add(1) {
        return Err(DiskError::stray(path, format!("the newest list of tables is `v{newest}`")));
    }
    Ok(())
}

fn check_tables(tables: &Path, unknown: &mut Vec<PathBuf>) -> Result<(), DiskError> {
    for entry in list(tables)? {
        let path = entry.path();
        if PASSED_OVER.iter().any(|start| entry.file_name().to_string_lossy().starts_with(start)) {
            unknown.push(path);
            continue;
        }
        if path.is_dir() || entry.file_name().to_str().and_then(own_number).is_none() {
            return Err(DiskError::stray(&path, "a table is a file whose name is a number"));
        }
    }
    Ok(())
}
