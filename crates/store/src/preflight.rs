//! A look at fjall's journals before fjall sees them, because it takes *any* undecodable record for a torn tail and cuts
//! everything after it. The record format is that of fjall 3.1 (`journal/entry.rs` there); the exact pin in the
//! workspace, fjall's version file and a round-trip test guard it.
//!
//! Every write to this database is one synced batch at a time. So only the last batch of the newest journal can be
//! unfinished; whatever else does not decode is damage.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::disk::{DiskError, TornTail};

const MAGIC: &[u8; 4] = b"FJL\x03";
const START: usize = 1 + 4 + 8;
const ITEM: usize = 1 + 1 + 1 + 8 + 2 + 4 + 4;
const CLEAR: usize = 1 + 8;
const END: usize = 1 + 8 + 4;
/// Sequence numbers are not under fjall's checksum; a step further than this was flipped.
const SEQUENCE_STEP_MAX: u64 = 1 << 40;

/// How far ahead of the last whole batch one after a torn batch may be: a journal has fewer batches than this.
const SEQUENCE_AHEAD_MAX: u64 = 1 << 24;

/// What a journal turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Whole batches up to here, then nothing but zeros; `last` is the sequence number of the last batch up to here.
    Clean { end: u64, last: Option<u64> },
    /// Whole batches up to here, then an unfinished one and nothing whole after it.
    Torn { end: u64, cut: u64 },
    /// Something that does not decode, and a whole batch after it; or sequence numbers out of order.
    Damaged { at: u64, detail: String },
}

/// Checks every journal in `directory`; cuts a torn tail of the newest, and writes the last batch of each once more.
pub(super) fn run(directory: &Path) -> Result<Option<TornTail>, DiskError> {
    let journals = journals(directory)?;
    let damaged =
        |path: &Path, detail: String| DiskError::Damaged { place: path.display().to_string(), detail };
    let Some((_, newest)) = journals.last() else {
        return Err(damaged(directory, "it has no journal".to_owned()));
    };
    for pair in journals.windows(2) {
        if pair[1].0 != pair[0].0 + 1 {
            let detail =
                format!("journal {} is followed by journal {}: one is missing", pair[0].0, pair[1].0);
            return Err(damaged(directory, detail));
        }
    }
    let (mut changes, mut sequence) = (Vec::new(), None);
    for (_, path) in &journals {
        let bytes = read(path)?;
        match check(&bytes, sequence) {
            Verdict::Clean { end, last } => {
                changes.push(Change::Again { path, end, bytes: blake3::hash(&bytes) });
                sequence = last;
            }
            Verdict::Damaged { at, detail } => {
                return Err(damaged(path, format!("at byte {at}: {detail}")));
            }
            Verdict::Torn { end, cut } if path == newest => {
                changes.push(Change::Cut { path, end, cut, bytes: blake3::hash(&bytes) });
            }
            Verdict::Torn { end, .. } => {
                return Err(damaged(
                    path,
                    format!("at byte {end}: a sealed journal ends in the middle of a batch"),
                ));
            }
        }
    }
    let mut torn = None;
    for change in changes {
        torn = change.make()?.or(torn);
    }
    Ok(torn)
}

/// What a look at a journal calls for. Nothing is written before all were looked at.
enum Change<'a> {
    /// Its last batch is written once more.
    Again { path: &'a Path, end: u64, bytes: blake3::Hash },
    /// Its torn tail is cut off.
    Cut { path: &'a Path, end: u64, cut: u64, bytes: blake3::Hash },
}

impl Change<'_> {
    fn make(self) -> Result<Option<TornTail>, DiskError> {
        match self {
            Self::Again { path, end, bytes } => {
                write_again(path, &read_alike(path, bytes)?, end).map(|()| None)
            }
            Self::Cut { path, end, cut, bytes } => {
                read_alike(path, bytes)?;
                cut_at(path, end)?;
                let journal = path.display().to_string();
                Ok(Some(TornTail { journal, kept_bytes: end, cut_bytes: cut }))
            }
        }
    }
}

/// What one bad read has brought must not go to the disk, nor be the reason for a cut: a second one must say the same.
fn read_alike(path: &Path, hash: blake3::Hash) -> Result<Vec<u8>, DiskError> {
    let bytes = read(path)?;
    if blake3::hash(&bytes) == hash {
        return Ok(bytes);
    }
    let detail = "it was read twice, in two ways: nothing was changed".to_owned();
    Err(DiskError::Damaged { place: path.display().to_string(), detail })
}

fn journals(directory: &Path) -> Result<Vec<(u64, PathBuf)>, DiskError> {
    let failed = |source| DiskError::Io { action: "list", place: directory.display().to_string(), source };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "jnl") {
            let number = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
            let number = number.ok_or_else(|| DiskError::Damaged {
                place: path.display().to_string(),
                detail: "a journal's name is a number".to_owned(),
            })?;
            found.push((number, path));
        }
    }
    found.sort();
    Ok(found)
}

/// The bytes of a journal without the hole at its end: fjall makes a journal 64 MiB long before it writes to it.
fn read(path: &Path) -> Result<Vec<u8>, DiskError> {
    let failed = |source| DiskError::Io { action: "read", place: path.display().to_string(), source };
    let file = File::open(path).map_err(failed)?;
    let mut end = 0;
    loop {
        match rustix::fs::seek(&file, rustix::fs::SeekFrom::Data(end)) {
            Ok(data) => {
                let hole = rustix::fs::seek(&file, rustix::fs::SeekFrom::Hole(data));
                end = hole.map_err(|error| failed(error.into()))?;
            }
            Err(rustix::io::Errno::NXIO) => break,
            // A file system that knows no holes: everything is data.
            Err(_) => {
                end = file.metadata().map_err(failed)?.len();
                break;
            }
        }
    }
    let mut bytes = Vec::new();
    rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0)).map_err(|error| failed(error.into()))?;
    file.take(end).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn cut_at(path: &Path, end: u64) -> Result<(), DiskError> {
    let failed = |source| DiskError::Io { action: "cut", place: path.display().to_string(), source };
    let file = File::options().write(true).open(path).map_err(failed)?;
    file.set_len(end).and_then(|()| file.sync_all()).map_err(failed)
}

/// A batch whose sync failed may be in the page cache and not on the disk, and the system takes its pages for clean: a sync
/// would answer Ok and write nothing. So the last batch is written once more, the same bytes, before anything builds on it;
/// in each journal, since a thread of the engine may have begun another one just after the failure.
pub(super) fn write_again(path: &Path, bytes: &[u8], end: u64) -> Result<(), DiskError> {
    let failed = |source| DiskError::Io { action: "write", place: path.display().to_string(), source };
    let (mut last, mut at) = (0, 0);
    while let Some((next, _)) = batch(bytes, at) {
        (last, at) = (at, next);
    }
    let end = usize::try_from(end).expect("it was read into memory");
    let file = File::options().write(true).open(path).map_err(failed)?;
    file.write_all_at(&bytes[last..end], last as u64).and_then(|()| file.sync_all()).map_err(failed)
}

/// Whether any journal begins with a whole batch of the format that is known here.
pub(super) fn has_batch(directory: &Path) -> Result<bool, DiskError> {
    for (_, path) in journals(directory)? {
        if batch(&read(&path)?, 0).is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Walks the batches of a journal. `sequence` is the last number of the journal before it: the numbers of a database ascend over
/// all its journals, so two that were swapped, or an older copy of one, are noticed.
pub(super) fn check(bytes: &[u8], mut sequence: Option<u64>) -> Verdict {
    let mut at = 0;
    while let Some((end, number)) = batch(bytes, at) {
        if let Some(last) = sequence
            && (number <= last || number - last > SEQUENCE_STEP_MAX)
        {
            let detail = format!("sequence number {number} does not follow {last}, the one before");
            return Verdict::Damaged { at: at as u64, detail };
        }
        sequence = Some(number);
        at = end;
    }
    let Some(rest) = bytes[at..].iter().rposition(|byte| *byte != 0) else {
        return Verdict::Clean { end: at as u64, last: sequence };
    };
    let end = at + rest + 1;
    // Inside the payload of an unfinished batch anything may stand: only what lies beyond its values, has content and
    // continues the sequence is a later batch.
    let continues =
        |number: u64| sequence.is_none_or(|last| number > last && number - last <= SEQUENCE_AHEAD_MAX);
    let later = (values_end(bytes, at).max(at + 1)..end).find(|later| {
        bytes[*later] == 1
            && bytes.get(later + 1..later + 5).is_some_and(|items| items != [0; 4])
            && batch(bytes, *later).is_some_and(|(_, number)| continues(number))
    });
    match later {
        Some(later) => {
            let detail = format!("it does not decode, and a whole batch follows at byte {later}");
            Verdict::Damaged { at: at as u64, detail }
        }
        None => Verdict::Torn { end: at as u64, cut: (end - at) as u64 },
    }
}

/// The end and the sequence number of the whole batch that starts here.
fn batch(bytes: &[u8], start: usize) -> Option<(usize, u64)> {
    let head = bytes.get(start..start + START)?;
    if head[0] != 1 {
        return None;
    }
    let items = u32::from_le_bytes(head[1..5].try_into().ok()?);
    let sequence = u64::from_le_bytes(head[5..13].try_into().ok()?);
    let first = start + START;
    let mut at = first;
    for _ in 0..items {
        at = item(bytes, at)?;
    }
    let end = bytes.get(at..at + END)?;
    let sum = u64::from_le_bytes(end[1..9].try_into().ok()?);
    let whole = end[0] == 3 && &end[9..] == MAGIC && xxhash_rust::xxh3::xxh3_64(&bytes[first..at]) == sum;
    whole.then_some((at + END, sequence))
}

/// How far the values of a batch that is not whole reach, as far as its items can be believed: the length of a value is
/// there twice, so a flipped one is noticed. The length of a key is not, and does not count.
fn values_end(bytes: &[u8], start: usize) -> usize {
    let mut reached = start;
    let Some(head) = bytes.get(start..start + START).filter(|head| head[0] == 1) else { return reached };
    let mut at = start + START;
    for _ in 0..u32::from_le_bytes([head[1], head[2], head[3], head[4]]) {
        let Some(head) = bytes.get(at..at + ITEM) else { break };
        if head[0] != 2 || head[2] != 0 || head[13..17] != head[17..21] {
            break;
        }
        let key = usize::from(u16::from_le_bytes([head[11], head[12]]));
        let value = u32::from_le_bytes([head[13], head[14], head[15], head[16]]) as usize;
        reached = at + ITEM + value;
        at += ITEM + key + value;
    }
    reached
}

fn item(bytes: &[u8], at: usize) -> Option<usize> {
    match *bytes.get(at)? {
        2 => {
            let head = bytes.get(at..at + ITEM)?;
            // Compression of the journal is off.
            if head[2] != 0 {
                return None;
            }
            let key = u16::from_le_bytes(head[11..13].try_into().ok()?);
            let value = u32::from_le_bytes(head[17..21].try_into().ok()?);
            let end = at + ITEM + usize::from(key) + value as usize;
            (end <= bytes.len()).then_some(end)
        }
        4 => (at + CLEAR <= bytes.len()).then_some(at + CLEAR),
        _ => None,
    }
}
