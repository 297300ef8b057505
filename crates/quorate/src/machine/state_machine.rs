//! The trait that an application implements.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::context::ApplyContext;
use super::snapshot::{RestoreError, Snapshot, SnapshotReader};

/// A deterministic object that Quorate replicates: the same commands in the same order give the same state and the
/// same replies on every node.
///
/// So `apply` asks no clock (there is [`ApplyContext::time_ms`]), draws no random number (there is
/// [`ApplyContext::seed`]), iterates no `HashMap`, reads no file, and sums no floats whose order may differ. It does not
/// panic: a refusal is a reply. A panic costs this replica its machine ([`Fault`](super::Fault)), and all replicas panic alike.
///
/// The log is replayed at every start, so `apply` must always do what it once did with a command, and the machine that
/// [`Node::group`](crate::Node::group) is given must be the same each time. A new rule is a new variant. Nothing notices a replica
/// that has another state because of it.
///
/// The four types travel in MessagePack maps with named fields, so fields and variants may be added: give new fields
/// `#[serde(default)]`, and propose a new variant only once every node runs a build that knows it (see
/// [`OnUnreadable`](super::OnUnreadable)). Byte strings want [`bytes::Bytes`] or `serde_bytes`; `Option<Option<T>>` does not survive
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
