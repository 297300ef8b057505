//! What is said where a disk has no room: whose it is, what it lacks, and from when on it takes entries again.

use quorate_store::{Shortage, Space};

/// Whose disk lacks what.
pub(crate) fn where_lacks(leader: &str, full: &[String], leader_lacks: &str) -> String {
    if full.is_empty() {
        format!("leader {leader} has {leader_lacks}; free or add some")
    } else {
        full_voters(full)
    }
}

/// What a leader with room says while the disks of these voters keep it from committing.
pub(crate) fn full_voters(full: &[String]) -> String {
    let names = full.join(", ");
    let (are, them) = if full.len() == 1 {
        ("disk of", "is full, and without it")
    } else {
        ("disks of", "are full, and without them")
    };
    format!("the {are} {names} {them} no majority can take entries; free or add some there")
}

/// What a leader's disk lacks, and when it takes entries again.
pub(crate) fn lacks(free_bytes: u64, reserve_bytes: u64, free_files: u64, reserve_files: u64) -> String {
    let space =
        Space { free_bytes, reserve_bytes, live_bytes: 0, total_bytes: u64::MAX, free_files, reserve_files };
    let Shortage { why, free, reserve, again, .. } = space.shortage();
    format!(
        "{free} free on its disk, and {reserve} must stay free there ({why}); it takes entries again with {again} free"
    )
}
