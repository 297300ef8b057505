//! What a replicator hears.

use quorate_core::ReplicatorEvent;
use ractor::ActorRef;

/// The address of a replicator.
pub(crate) type ReplicatorRef = ActorRef<ReplicatorMessage>;

/// What a replicator hears.
pub(crate) enum ReplicatorMessage {
    /// From its leader, or from the log store with entries that the leader read for it.
    Event(ReplicatorEvent),
    /// From its own timer, with the generation of the timer that fired.
    Tick(u64),
    /// From tests and `quorate actors stop --panic`: panic, as a bug would.
    Panic,
}
