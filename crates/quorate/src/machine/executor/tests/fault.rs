//! Machines that panic.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};

use super::*;
use crate::machine::{CaptureError, EVENTS_MAX, Event, RestoreError, Snapshot};

/// Panics where it is told to.
#[derive(Debug, Default)]
struct Fragile {
    total: i64,
    dropped: Arc<AtomicUsize>,
    snapshot_panics: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum Tell {
    Add(i64),
    Panic,
    PanicInSnapshot,
    Emit(usize),
}

impl StateMachine for Fragile {
    type Command = Tell;
    type Reply = i64;
    type Query = bool;
    type Answer = i64;

    fn apply(&mut self, cx: &mut ApplyContext<'_>, tell: Tell) -> i64 {
        match tell {
            Tell::Add(amount) => self.total += amount,
            Tell::Panic => {
                self.total = -1;
                panic!("poison at {}", cx.index())
            }
            Tell::PanicInSnapshot => self.snapshot_panics = true,
            Tell::Emit(count) => (0..count).for_each(|_| cx.emit(Event { key: "k".into(), body: None })),
        }
        self.total
    }

    fn query(&self, panic: bool) -> i64 {
        assert!(!panic, "asked to");
        self.total
    }

    fn snapshot(&self) -> Snapshot {
        assert!(!self.snapshot_panics, "no snapshot");
        Snapshot::from_value(self.total)
    }

    fn restore(reader: SnapshotReader<'_>) -> Result<Self, RestoreError> {
        let total = reader.only_value()?;
        assert!(total != 13, "unlucky");
        Ok(Self { total, dropped: Arc::default(), snapshot_panics: false })
    }
}

impl Drop for Fragile {
    fn drop(&mut self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
        assert!(self.total != -1, "its destructor panics too");
    }
}

fn install(executor: &mut Executor<Fragile>, bytes: &Bytes) -> Result<Position, RestoreError> {
    let mut source = &bytes[..];
    executor.install(SnapshotReader::new(&mut source, bytes.len() as u64))
}

#[test]
fn a_machine_that_panics_is_dropped_and_never_reused() {
    let mut log = Log::default();
    let dropped = Arc::new(AtomicUsize::new(0));
    let machine = Fragile { total: 0, dropped: Arc::clone(&dropped), snapshot_panics: false };
    let mut executor = Executor::new(machine).expect("captures");
    let good = log.command(&Tell::Add(5), Some(key(1, 1)));
    assert_eq!(replied(executor.apply(&good)), 5);
    let poison = log.command(&Tell::Panic, Some(key(1, 2)));
    let fault = Fault { index: Index(2), message: "poison at 2".to_owned() };
    assert_eq!(executor.apply(&poison), Err(ApplyError::Faulted(fault.clone())));
    assert_eq!(dropped.load(Ordering::Relaxed), 1);
    assert_eq!((executor.fault(), executor.applied()), (Some(&fault), good.position()));
    assert_eq!(executor.apply(&poison), Err(ApplyError::Faulted(fault.clone())));
    assert_eq!(executor.query(false), Err(QueryFailed::Faulted(fault.clone())));
    assert!(matches!(executor.snapshot(), Err(CaptureError::Faulted(same)) if same == fault));
    // A new life from zero comes to the same entry and the same end: it is the machine's fault, not the moment's.
    let mut again = Executor::<Fragile>::restore(executor.zero(), None).expect("restores");
    assert_eq!(replied(again.apply(&good)), 5);
    assert_eq!(again.apply(&poison), Err(ApplyError::Faulted(fault)));
}

#[test]
fn a_snapshot_from_beyond_the_poison_heals_and_one_from_before_does_not() {
    let mut log = Log::default();
    let mut executor = Executor::new(Fragile::default()).expect("captures");
    let mut mended = Executor::new(Fragile::default()).expect("captures");
    let first = log.command(&Tell::Add(5), None);
    let _ = (replied(executor.apply(&first)), replied(mended.apply(&first)));
    let before = bytes_of(&mended);
    let mut other = log.clone();
    assert!(executor.apply(&log.command(&Tell::Panic, None)).is_err());
    let refused = install(&mut executor, &before);
    assert!(matches!(refused, Err(RestoreError::Behind { snapshot: Index(1), applied: Index(1) })));
    assert!(executor.fault().is_some());
    let _ = replied(mended.apply(&other.command(&Tell::Add(2), None)));
    assert_eq!(install(&mut executor, &bytes_of(&mended)).expect("installs"), other.last);
    assert_eq!((executor.query(false), executor.fault()), (Ok(7), None));
}

#[test]
fn bug_60_an_installed_snapshot_never_takes_the_machine_back() {
    let mut log = Log::default();
    let mut executor = Executor::new(Fragile::default()).expect("captures");
    let mut old = Vec::new();
    for amount in 1..=3 {
        let _ = replied(executor.apply(&log.command(&Tell::Add(amount), None)));
        old.push(bytes_of(&executor));
    }
    for bytes in &old {
        assert!(matches!(install(&mut executor, bytes), Err(RestoreError::Behind { .. })));
    }
    assert_eq!((executor.query(false), executor.applied()), (Ok(6), log.last));
}

#[test]
fn a_failed_install_leaves_everything_as_it_was() {
    let mut log = Log::default();
    let mut ahead = Executor::new(Fragile::default()).expect("captures");
    let mut executor = Executor::new(Fragile::default()).expect("captures");
    let _ = replied(ahead.apply(&log.command(&Tell::Add(13), None)));
    let panics = install(&mut executor, &bytes_of(&ahead));
    assert!(matches!(panics, Err(RestoreError::Panicked { message }) if message == "unlucky"));
    let _ = replied(ahead.apply(&log.command(&Tell::Add(1), None)));
    let bytes = bytes_of(&ahead);
    let longer = Bytes::from([&bytes[..], b"\xc0"].concat());
    assert!(matches!(install(&mut executor, &longer), Err(RestoreError::Trailing { .. })));
    assert!(install(&mut executor, &bytes.slice(..bytes.len() - 1)).is_err());
    assert_eq!((executor.query(false), executor.applied()), (Ok(0), Position::ORIGIN));
    assert_eq!(install(&mut executor, &bytes).expect("installs"), log.last);
}

#[test]
fn a_query_or_a_capture_that_panics_is_an_error_and_the_machine_goes_on() {
    let mut log = Log::default();
    let mut executor = Executor::new(Fragile::default()).expect("captures");
    let panicked = Err(QueryFailed::Panicked { message: "asked to".to_owned() });
    assert_eq!(executor.query(true), panicked);
    assert_eq!(executor.query(false), Ok(0));
    let _ = replied(executor.apply(&log.command(&Tell::PanicInSnapshot, None)));
    assert!(
        matches!(executor.snapshot(), Err(CaptureError::Panicked { message }) if message == "no snapshot")
    );
    assert_eq!(replied(executor.apply(&log.command(&Tell::Add(2), None))), 2);
    let machine = Fragile { total: 0, dropped: Arc::default(), snapshot_panics: true };
    assert!(matches!(Executor::new(machine), Err(CaptureError::Panicked { .. })));
}

#[test]
fn events_are_bounded_and_none_comes_of_a_retry() {
    let mut log = Log::default();
    let mut executor = Executor::new(Fragile::default()).expect("captures");
    let session = Some(key(1, 1));
    let many = executor.apply(&log.command(&Tell::Emit(EVENTS_MAX + 3), session)).expect("applies");
    assert_eq!((many.events.len(), many.events_left_out), (EVENTS_MAX, 3));
    let again = executor.apply(&log.command(&Tell::Emit(EVENTS_MAX + 3), session)).expect("applies");
    assert_eq!((again.events.len(), again.events_left_out), (0, 0));
}
