//! Members that come and go: spare nodes are taken in, promoted, demoted, removed and taken in again, by whichever node leads or
//! believes that it does. What must hold is in `invariants/members.rs`.
//!
//! A node that is removed keeps its disk. Nodes whose disks are lost are in `founding.rs` and in the scripts of known bugs: who is
//! admitted by which incarnation is not simulated here.

use quorate_core::{Change, ChangeRefusal, Index, Member, Membership, NodeId, ReplicaState, SplitMix64};

use super::cluster::{Cluster, Event};
use super::options::Options;
use crate::world::{ReplicaEvent, name, place_of};

/// Some runs have no spare nodes and no changes, and are what they were before.
pub(crate) fn draw(seed: u64, options: &mut Options) {
    let mut rng = SplitMix64::new(seed ^ 0x3e3b_e500);
    // With an old build or slow links a learner may take longer to catch up than a run has.
    if rng.chance(450) && options.old_build.is_none() {
        options.spares = rng.pick(&[0, 1, 2, 3]);
        options.change_every = options.election() * rng.pick(&[1, 2, 6]);
    }
}

/// Which refusal it is, without what it says.
pub(crate) fn refusal_kind(refusal: &ChangeRefusal) -> String {
    let text = format!("{refusal:?}");
    text.split(' ').next().unwrap_or_default().to_owned()
}

impl Cluster {
    /// What a node begins with whose log has no membership: spare nodes with none.
    pub(crate) fn founding_of(&self, at: usize) -> Membership {
        if self.founding.members.contains_key(&name(at)) {
            self.founding.clone()
        } else {
            Membership::default()
        }
    }

    /// The leader, or sometimes another node, is asked for a change.
    pub(crate) fn change(&mut self) {
        let every = self.options.change_every;
        if every > 0 {
            let any = self.rng.place(self.nodes.len());
            let at = self.leader().filter(|_| self.rng.chance(950)).unwrap_or(any);
            self.change_members(at);
            let next = self.rng.range(1, every * 2);
            self.schedule(next, Event::Change);
        }
    }

    /// Asks for a change, often one that makes sense.
    fn change_members(&mut self, at: usize) {
        let Some(state) = self.nodes[at].state() else { return };
        let (membership, present) = (state.membership().clone(), state.membership_index());
        let place = self.rng.place(self.nodes.len());
        let change = self.draw_change(&membership, &name(place));
        let expected = if self.rng.chance(100) { Index(present.0 + 1) } else { present };
        self.trace(|| format!("n{at} is asked for {change:?}"));
        let wall_ms = self.wall_ms();
        self.step(at, ReplicaEvent::Change { change, expected, wall_ms });
    }

    fn draw_change(&mut self, membership: &Membership, node: &NodeId) -> Change {
        let node = node.clone();
        let strangers = (0..self.nodes.len()).map(name).filter(|id| !membership.members.contains_key(id));
        let strangers: Vec<NodeId> = strangers.collect();
        let (chance, api) = (self.rng.below(10), format!("api{}", self.rng.below(3)));
        let moved = Change::Readdress { node: node.clone(), raft: String::new(), api };
        if !membership.members.contains_key(&node) {
            return Change::AddLearner { node, member: Member::default() };
        }
        let is_voter = membership.is_voter(&node);
        let may_leave = is_voter && membership.voters.len() > 1 + self.rng.below(2) as usize;
        match chance {
            0 => moved,
            1 if !strangers.is_empty() => {
                let by = strangers[self.rng.place(strangers.len())].clone();
                Change::Replace { node, by, member: Member::default() }
            }
            1..=5 if may_leave => Change::Remove { node },
            2 => Change::Remove { node },
            _ if may_leave => Change::Demote { node },
            _ if is_voter => moved,
            _ => Change::Promote { node },
        }
    }

    /// Every membership that some node has in force, in memory or on its disk.
    fn memberships_in_force(&self) -> Vec<Membership> {
        let mut all: Vec<Membership> = Vec::new();
        for node in &self.nodes {
            let on_disk = || node.disk.memberships(&self.founding_of(node.at)).current().clone();
            let membership = node.state().map_or_else(on_disk, |state| state.membership().clone());
            if !membership.members.is_empty() && !all.contains(&membership) {
                all.push(membership);
            }
        }
        all
    }

    /// Whether those of the voters that are so are a majority, whichever membership turns out to hold.
    pub(crate) fn are_majority(&self, is_so: impl Fn(usize) -> bool) -> bool {
        self.memberships_in_force().iter().all(|membership| membership.is_quorum(|id| is_so(place_of(id))))
    }

    fn present_membership(&self) -> Option<&Membership> {
        self.leader().and_then(|at| self.nodes[at].state()).map(ReplicaState::membership)
    }

    /// Whether it is a member, as the leader has it; every node is while no node leads.
    pub(crate) fn takes_part(&self, at: usize) -> bool {
        self.present_membership().is_none_or(|membership| membership.members.contains_key(&name(at)))
    }

    /// The voters, as the leader has them, or as they were founded.
    pub(crate) fn voters(&self) -> Vec<usize> {
        self.present_membership().unwrap_or(&self.founding).all_voters().map(place_of).collect()
    }
}
