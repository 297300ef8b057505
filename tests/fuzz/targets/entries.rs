//! Any bytes as entries of the log; and a run that is whole but for one byte.

use bytes::Bytes;
use quorate_core::{Entry, EntryError, EntryKind, Hash, Position, Term, decode_run, encode_run, verify_run};

use super::error_text;

pub(super) fn run(input: &[u8]) {
    let bytes = Bytes::copy_from_slice(input);
    if let Ok((entry, end)) = Entry::decode(&bytes, 0) {
        assert_eq!(encode_run(std::slice::from_ref(&entry)), bytes.slice(..end));
        assert_eq!(entry.leaf, Hash::of(&entry.payload));
    }
    match decode_run(&bytes) {
        Ok(entries) => {
            assert_eq!(encode_run(&entries), bytes, "what was decoded encodes as it was");
            if let Err(error) = verify_run(Position::ORIGIN, &entries) {
                error_text::check(&error);
            }
        }
        Err(error) => {
            error_text::check(&error);
            if let EntryError::Short { offset, .. }
            | EntryError::Version { offset, .. }
            | EntryError::Kind { offset, .. }
            | EntryError::Vouched { offset, .. }
            | EntryError::Long { offset, .. } = error
            {
                assert!(offset <= input.len(), "{error}: there is no such byte");
            }
        }
    }
    damaged(input);
}

/// A run made of the input, with one byte changed: it is seen, whichever byte it is.
fn damaged(input: &[u8]) {
    let Some((&[at, high, change], payloads)) = input.split_first_chunk::<3>() else { return };
    let mut last = Position::ORIGIN;
    let entries: Vec<Entry> = payloads
        .chunks(40)
        .map(|payload| {
            let payload = Bytes::copy_from_slice(payload);
            let leaf = Hash::of(&payload);
            let entry = Entry::follow(last, Term(1), 7, EntryKind::Command, payload, leaf);
            last = entry.position();
            entry
        })
        .collect();
    let run = encode_run(&entries);
    assert_eq!(decode_run(&run).as_ref(), Ok(&entries));
    assert_eq!(verify_run(Position::ORIGIN, &entries), Ok(last));
    if run.is_empty() || change == 0 {
        return;
    }
    let at = usize::from(u16::from_le_bytes([at, high])) % run.len();
    let mut bad = run.to_vec();
    bad[at] ^= change;
    let seen = decode_run(&bad.into()).and_then(|run| verify_run(Position::ORIGIN, &run));
    assert!(seen.is_err(), "a change of byte {at} went unseen");
}
