//! Messages in flight between the nodes of a [`Lab`]: they wait until the test moves them.

use quorate_core::{Message, RoleEvent};

use super::Lab;
use crate::world::place_of;

/// Selects messages by sender and addressee; `None` is any node.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Link {
    pub(crate) from: Option<usize>,
    pub(crate) to: Option<usize>,
}

impl Link {
    pub(crate) fn between(from: usize, to: usize) -> Self {
        Self { from: Some(from), to: Some(to) }
    }

    fn has(self, message: &Message) -> bool {
        self.from.is_none_or(|at| place_of(&message.from) == at)
            && self.to.is_none_or(|at| place_of(&message.to) == at)
    }
}

impl Lab {
    pub(super) fn put_on_wire(&mut self, message: Message) {
        if !self.cut.contains(&(place_of(&message.from), place_of(&message.to))) {
            self.wire.push_back(message);
        }
    }

    fn take(&mut self, link: Link) -> Vec<Message> {
        let (taken, left): (Vec<Message>, Vec<Message>) = self.wire.drain(..).partition(|m| link.has(m));
        self.wire = left.into();
        taken
    }

    fn hand_over(&mut self, message: Message) {
        let at = place_of(&message.to);
        if self.nodes[at].replica.is_some() {
            self.say(&format!("n{at}: hears {message}"));
            self.common(at, RoleEvent::Message(message));
        }
    }

    /// Delivers the messages on this link now, not those that follow from them, and returns their number.
    pub(crate) fn deliver_on(&mut self, link: Link) -> usize {
        let messages = self.take(link);
        let count = messages.len();
        for message in messages {
            self.hand_over(message);
        }
        count
    }

    pub(crate) fn deliver(&mut self, from: usize, to: usize) -> usize {
        self.deliver_on(Link::between(from, to))
    }

    /// Delivers the messages on this link now, each twice.
    pub(crate) fn duplicate(&mut self, link: Link) {
        let messages = self.take(link);
        for message in messages {
            self.hand_over(message.clone());
            self.hand_over(message);
        }
    }

    /// Delivers the messages on this link now, newest first.
    pub(crate) fn reverse(&mut self, link: Link) {
        let messages = self.take(link);
        for message in messages.into_iter().rev() {
            self.hand_over(message);
        }
    }

    pub(crate) fn drop_on(&mut self, link: Link) {
        let dropped = self.take(link).len();
        self.say(&format!("dropped {dropped}"));
    }

    /// Sets messages aside, to be delivered late.
    pub(crate) fn stash(&mut self, link: Link) {
        let taken = self.take(link);
        self.late.extend(taken);
    }

    /// Delivers the messages that were set aside.
    pub(crate) fn unstash(&mut self) {
        let late = std::mem::take(&mut self.late);
        for message in late {
            self.hand_over(message);
        }
    }

    /// Delivers and persists until nothing is left to do. Time stands still.
    pub(crate) fn settle(&mut self) {
        for _ in 0..10_000 {
            let mut moved = self.deliver_on(Link::default());
            for at in 0..self.nodes.len() {
                moved += usize::from(self.nodes[at].replica.is_some() && self.persist_one(at));
            }
            if moved == 0 {
                return;
            }
        }
        panic!("the cluster does not come to rest");
    }

    pub(crate) fn cut_both(&mut self, a: usize, b: usize) {
        self.cut.insert((a, b));
        self.cut.insert((b, a));
    }

    pub(crate) fn isolate(&mut self, at: usize) {
        (0..self.nodes.len()).filter(|other| *other != at).for_each(|other| self.cut_both(at, other));
    }

    pub(crate) fn heal(&mut self) {
        self.cut.clear();
    }
}
