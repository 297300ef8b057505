//! One node of the model: the shipped replica, its disk, its clock. Its applier applies at once and keeps nothing over a
//! crash.

use quorate_core::{
    Boot, Effects, Entry, Index, Loaded, Membership, NodeId, Position, Replica, ReplicaState, Role, Time,
};

use super::config::Config;
use super::identity::identity;
use crate::sim::disk::Disk;
use crate::sim::node::name;

/// What ends every wait.
const PATIENCE_US: u64 = 10;

/// One node.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    pub(crate) at: usize,
    pub(crate) id: NodeId,
    pub(crate) replica: Replica,
    pub(crate) disk: Disk,
    pub(crate) boot: Boot,
    /// Its clock; it goes on only when patience ends.
    pub(crate) now: Time,
    /// Of all of the above; set by [`Self::seal`] when a step is over.
    pub(crate) identity: u64,
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
        let id = name(at);
        let loaded = Loaded {
            me: id.clone(),
            boot,
            hard_state: disk.hard_state.clone(),
            tail: disk.load(0),
            memberships: disk.memberships(founding),
            commit: Index::ZERO,
            applied: Index::ZERO,
            entropy: 0,
        };
        let now = Time(PATIENCE_US);
        let (replica, effects) = Replica::start(ReplicaState::new(loaded, config.core()), now);
        (Self { at, id, replica, disk, boot, now, identity: 0 }, effects)
    }

    /// Its patience ends, whatever it waits for.
    pub(crate) fn lapse(&mut self) {
        self.now.0 += PATIENCE_US;
    }

    pub(crate) fn state(&self) -> &ReplicaState {
        self.replica.state()
    }

    pub(crate) fn leads(&self) -> bool {
        matches!(self.replica.role(), Role::Leader(_))
    }

    pub(crate) fn follows_a_leader(&self) -> bool {
        matches!(self.replica.role(), Role::Follower(follower) if follower.leader().is_some())
    }

    /// Whether a tick would find its patience ended.
    pub(crate) fn is_due(&self) -> bool {
        self.replica.deadline().is_some_and(|due| due <= self.now)
    }

    pub(crate) fn position(&self, index: Index) -> Option<Position> {
        if index == Index::ZERO {
            return Some(Position::ORIGIN);
        }
        self.state().tail().get(index).map(Entry::position)
    }

    /// The step is over: from now on this node is known by what it is. Writes under way are in the replica, too.
    pub(crate) fn seal(&mut self) {
        let disk = (&self.disk.hard_state, self.disk.position(self.disk.last()), &self.disk.lost);
        self.identity = identity(&(&self.replica, disk, self.boot, self.now, self.disk.applied()));
    }
}
