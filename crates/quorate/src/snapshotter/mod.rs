//! The snapshotter: what a machine was after some entry, as a file that stands for the log up to there.
//!
//! - `actor`: the actor.
//! - `files`: its jobs, on a thread that may block.
//! - `fetch`: how a snapshot comes from a peer.
//! - `gauge`: what appliers see of it.
//! - `restored`: how a machine is made of the newest snapshot that can be read.

pub(crate) mod actor;
mod fetch;
mod files;
pub(crate) mod gauge;
pub(crate) mod restored;
