//! Recovered is whole: a node that ends Recovering either has again every committed entry it had lost, or that entry is
//! on a majority of disks without it (`safety.md` 5). From that moment its vote and its disk count.

use quorate_core::Persist;

use super::Committed;
use crate::sim::node::Node;

pub(crate) fn persisting(committed: &Committed, nodes: &[Node], at: usize, persist: &Persist, voters: usize) {
    let disk = &nodes[at].disk;
    if persist.hard_state.recovering || !disk.hard_state.recovering || at >= voters {
        return;
    }
    for entry in disk.lost.iter().filter(|entry| committed.at(entry.index) == Some(entry.position())) {
        let place = entry.position();
        let others = (0..voters).filter(|other| *other != at && nodes[*other].disk.holds(place)).count();
        assert!(
            disk.position(place.index) == Some(place) || others > voters / 2,
            "recovered is whole: {} lost {}, which is committed, on {others} other disks",
            nodes[at].id,
            place.index
        );
    }
}
