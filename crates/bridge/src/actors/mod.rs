//! The three kinds of supervised actors and the supervisor above them.
//!
//! ```text
//! Bridge            restarts the rest; owned tables and the socket live above it, in Core
//! ├─ Listener       accepts
//! ├─ Session        one per inbound connection
//! └─ Link           one per peer: connect, handshake, serve, reconnect
//! ```

pub(crate) mod bridge;
pub(crate) mod children;
pub(crate) mod link;
pub(crate) mod listener;
pub(crate) mod session;

use ractor::{ActorCell, ActorRef};

/// Kills everything below an actor, each parent before its children, siblings by age. ractor does the same as soon as
/// the actor is gone, but siblings in the order of a `HashMap`; who ends on purpose does it first, so that a simulation
/// with one seed has one trace.
pub fn kill_below(actor: &ActorCell) {
    let mut children = actor.get_children();
    children.sort_by_key(ActorCell::get_id);
    for child in children {
        child.kill();
        kill_below(&child);
    }
}

/// Makes an actor of a bridge panic while it handles a message, as a bug would: for tests, and for operators who want
/// to see it heal. `false` if the actor is none of a bridge's, or has ended.
pub fn panic_in(actor: &ActorCell) -> bool {
    macro_rules! try_each {
        ($($message:ty),* $(,)?) => {
            $(if actor.is_message_type_of::<$message>() == Some(true) {
                return ActorRef::<$message>::from(actor.clone()).cast(<$message>::Panic).is_ok();
            })*
        };
    }
    try_each!(bridge::BridgeMessage, link::LinkMessage, listener::ListenerMessage, session::SessionMessage);
    false
}
