//! Checks fjall's journals before fjall opens them: fjall takes *any* undecodable record for a torn tail and cuts everything
//! after it.
//!
//! Every write to this database is one synced batch at a time. So only the last batch of the newest journal can be
//! unfinished; anything else that does not decode is damage.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::journal::{Journal, batch, check};
use super::numbered::journals;
use crate::disk::{DiskError, TornTail};

/// Checks every journal in `directory`, cuts a torn tail off the newest, and writes the last batch of each other again.
pub(super) fn run(directory: &Path) -> Result<Option<TornTail>, DiskError> {
    let journals = journals(directory)?;
    let Some((_, newest)) = journals.last() else {
        return Err(DiskError::damaged(directory, "it has no journal"));
    };
    let (mut changes, mut before) = (Vec::new(), Before::default());
    for (number, path) in &journals {
        let bytes = read(path)?;
        let verdict = check(&bytes, before.sequence);
        before.check_belongs(*number, path, &verdict, &bytes)?;
        let (end, cut_bytes) = match verdict {
            Journal::Clean { end, last } => {
                before.sequence = last;
                (end, None)
            }
            Journal::Torn { end, cut } if path == newest => (end, Some(cut)),
            Journal::Torn { end, .. } => {
                let detail = format!("at byte {end}: a sealed journal ends in the middle of a batch");
                return Err(DiskError::damaged(path, detail));
            }
            Journal::Damaged { at, detail } => {
                return Err(DiskError::damaged(path, format!("at byte {at}: {detail}")));
            }
        };
        before.number = Some(*number);
        changes.push(Change { path, end, cut_bytes, hash: blake3::hash(&bytes) });
    }
    let mut torn = None;
    for change in changes {
        torn = change.make()?.or(torn);
    }
    Ok(torn)
}

/// The journal before the one that is checked.
#[derive(Default)]
struct Before {
    number: Option<u64>,
    /// The sequence number of the last batch so far.
    sequence: Option<u64>,
}

impl Before {
    /// Tells a file that was put there from a journal whose predecessor is missing. A copy, an older journal, or a file without a
    /// batch continues nothing, and fjall would write to it next. A journal after a gap that does continue is the rest of a loss.
    fn check_belongs(
        &self,
        number: u64,
        path: &Path,
        verdict: &Journal,
        bytes: &[u8],
    ) -> Result<(), DiskError> {
        let Some(before) = self.number else { return Ok(()) };
        if matches!(verdict, Journal::Damaged { .. })
            && let Journal::Clean { last, .. } = check(bytes, None)
            && last <= self.sequence
        {
            let detail = format!("all its batches are as old as those of `{before}.jnl` before it");
            return Err(DiskError::stray(path, detail));
        }
        if number == before + 1 {
            return Ok(());
        }
        match verdict {
            Journal::Clean { end: 0, .. } | Journal::Torn { end: 0, .. } => Err(DiskError::stray(
                path,
                format!("`{before}.jnl` is the journal before it, and it holds nothing that follows"),
            )),
            Journal::Clean { .. } | Journal::Torn { .. } | Journal::Damaged { .. } => {
                Err(DiskError::damaged(
                    path,
                    format!("`{before}.jnl` is the journal before it, and what was between them is missing"),
                ))
            }
        }
    }
}

/// A journal's change. None is made before all journals were checked.
struct Change<'a> {
    path: &'a Path,
    /// Bytes of whole batches.
    end: u64,
    /// Bytes of the torn tail that is cut off; without one the last batch is written again.
    cut_bytes: Option<u64>,
    /// Hash of the bytes the decision was made on.
    hash: blake3::Hash,
}

impl Change<'_> {
    fn make(self) -> Result<Option<TornTail>, DiskError> {
        let Self { path, end, cut_bytes, hash } = self;
        // One bad read must neither be written to the disk nor be the reason for a cut: a second read must agree.
        let bytes = read(path)?;
        if blake3::hash(&bytes) != hash {
            return Err(DiskError::damaged(path, "two reads of it differ: nothing was changed"));
        }
        let Some(cut_bytes) = cut_bytes else { return write_last_batch(path, &bytes, end).map(|()| None) };
        let file = File::options().write(true).open(path).map_err(DiskError::io("cut", path))?;
        file.set_len(end).and_then(|()| file.sync_all()).map_err(DiskError::io("cut", path))?;
        Ok(Some(TornTail { journal: path.display().to_string(), kept_bytes: end, cut_bytes }))
    }
}

/// The bytes of a journal without the hole at its end: fjall makes a journal 64 MiB long before it writes to it.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, DiskError> {
    let failed = DiskError::io("read", path);
    let file = File::open(path).map_err(&failed)?;
    let mut end = 0;
    loop {
        match rustix::fs::seek(&file, rustix::fs::SeekFrom::Data(end)) {
            Ok(data) => {
                let hole = rustix::fs::seek(&file, rustix::fs::SeekFrom::Hole(data));
                end = hole.map_err(|error| failed(error.into()))?;
            }
            Err(rustix::io::Errno::NXIO) => break,
            // A file system without holes: everything is data.
            Err(_) => {
                end = file.metadata().map_err(&failed)?.len();
                break;
            }
        }
    }
    let mut bytes = Vec::new();
    rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0)).map_err(|error| failed(error.into()))?;
    file.take(end).read_to_end(&mut bytes).map_err(&failed)?;
    Ok(bytes)
}

/// Writes the last batch of a journal again, the same bytes, and syncs it. After a failed sync the batch may be in the page cache
/// but not on the disk, and the system takes its pages for clean: another sync would answer Ok and write nothing. Done for
/// each journal, since fjall's thread may have begun another one just after the failure.
pub(crate) fn write_last_batch(path: &Path, bytes: &[u8], end: u64) -> Result<(), DiskError> {
    let (mut last, mut at) = (0, 0);
    while let Some((next, _)) = batch(bytes, at) {
        (last, at) = (at, next);
    }
    let end = usize::try_from(end).expect("it was read into memory");
    let failed = DiskError::io("write", path);
    let file = File::options().write(true).open(path).map_err(&failed)?;
    file.write_all_at(&bytes[last..end], last as u64).and_then(|()| file.sync_all()).map_err(failed)
}

/// Whether any journal begins with a whole batch of the known format.
pub(super) fn any_journal_is_known(directory: &Path) -> Result<bool, DiskError> {
    for (_, path) in journals(directory)? {
        if batch(&read(&path)?, 0).is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}
