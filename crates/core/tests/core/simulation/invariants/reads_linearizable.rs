//! Reads linearizable: a read index is not below anything a caller was told before the read began (Raft thesis, section
//! 6.4).

use quorate_core::Index;

use crate::simulation::clients::Read;

pub(crate) fn ready(at: usize, read: &Read, index: Index) {
    assert_eq!(read.at, at, "a read is answered where it was asked");
    assert!(
        index >= read.floor,
        "stale read at n{at}: index {index}, but {} was acknowledged before it began",
        read.floor
    );
}
