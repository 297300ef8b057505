//! Any bytes as the payload of a command: envelope, MessagePack, and what the server's machine makes of it.

use std::fmt::Debug;

use bytes::Bytes;
use quorate::machine::{
    Add, Envelope, Executor, KvCommand, KvQuery, KvReply, SnapshotReader, decode, encode,
};
use quorate_core::{Entry, EntryKind, Hash, PAYLOAD_BYTES_MAX, Position, Term};
use quorate_server::machine::{DataCommand, DataMachine, DataQuery};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error_text;

pub(super) fn run(input: &[u8]) {
    let payload = Bytes::copy_from_slice(input);
    match Envelope::decode(&payload) {
        Ok(envelope) => {
            assert_eq!(envelope.to_payload(), payload);
            value::<DataCommand>(&envelope.command);
            value::<KvCommand>(&envelope.command);
            value::<Add>(&envelope.command);
        }
        Err(error) => error_text::check(&error),
    }
    // Queries and replies travel without an envelope.
    value::<DataQuery>(input);
    value::<KvQuery>(input);
    value::<KvReply>(input);
    applied(payload);
}

/// Decoded, encoded and decoded again, a value is what it was.
fn value<T: DeserializeOwned + Serialize + PartialEq + Debug>(bytes: &[u8]) {
    match decode::<T>(bytes) {
        Ok(value) => {
            let back = encode(&value, PAYLOAD_BYTES_MAX).expect("what was decoded can be encoded");
            assert_eq!(decode::<T>(&back).expect("and decoded"), value);
        }
        Err(error) => error_text::check(&error),
    }
}

/// No committed command makes the machine panic, and its snapshot gives the same machine.
fn applied(payload: Bytes) {
    let readable = Envelope::decode(&payload).is_ok_and(|envelope| envelope.command::<DataCommand>().is_ok());
    let leaf = Hash::of(&payload);
    let entry = Entry::follow(Position::ORIGIN, Term(1), 7, EntryKind::Command, payload, leaf);
    let mut executor = Executor::new(DataMachine::default()).expect("it starts");
    match executor.apply(&entry) {
        Ok(_) => assert_eq!(executor.unreadable() == 0, readable),
        Err(error) => error_text::check(&error),
    }
    assert!(executor.fault().is_none());
    let image = |executor: &Executor<DataMachine>| {
        let (_, snapshot) = executor.snapshot().expect("it runs");
        snapshot.into_bytes().expect("memory takes it")
    };
    let bytes = image(&executor);
    let mut source: &[u8] = &bytes;
    let reader = SnapshotReader::new(&mut source, bytes.len() as u64);
    let again = Executor::<DataMachine>::restore(executor.zero(), Some(reader)).expect("its own snapshot");
    assert_eq!(image(&again), bytes);
}
