//! The messages between the actors of a node: one closed enum per actor, each variant with its sender, and the addresses
//! they are sent to.
//!
//! A sender imports a message and never the actor that hears it, so the actors' files depend on this directory and not
//! on each other. Nothing here imports an actor.

pub(crate) mod applier;
pub(crate) mod group;
pub(crate) mod members;
pub(crate) mod node;
pub(crate) mod replicator;
pub(crate) mod role;
pub(crate) mod snapshotter;
pub(crate) mod store;
