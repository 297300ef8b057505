//! One node of the model: a node of the world and its clock. Its applier applies at once and keeps nothing across a crash.

use std::ops::{Deref, DerefMut};

use quorate_core::{Boot, Effects, Index, LogId, Membership, ReplicaState, Time};

use super::config::Config;
use super::identity::identity;
use crate::world::{Disk, Node, Role, Start};

/// A time after which every wait has ended, in microseconds.
const PATIENCE_US: u64 = 10;

/// A node whose process runs. A node that is down is the same as one to which nothing happens.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    node: Node,
    /// Its clock; it moves only when a deadline passes.
    pub(crate) now: Time,
    /// The identity of all of the above; [`Self::seal`] computes it at the end of a step.
    pub(crate) identity: u64,
}

impl Deref for Site {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.node
    }
}

impl DerefMut for Site {
    fn deref_mut(&mut self) -> &mut Node {
        &mut self.node
    }
}

impl Site {
    /// A node that starts from its disk.
    pub(crate) fn start(
        at: usize,
        disk: Disk,
        boot: Boot,
        founding: &Membership,
        config: &Config,
    ) -> (Self, Effects) {
        let (mut node, now) = (Node { boot, disk, ..Node::new(at) }, Time(PATIENCE_US));
        let (commit, applied) = (Index::ZERO, LogId::default());
        let start = Start { founding, config: &config.core(), base: 0, commit, applied, entropy: 0 };
        let state = node.load(&start);
        let effects = node.start(state, now);
        (Self { node, now, identity: 0 }, effects)
    }

    /// Lets time pass until every wait of this node has ended.
    pub(crate) fn lapse(&mut self) {
        self.now.0 += PATIENCE_US;
    }

    pub(crate) fn state(&self) -> &ReplicaState {
        self.node.state().expect("it is up")
    }

    pub(crate) fn follows_a_leader(&self) -> bool {
        matches!(self.role(), Some(Role::Follower(follower)) if follower.leader().is_some())
    }

    /// Whether its deadline has passed.
    pub(crate) fn is_due(&self) -> bool {
        self.deadline().is_some_and(|due| due <= self.now)
    }

    /// Ends the step: computes the identity. Writes under way are part of the replica.
    pub(crate) fn seal(&mut self) {
        let disk = (&self.disk.hard_state, self.disk.position(self.disk.last()), &self.disk.lost);
        self.identity = identity(&(&self.replica, disk, self.boot, self.now, self.disk.applied()));
    }
}
