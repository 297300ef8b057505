//! Files of nodes that do not run, and what tests do to them.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

/// How many bytes stand before the zeros at the end. A journal is 64 MiB long, whatever is in it: pages of zeros are passed over at
/// once, since byte by byte takes a second in a build that is not optimised.
pub fn written(bytes: &[u8]) -> usize {
    const ZEROS: [u8; 4096] = [0; 4096];
    let mut end = bytes.len();
    while end >= ZEROS.len() && bytes[end - ZEROS.len()..end] == ZEROS {
        end -= ZEROS.len();
    }
    bytes[..end].iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

/// Flips a bit in the middle of what is written in a file and says at which byte; once more, and it is as before.
pub fn flip(file: &Path) -> Result<usize> {
    let bytes = std::fs::read(file)?;
    let written = written(&bytes);
    ensure!(written > 0, "nothing was written in {}", file.display());
    let place = written / 2;
    File::options().write(true).open(file)?.write_all_at(&[bytes[place] ^ 0x40], place as u64)?;
    Ok(place)
}

/// Every file below a directory, in order.
pub fn all(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() { found.extend(all(&path)?) } else { found.push(path) }
    }
    found.sort();
    Ok(found)
}

/// Whether a file is a journal of the storage engine.
pub fn is_journal(file: &Path) -> bool {
    file.extension().is_some_and(|kind| kind == "jnl")
}

/// The journals of a node's database, the oldest first.
pub fn journals(data: &Path) -> Result<Vec<PathBuf>> {
    Ok(all(&data.join("db"))?.into_iter().filter(|file| is_journal(file)).collect())
}
