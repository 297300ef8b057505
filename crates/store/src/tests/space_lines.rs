//! What the log says of a disk that is full and has room again: which resource there is too little of.

use std::sync::Arc;

use quorate_log_lines::lines_of;

use super::workload::open;
use crate::SimDisk;
use crate::engine::{Engine, Shared};

/// It had room again in bytes, of which it had never had too little.
#[test]
fn rule_16_a_full_disk_is_logged_with_what_it_has_too_little_of_and_so_is_its_end() {
    let disk = SimDisk::new();
    let (store, _) = open(&disk).expect("it opens");
    let failed = |fatal| panic!("no disk failed: {fatal:?}");
    let mut engine = Engine::new(store, Arc::new(Shared::new(Arc::new(failed), Arc::default())));
    let ((), lines) = lines_of(|| {
        disk.set_free_files(12);
        engine.settle();
        disk.set_free_files(100_000);
        engine.settle();
        disk.set_capacity(0);
        engine.settle();
        disk.set_capacity(1 << 40);
        engine.settle();
    });
    let of_disk: Vec<_> = lines.iter().filter(|line| line.contains("message=disk ")).collect();
    let said = |at: usize, words: &[&str]| {
        let line = of_disk.get(at).unwrap_or_else(|| panic!("too few lines: {lines:?}"));
        assert!(words.iter().all(|word| line.contains(word)), "{line}");
    };
    said(0, &["below its reserve", "resource=inodes", "12 inodes", "128 inodes"]);
    said(1, &["has room again", "resource=inodes", "100000 inodes"]);
    said(2, &["below its reserve", "resource=bytes", " B"]);
    said(3, &["has room again", "resource=bytes"]);
}
