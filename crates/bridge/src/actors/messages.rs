//! What each actor hears, and the address of the Bridge. All are sent from inside this crate; `Panic` comes from
//! [`panic_in`](super::panic_in) and makes the actor panic, as a bug would.

use crate::lock::Lock;
use crate::net::Stream;
use ractor::{ActorCell, ActorRef};
use std::time::Duration;
use tokio::sync::oneshot;

/// What a child of the Bridge is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ChildKind {
    Listener,
    /// The Link to the peer of this node id.
    Link(String),
    Session,
}

impl std::fmt::Display for ChildKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ChildKind::Listener => f.write_str("listener"),
            ChildKind::Link(node) => write!(f, "link/{node}"),
            ChildKind::Session => f.write_str("session"),
        }
    }
}

pub(crate) enum BridgeMessage {
    /// From `add_peer`: start a Link to this node, or redial under its new address.
    PeerAdded {
        node: String,
    },
    /// From `remove_peer`: stop the Link to this node.
    PeerRemoved {
        node: String,
    },
    /// From `expose`: monitor the actor behind this name.
    Exposed {
        name: String,
    },
    /// From `withdraw`: no longer monitor this actor.
    Withdrawn {
        actor: ActorCell,
    },
    /// From the Listener: a connection to serve. `gives_way` resolves when its handshake has taken too long beside others.
    Accepted {
        stream: Stream,
        gives_way: oneshot::Receiver<()>,
    },
    /// From a Session: this peer has dialled here, and is not connected from here.
    PeerHeard {
        node: String,
    },
    /// From itself: the pause before this child is started again is over.
    Restart(ChildKind),
    Panic,
}

/// What the Listener and a Session hear.
pub(crate) enum TaskMessage {
    /// From its task: it has ended.
    Ended {
        reason: String,
    },
    /// From its task: it panicked.
    Lost,
    Panic,
}

pub(crate) enum LinkMessage {
    /// From its timer: the pause of this generation is over.
    Dial {
        generation: u64,
    },
    /// From its task: the connection of this generation has ended (`up_for`), or did not come up (`None`).
    Ended {
        generation: u64,
        up_for: Option<Duration>,
    },
    /// From its task: the one of this generation panicked.
    TaskLost {
        generation: u64,
    },
    /// From the Bridge: the peer was added again, perhaps under another address.
    Redial,
    /// From the Bridge: the peer has connected to here, so it is there.
    Heard,
    Panic,
}

/// The current Bridge actor; `None` before the first.
#[derive(Default)]
pub(crate) struct BridgeAddress(Lock<Option<ActorRef<BridgeMessage>>>);

impl BridgeAddress {
    pub(crate) fn set(&self, actor: ActorRef<BridgeMessage>) {
        *self.0.lock() = Some(actor);
    }

    pub(crate) fn get(&self) -> Option<ActorRef<BridgeMessage>> {
        self.0.lock().clone()
    }

    /// Casts to the current actor. If it has ended, its successor reads the tables when it starts.
    pub(crate) fn tell(&self, message: BridgeMessage) {
        if let Some(actor) = self.get() {
            let _ = actor.send_message(message);
        }
    }
}
