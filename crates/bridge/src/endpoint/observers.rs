//! The subscribers of link events, for the life of the bridge.

use super::outbox::{Outbox, Subscriber};
use crate::event::{LinkChange, LinkEvent};
use crate::identity::PeerInfo;
use crate::lock::Lock;

#[derive(Default)]
pub(crate) struct LinkObservers {
    subscribers: Lock<Vec<Subscriber<LinkEvent>>>,
    outbox: Outbox<LinkEvent>,
}

impl LinkObservers {
    pub(crate) fn subscribe(&self, subscriber: Subscriber<LinkEvent>) {
        self.subscribers.lock().push(subscriber);
    }

    /// Reports a change of the link to `node`; `peer` is who answered, if any did.
    pub(crate) fn report(&self, node: &str, peer: Option<&PeerInfo>, change: LinkChange) {
        let event = LinkEvent {
            node: node.to_owned(),
            incarnation: peer.map_or(0, |peer| peer.incarnation),
            boot: peer.map_or(0, |peer| peer.boot),
            change,
        };
        {
            let subscribers = self.subscribers.lock();
            self.outbox.append(subscribers.iter().map(|subscriber| (subscriber.clone(), event.clone())));
        }
        self.outbox.deliver();
    }
}
