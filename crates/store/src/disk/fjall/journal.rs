//! The record format of fjall's journals, and what one journal turns out to be.
//!
//! The format is that of fjall 3.1 (`journal/entry.rs` there). The exact pin in the workspace, fjall's version file and a
//! round-trip test guard it.

const MAGIC: &[u8; 4] = b"FJL\x03";
const START: usize = 1 + 4 + 8;
const ITEM: usize = 1 + 1 + 1 + 8 + 2 + 4 + 4;
const CLEAR: usize = 1 + 8;
const END: usize = 1 + 8 + 4;
/// Sequence numbers are not covered by fjall's checksum: a larger step means a flipped bit.
const SEQUENCE_STEP_MAX: u64 = 1 << 40;
/// Largest step from the last whole batch to one after a torn batch: a journal has fewer batches than this.
const SEQUENCE_AHEAD_MAX: u64 = 1 << 24;

/// What a journal turned out to be. All places are bytes from its beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Journal {
    /// Whole batches up to `end`, then only zeros; `last` is the sequence number of the last batch so far.
    Clean { end: u64, last: Option<u64> },
    /// Whole batches up to `end`, then `cut` bytes of an unfinished one and no whole batch after it.
    Torn { end: u64, cut: u64 },
    /// Something that does not decode with a whole batch after it, or sequence numbers out of order.
    Damaged { at: u64, detail: String },
}

/// Checks the batches of a journal. `sequence` is the last number of the journal before it: numbers ascend over all journals of
/// a database, so swapped journals and an older copy of one are detected.
pub(crate) fn check(bytes: &[u8], mut sequence: Option<u64>) -> Journal {
    let mut at = 0;
    while let Some((end, number)) = batch(bytes, at) {
        if let Some(last) = sequence
            && (number <= last || number - last > SEQUENCE_STEP_MAX)
        {
            let detail = format!("sequence number {number} does not follow {last}, the one before");
            return Journal::Damaged { at: at as u64, detail };
        }
        sequence = Some(number);
        at = end;
    }
    let end = at + written(&bytes[at..]);
    if end == at {
        return Journal::Clean { end: at as u64, last: sequence };
    }
    // The payload of an unfinished batch may hold any bytes, also ones that look like a batch. Only what lies beyond its
    // values, has items and continues the sequence is a later batch.
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
            Journal::Damaged { at: at as u64, detail }
        }
        None => Journal::Torn { end: at as u64, cut: (end - at) as u64 },
    }
}

/// How many bytes stand before the zeros of a journal's end. A journal is made longer than what is in it (64 MiB), so whole
/// pages of zeros are passed over at once.
pub(crate) fn written(bytes: &[u8]) -> usize {
    const ZEROS: [u8; 4096] = [0; 4096];
    let mut end = bytes.len();
    while end >= ZEROS.len() && bytes[end - ZEROS.len()..end] == ZEROS {
        end -= ZEROS.len();
    }
    bytes[..end].iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

/// The end and the sequence number of the whole batch that begins at `start`.
pub(super) fn batch(bytes: &[u8], start: usize) -> Option<(usize, u64)> {
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

/// Where the values of a batch that is not whole end, as far as its items can be trusted: the length of a value is stored
/// twice, so a flipped bit is detected. The length of a key is stored once, and keys do not count.
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
