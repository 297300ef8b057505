//! A log that a newer build wrote, told apart from a damaged one: after a downgrade a healthy log must not be set aside.

use bytes::Bytes;
use quorate_core::{
    ENTRY_VERSION, Entry, EntryError, FIXED_BYTES, GroupId, HEADER_BYTES, Hash, Position, chain_hash,
    decode_run, verify_run,
};

use crate::error::StoreError;

/// Returns a refusal if a run fails to decode because a newer build wrote it. The entries before the undecodable one must be whole.
/// An unknown kind or a voucher counts as newer if the chain covers the header as it is. An unknown version may have another layout, so
/// the chain cannot confirm it; but if the chain holds with this build's version in its place, the first byte is damaged.
pub(super) fn refusal(
    group: GroupId,
    previous: Position,
    value: &Bytes,
    error: &EntryError,
) -> Option<StoreError> {
    let (offset, version) = match error {
        EntryError::Version { offset, version } if *version > ENTRY_VERSION => (*offset, Some(*version)),
        EntryError::Kind { offset, .. } | EntryError::Vouched { offset, .. } => (*offset, None),
        _ => return None,
    };
    let mut before = decode_run(&value.slice(..offset)).ok()?;
    let below = before.partition_point(|entry| entry.index <= previous.index);
    // Below the log's beginning only the row itself holds the chain.
    let unchecked = before.get(below.wrapping_sub(1)).map_or(previous, Entry::position);
    before.drain(..below);
    let reached = verify_run(previous, &before).ok()?;
    let last = if before.is_empty() { unchecked } else { reached };
    let head: &[u8; HEADER_BYTES] = value.get(offset..offset + HEADER_BYTES)?.try_into().ok()?;
    let place = || format!("the log of group {group} after {}", last.log_id());
    match version {
        None if is_chained(last, head, &value[offset..]) => {
            Some(StoreError::newer(format!("{} ({error})", place()), None))
        }
        None => None,
        Some(version) => {
            let mut ours = *head;
            ours[0] = ENTRY_VERSION;
            let rotten = is_chained(last, &ours, &value[offset..]);
            (!rotten).then(|| StoreError::newer(place(), Some(version)))
        }
    }
}

/// Whether the chain hash in `head` covers the rest of the header and the payload after it in `entry`.
fn is_chained(before: Position, head: &[u8; HEADER_BYTES], entry: &[u8]) -> bool {
    let (fixed, chain) =
        head.split_first_chunk::<FIXED_BYTES>().expect("a header is longer than its fixed part");
    let length = u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]) as usize;
    let Some(payload) = entry.get(HEADER_BYTES..HEADER_BYTES + length) else { return false };
    chain_hash(before.chain, fixed, Hash::of(payload)).0 == chain
}
