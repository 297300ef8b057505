//! Stage 6 of 7, from Committed to Applied: what an application gives Quorate, and what runs it in log order.
//!
//! It owns: the [`StateMachine`] trait, the envelope a command travels in ([`Envelope`]), the table that makes a retry
//! harmless ([`Sessions`]), the [`Executor`] that holds machine, sessions and position together, and two machines for
//! tests and tutorials ([`Counter`], [`Kv`]). It never does: I/O, timers, clocks, randomness, tasks. Everything here is
//! stepped by the Applier actor, which is a thin shell; a crash of that actor loses the [`Executor`], and Group makes
//! the next one from the newest snapshot or from [`SnapshotZero`] and replays the log (`docs/safety.md` 11).
//! Bounds: [`CLIENTS_MAX`] sessions, [`KEPT_REPLIES_BYTES_MAX`] of kept replies, [`EVENTS_MAX`] events per entry; the
//! machine's own memory is the application's business.

mod codec;
mod context;
mod counter;
mod digest;
mod envelope;
mod executor;
mod kv;
mod sessions;
mod snapshot;
#[cfg(test)]
mod testing;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use codec::{CodecError, DEPTH_MAX, decode, encode};
pub use context::{ApplyContext, EVENTS_MAX, Event};
pub use counter::{Add, Added, Counter, CounterQuery, Overflow, Total};
pub use digest::AppliedDigest;
pub use envelope::{ClientId, ENVELOPE_VERSION, Envelope, EnvelopeError, SESSION_HEADER_BYTES, SessionKey};
pub use executor::{
    ApplyError, CaptureError, Executed, Execution, Executor, Fault, OnUnreadable, QueryFailed, SnapshotZero,
    check_command,
};
pub use kv::{
    KEY_BYTES_MAX, Kv, KvAnswer, KvCommand, KvExpected, KvItem, KvQuery, KvRefusal, KvReply, LIST_BYTES_MAX,
    LIST_ITEMS_MAX, VALUE_BYTES_MAX, Versioned,
};
pub use sessions::{CLIENTS_MAX, KEPT_REPLIES_BYTES_MAX, Lookup, REPLY_BYTES_MAX, Sessions};
pub use snapshot::{RestoreError, Snapshot, SnapshotReader};

/// A deterministic object that Quorate replicates: the same commands in the same order give the same state and the
/// same replies on every node.
///
/// So `apply` asks no clock (there is [`ApplyContext::time_ms`]), draws no random number (there is
/// [`ApplyContext::seed`]), iterates no `HashMap`, reads no file, and sums no floats whose order may differ. It does not
/// panic: a refusal is a reply. A panic costs this replica its machine ([`Fault`]), and all replicas panic alike.
///
/// The four types travel in MessagePack maps with named fields, so fields and variants may be added: give new fields
/// `#[serde(default)]`, and propose a new variant only once every node runs a build that knows it (see
/// [`OnUnreadable`]). Byte strings want [`bytes::Bytes`] or `serde_bytes`; `Option<Option<T>>` does not survive
/// MessagePack.
///
/// ```
/// use quorate::machine::{ApplyContext, RestoreError, Snapshot, SnapshotReader, StateMachine};
///
/// /// Remembers the longest word, and when it came.
/// #[derive(Default)]
/// struct Longest { word: String, at_ms: u64 }
///
/// impl StateMachine for Longest {
///     type Command = String;
///     type Reply = bool;
///     type Query = ();
///     type Answer = (String, u64);
///
///     fn apply(&mut self, cx: &mut ApplyContext<'_>, word: String) -> bool {
///         let longer = word.len() > self.word.len();
///         if longer {
///             (self.word, self.at_ms) = (word, cx.time_ms());
///         }
///         longer
///     }
///     fn query(&self, (): ()) -> (String, u64) {
///         (self.word.clone(), self.at_ms)
///     }
///     fn snapshot(&self) -> Snapshot {
///         Snapshot::from_value((self.word.clone(), self.at_ms))
///     }
///     fn restore(reader: SnapshotReader<'_>) -> Result<Self, RestoreError> {
///         let (word, at_ms) = reader.only_value()?;
///         Ok(Self { word, at_ms })
///     }
/// }
/// ```
pub trait StateMachine: Send + 'static {
    /// What changes it.
    type Command: Serialize + DeserializeOwned + Send + 'static;
    /// What the proposer of a command gets back, refusals included.
    type Reply: Serialize + DeserializeOwned + Send + 'static;
    /// What it can be asked.
    type Query: Serialize + DeserializeOwned + Send + 'static;
    /// What it answers.
    type Answer: Serialize + DeserializeOwned + Send + 'static;

    /// Applies one committed command. Called once for each, in log order, on every replica.
    fn apply(&mut self, cx: &mut ApplyContext<'_>, command: Self::Command) -> Self::Reply;

    /// Answers a query from the present state, and changes nothing.
    fn query(&self, query: Self::Query) -> Self::Answer;

    /// Captures the present state. Called between two commands, so it must be cheap: share (`Arc`) or copy what is
    /// needed into the [`Snapshot`]; its bytes are produced elsewhere while commands go on.
    fn snapshot(&self) -> Snapshot;

    /// Makes the machine that a snapshot was taken of. The bytes must be read to their end.
    fn restore(reader: SnapshotReader<'_>) -> Result<Self, RestoreError>
    where
        Self: Sized;
}
