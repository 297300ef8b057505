//! One TCP connection: its handshake, send queue, reading, writing and keepalive.
//!
//! It imports the frames and what is below them. What its frames are for, the endpoint floor says through the seam in
//! `receiver.rs`.
//!
//! Bound: the send queue in bytes (`queue.rs`), two incomplete messages in fragments, `calls_inbound_max` calls.

mod counters;
mod flaps;
mod handshake;
mod inbound;
mod keepalive;
mod places;
mod present;
mod queue;
mod read;
mod receiver;
mod serve;
mod shared;
mod write;

pub(crate) use counters::Counters;
pub(crate) use flaps::{Flaps, say_once_steady};
pub(crate) use handshake::{Admitted, Handshake, HandshakeError, REPLACED_MAX};
pub(crate) use inbound::InboundConnections;
pub(crate) use queue::{ItemKind, PushError};
pub(crate) use receiver::Receiver;
pub(crate) use serve::serve;
pub(crate) use shared::{CallEnd, Connection};
