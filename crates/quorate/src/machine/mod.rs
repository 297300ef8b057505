//! Stage 6 of 7, from Committed to Applied: what an application gives Quorate, and what runs it in log order.
//!
//! It owns: the [`StateMachine`] trait, the envelope a command travels in ([`Envelope`]), the tables that make a retry
//! harmless ([`ClientSessions`]), the [`Executor`] that holds machine, sessions and position together, and two machines for
//! tests and tutorials ([`Counter`], [`Kv`]). It never does: I/O, timers, clocks, randomness, tasks. Everything here is
//! stepped by the Applier actor, which is a thin shell; a crash of that actor loses the [`Executor`], and Group makes
//! the next one from the newest snapshot or from [`SnapshotZero`] and replays the log (`docs/safety.md` 11).
//! Bounds: [`CLIENTS_MAX`] sessions, [`KEYS_MAX`] opaque keys, [`KEPT_REPLIES_BYTES_MAX`] of kept replies of each, [`EVENTS_MAX`] events per entry; the
//! machine's own memory is the application's business.

mod caught;
mod codec;
mod context;
mod counter;
mod digest;
mod envelope;
mod executor;
mod key;
mod key_table;
mod kv;
mod sessions;
mod snapshot;
mod state_machine;
#[cfg(test)]
pub(crate) mod testing;

pub(crate) use caught::caught;
pub(crate) use codec::encode_reply;
pub use codec::{CodecError, DEPTH_MAX, decode, encode};
pub use context::{ApplyContext, EVENTS_MAX, Event};
pub use counter::{Add, Added, Counter, CounterQuery, Overflow, Total};
pub use digest::AppliedDigest;
pub use envelope::{ENVELOPE_VERSION, Envelope, EnvelopeError, SESSION_HEADER_BYTES};
pub use executor::{
    ApplyError, CaptureError, Executed, Execution, Executor, Fault, OnUnreadable, QueryFailed, SnapshotZero,
};
pub(crate) use executor::{Ran, Taken, kept_reply, run_command, run_query};
pub use key::{ClientId, CommandHash, CommandKey, IdempotencyKey, SessionKey};
pub use key_table::KEYS_MAX;
pub use kv::{
    KEY_BYTES_MAX, Kv, KvAnswer, KvCommand, KvExpected, KvItem, KvQuery, KvRefusal, KvReply, LIST_BYTES_MAX,
    LIST_ITEMS_MAX, VALUE_BYTES_MAX, Versioned,
};
pub use sessions::{CLIENTS_MAX, ClientSessions, KEPT_REPLIES_BYTES_MAX, Lookup, REPLY_BYTES_MAX};
pub use snapshot::{RestoreError, Snapshot, SnapshotReader};
pub use state_machine::StateMachine;
