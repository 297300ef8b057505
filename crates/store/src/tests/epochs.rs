//! `safety.md` 9 in the engine: a late write of an ended role does not reach the log of the next role.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use quorate_core::{Entry, Epoch, GroupId, Index, Persist, Position, Sequence};

use super::workload::{entries, founding, hard, open, options};
use crate::engine::{Engine, Shared};
use crate::{Answer, Disk, LoadedGroup, SimDisk, Store, StoreError, StoreEvent, StoreRequest};

fn group() -> GroupId {
    GroupId::of_name("a")
}

fn persist(sequence: u64, entries: Vec<Entry>) -> Persist {
    let hard_state = hard(1, None);
    Persist {
        sequence: Sequence(sequence),
        hard_state: hard_state.into(),
        hard_state_changed: false,
        truncate_from: None,
        entries: entries.into(),
        install: None,
    }
}

type Loading = Receiver<Result<LoadedGroup, StoreError>>;

/// A role begins under this epoch; its events go to `heard`.
fn load(epoch: u64, heard: Sender<StoreEvent>) -> (StoreRequest, Loading) {
    let (told, answer) = channel();
    let reply = Answer::new(move |loaded| drop(told.send(loaded)));
    // A test that dropped its receiver has seen enough.
    let sink = Arc::new(move |event| drop(heard.send(event)));
    let (group, epoch) = (group(), Epoch(epoch));
    (StoreRequest::Load { group, epoch, tail_bytes_max: 1 << 20, sink, reply }, answer)
}

/// A write of epoch 1 arrives after epoch 2 began. Returns the events of the new role, and the last index of the log.
fn late_order() -> (Vec<StoreEvent>, Index) {
    let (store, _) = open(&SimDisk::new()).expect("it opens");
    let failed = |fatal| panic!("the disk is healthy: {fatal:?}");
    let mut engine = Engine::new(store, Arc::new(Shared::new(Arc::new(failed), Arc::default())));
    let reply = Answer::new(drop);
    engine.execute(vec![StoreRequest::OpenGroup { name: "a".into(), founding: founding(), reply }]);
    let (second, heard) = channel();
    let (begin_first, _first) = load(1, channel().0);
    let (begin_second, _second) = load(2, second);
    engine.execute(vec![begin_first]);
    let old = entries(Position::ORIGIN, 1, 2, 10);
    engine.execute(vec![begin_second]);
    engine.execute(vec![StoreRequest::Persist { group: group(), epoch: Epoch(1), persist: persist(1, old) }]);
    let (look, found) = load(3, channel().0);
    engine.execute(vec![look]);
    let loaded = found.try_recv().expect("inline").expect("it loads");
    (heard.try_iter().collect(), loaded.tail.last().index)
}

#[test]
fn rule_09_what_a_dead_role_ordered_does_not_land_behind_the_next() {
    assert_eq!(late_order(), (Vec::new(), Index::ZERO));
}

/// A gauge that cannot be read ends nothing: what was last known holds, and it is read again.
#[test]
fn rule_16_free_space_that_cannot_be_measured_changes_nothing() {
    let disk = SimDisk::new();
    let (store, _) = open(&disk).expect("it opens");
    let failed = |fatal| panic!("no disk failed: {fatal:?}");
    let shared = Arc::new(Shared::new(Arc::new(failed), Arc::default()));
    let mut engine = Engine::new(store, Arc::clone(&shared));
    let reply = Answer::new(drop);
    engine.execute(vec![StoreRequest::OpenGroup { name: "a".into(), founding: founding(), reply }]);
    let (sink, heard) = channel();
    engine.execute(vec![load(1, sink).0]);
    let look = |engine: &mut Engine, unmeasurable, capacity| {
        disk.set_unmeasurable(unmeasurable);
        disk.set_capacity(capacity);
        engine.settle();
        heard.try_iter().collect::<Vec<_>>()
    };
    let (full, roomy) = (0, 1 << 40);
    assert_eq!(look(&mut engine, true, full), Vec::new(), "not known to be full");
    assert_eq!(look(&mut engine, true, full), Vec::new(), "nor at the next look");
    assert_eq!(look(&mut engine, false, full), vec![StoreEvent::DiskFull(true)], "measured again");
    assert_eq!(look(&mut engine, true, roomy), Vec::new(), "what was last known holds");
    assert_eq!(look(&mut engine, false, roomy), vec![StoreEvent::DiskFull(false)], "measured again");
}

#[test]
fn rule_16_a_node_starts_where_free_space_cannot_be_measured() {
    let disk = SimDisk::new();
    let mut options = options();
    options.ballast_bytes = 1 << 20;
    drop(Store::open(Box::new(disk.clone()), options.clone()).expect("it opens"));
    assert_eq!(disk.ballast_bytes().expect("it answers"), 1 << 20);
    disk.set_unmeasurable(true);
    let (_, report) = Store::open(Box::new(disk.clone()), options).expect("a gauge refuses no start");
    assert_eq!(report.notices, Vec::new());
    assert_eq!(disk.ballast_bytes().expect("it answers"), 1 << 20, "nothing is deleted without a reason");
}
