//! Kills and panics on purpose.

use super::messages::{BridgeMessage, LinkMessage, TaskMessage};
use ractor::{ActorCell, ActorRef};

/// Kills everything below an actor, each parent before its children, siblings by age. ractor does the same once the
/// actor has ended, but siblings in the order of a `HashMap`: an actor that ends on purpose calls this first, so that a
/// simulation with one seed has one trace.
pub fn kill_below(actor: &ActorCell) {
    let mut children = actor.get_children();
    children.sort_by_key(ActorCell::get_id);
    for child in children {
        child.kill();
        kill_below(&child);
    }
}

/// Makes an actor of a bridge panic while it handles a message, as a bug would: for tests, and for operators who want
/// to see it restart. `false` if the actor does not belong to a bridge, or has ended.
pub fn panic_in(actor: &ActorCell) -> bool {
    macro_rules! try_each {
        ($($message:ty),* $(,)?) => {
            $(if actor.is_message_type_of::<$message>() == Some(true) {
                return ActorRef::<$message>::from(actor.clone()).cast(<$message>::Panic).is_ok();
            })*
        };
    }
    try_each!(BridgeMessage, LinkMessage, TaskMessage);
    false
}
