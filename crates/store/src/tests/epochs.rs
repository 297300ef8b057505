//! `safety.md` 9 in the engine: a late write of an ended role does not reach the log of the next role.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use quorate_core::{Entry, Epoch, GroupId, Index, Persist, Position, Sequence};

use super::workload::{entries, founding, hard, open};
use crate::engine::{Engine, Shared};
use crate::{Answer, LoadedGroup, SimDisk, StoreError, StoreEvent, StoreRequest};

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
        entries,
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
    let mut engine = Engine::new(store, Arc::new(Shared::new(Arc::new(failed))));
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
