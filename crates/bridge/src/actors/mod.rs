//! The actors: three kinds that move bytes, and the supervisor above them.
//!
//! ```text
//! Bridge            restarts the others
//! ├─ Listener       accepts
//! ├─ Session        one per inbound connection
//! └─ Link           one per peer: connect, handshake, serve, reconnect
//! ```
//! The listening socket and the tables (`tables.rs`) live above them, so that a crash loses connections and nothing
//! else. What they hear is in `messages.rs`, which imports no actor.

mod bridge;
mod children;
mod kill;
mod link;
mod listener;
mod messages;
mod session;
mod tables;
mod task_actor;

pub(crate) use bridge::BridgeActor;
pub use kill::{kill_below, panic_in};
pub(crate) use messages::BridgeMessage;
pub(crate) use tables::Tables;
