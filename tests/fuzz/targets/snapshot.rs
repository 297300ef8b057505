//! Any bytes as a snapshot of a group: read into each machine we have.

use bytes::Bytes;
use quorate::machine::{Counter, Executor, Kv, RestoreError, SnapshotReader, StateMachine};
use quorate_server::machine::DataMachine;

use super::error_text;

pub(super) fn run(bytes: &[u8]) {
    read::<Counter>(bytes);
    read::<Kv>(bytes);
    read::<DataMachine>(bytes);
}

fn read<M: StateMachine + Default>(bytes: &[u8]) {
    let Some(executor) = restored::<M>(bytes) else { return };
    // What was taken in gives a snapshot that gives the same again.
    let image = image(&executor);
    let again = restored::<M>(&image).expect("its own snapshot is read");
    assert_eq!(again.applied(), executor.applied());
    assert_eq!(self::image(&again), image);
    // A running machine takes it or says why not, and stays what it was if not.
    let mut running = Executor::new(M::default()).expect("it starts");
    let before = running.applied();
    let mut source = bytes;
    match running.install(SnapshotReader::new(&mut source, bytes.len() as u64)) {
        Ok(at) => assert_eq!((at, running.applied()), (executor.applied(), executor.applied())),
        Err(error) => {
            error_text::check(&error);
            assert_eq!(running.applied(), before);
        }
    }
}

fn restored<M: StateMachine + Default>(bytes: &[u8]) -> Option<Executor<M>> {
    let zero = Executor::new(M::default()).expect("it starts").zero();
    let mut source = bytes;
    let restored = Executor::restore(zero, Some(SnapshotReader::new(&mut source, bytes.len() as u64)));
    if let Err(error) = &restored {
        error_text::check(error);
        assert!(!matches!(error, RestoreError::Panicked { .. }), "{error}");
    }
    restored.ok()
}

fn image<M: StateMachine>(executor: &Executor<M>) -> Bytes {
    let (_, snapshot) = executor.snapshot().expect("it runs");
    snapshot.into_bytes().expect("memory takes it")
}
