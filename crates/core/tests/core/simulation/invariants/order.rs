//! Order: durable and commit <= last; applied <= committed; on followers what is handed to the applier is durable
//! (`safety.md` 10).

use std::collections::BTreeMap;

use quorate_core::{Entry, Index, ReplicaState};

use crate::simulation::process::Process;
use crate::world::Snapshot;

#[derive(Debug, Default)]
pub(crate) struct Order {
    /// An applier lives on, with what it was handed, when its role is loaded again and knows less.
    applied_at_start: BTreeMap<usize, Index>,
}

impl Order {
    pub(crate) fn started(&mut self, node: &Process, state: &ReplicaState) {
        self.applied_at_start.insert(node.at, state.applied().max(node.applier.handed()));
    }

    pub(crate) fn check(&self, node: &Process, state: &ReplicaState) {
        let last = state.tail().last().index;
        let id = &node.id;
        assert!(state.commit() <= last, "order: {id} commit {} last {last}", state.commit());
        assert!(state.durable() <= last, "order: {id} durable {} last {last}", state.durable());
        assert!(state.durable() <= node.disk.last(), "order: {id} says {} is durable", state.durable());
        let fetched = node.disk.snapshots.newest().map_or(Index::ZERO, Snapshot::index);
        let floor = self.applied_at_start.get(&node.at).copied().unwrap_or_default().max(fetched);
        assert!(
            state.applied() <= state.commit().max(floor),
            "order: {id} applied {} commit {}",
            state.applied(),
            state.commit()
        );
    }
}

pub(crate) fn handed(node: &Process, entries: &[Entry]) {
    let Some(state) = node.state() else { return };
    let last = entries.last().expect("nothing is never handed over").index;
    assert!(last <= state.commit(), "order: {} hands {last} to the applier uncommitted", node.id);
    assert!(
        node.leads() || last <= node.disk.last(),
        "order: {} follows and hands {last} to the applier before its disk has it",
        node.id
    );
}
