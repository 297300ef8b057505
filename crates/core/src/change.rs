//! Changes of the members of a group, and what each makes of a membership (Raft thesis, section 4.3).
//!
//! What changes the voters leads through a joint configuration: [`Membership::after`] gives that one, [`Membership::final_of_joint`]
//! the one it ends in. What leaves the voters alone is one entry. Whether a leader takes a change now is its own matter
//! (`leader/change.rs`).

use serde::{Deserialize, Serialize};

use crate::ids::{Incarnation, Index, NodeId};
use crate::membership::{Member, Membership};

/// A change of the members. One at a time.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Change {
    /// A new member, which receives the log and has no vote.
    AddLearner {
        /// The new member.
        node: NodeId,
        /// Its addresses, and its incarnation if that is known.
        member: Member,
    },
    /// A learner becomes a voter.
    Promote {
        /// The learner.
        node: NodeId,
    },
    /// A voter becomes a learner.
    Demote {
        /// The voter.
        node: NodeId,
    },
    /// A voter or learner leaves.
    Remove {
        /// The member that leaves.
        node: NodeId,
    },
    /// A member leaves and another one comes as a learner. With the same name it is a new incarnation: a disk that remembers nothing.
    Replace {
        /// The member that leaves.
        node: NodeId,
        /// The name of the new one.
        by: NodeId,
        /// The addresses of the new one. If it keeps the name, its incarnation is needed.
        member: Member,
    },
    /// A member has moved; it keeps its identity.
    Readdress {
        /// The member.
        node: NodeId,
        /// Where its bridge listens now, `host:port`.
        raft: String,
        /// Where its API listens now, `host:port`; empty if it has none.
        api: String,
    },
}

/// Why a change was not begun. Nothing entered the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ChangeRefusal {
    /// The membership in force is another one than the caller expects: look at it and ask again.
    #[error("the membership has changed: it is of index {present}, not {expected}")]
    Outdated {
        /// The index of the membership that the caller expects.
        expected: Index,
        /// The index of the one in force.
        present: Index,
    },
    /// Another change is under way.
    #[error("the change of index {index} is under way; wait until it has ended")]
    UnderWay {
        /// The index of its newest entry.
        index: Index,
    },
    /// This leader has committed nothing in its term yet (`known-bugs.md` 46).
    #[error("the leader has not committed its first entry, of index {first}; ask again")]
    NotCommittedInTerm {
        /// The index of the first entry of its term.
        first: Index,
    },
    /// Leadership is being handed over.
    #[error("leadership is being handed to {to}; ask the next leader")]
    Transferring {
        /// The target of the transfer.
        to: NodeId,
    },
    /// The leader's disk has no room.
    #[error("the leader's disk has no room")]
    NoSpace,
    /// The disks of so many voters are full that no majority can take the change.
    #[error("the disks of {full} voters are full, and the others are no majority")]
    NoSpaceAtPeers {
        /// Voters whose disks are full.
        full: usize,
    },
    /// No member has this name.
    #[error("{node} is no member of this group")]
    UnknownMember {
        /// The name.
        node: NodeId,
    },
    /// A member has this name already.
    #[error("{node} is a member of this group already")]
    AlreadyMember {
        /// The name.
        node: NodeId,
    },
    /// It is a voter already.
    #[error("{node} is a voter already")]
    AlreadyVoter {
        /// The member.
        node: NodeId,
    },
    /// It is a learner already.
    #[error("{node} is a learner already")]
    AlreadyLearner {
        /// The member.
        node: NodeId,
    },
    /// It has these addresses already.
    #[error("{node} has these addresses already")]
    Unchanged {
        /// The member.
        node: NodeId,
    },
    /// What replaces a member under its name must have an incarnation that was never replaced itself, and this one has none or the same.
    #[error(
        "{node} can be replaced under its name only by another incarnation, and by none that was replaced before"
    )]
    SameIncarnation {
        /// The member.
        node: NodeId,
    },
    /// The group would have no voter.
    #[error("{node} is the last voter")]
    LastVoter {
        /// The voter.
        node: NodeId,
    },
    /// Of the voters there would be, too few are connected to commit anything.
    #[error("of {voters} voters {needed} are needed, and {connected} are connected")]
    NoQuorum {
        /// The voters there would be.
        voters: usize,
        /// A majority of them.
        needed: usize,
        /// Those that are connected and have all they ever had, the leader included.
        connected: usize,
    },
    /// The learner's log lacks too much.
    #[error("{node} lacks {lag} entries, {lag_max} are allowed; wait until it has caught up")]
    FarBehind {
        /// The learner.
        node: NodeId,
        /// Entries of the leader's log that it is not known to have.
        lag: u64,
        /// As many may be missing.
        lag_max: u64,
    },
    /// The learner has not answered for an election timeout, or its connection is down.
    #[error("{node} is not connected")]
    NotConnected {
        /// The learner.
        node: NodeId,
    },
    /// The learner lost entries, and takes part in no election until it has caught up.
    #[error("{node} is recovering: it lost entries and takes part in no election until it has caught up")]
    Recovering {
        /// The learner.
        node: NodeId,
    },
}

impl Membership {
    /// Whether a change of the voters is under way: a quorum needs a majority of both halves.
    pub fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// The membership that this change begins with: a joint configuration if it changes the voters. Of a membership that is not
    /// joint.
    pub fn after(&self, change: &Change) -> Result<Self, ChangeRefusal> {
        let mut next = self.clone();
        match change {
            Change::AddLearner { node, member } => next.add_learner(node, member)?,
            Change::Promote { node } => {
                if self.is_voter(node) {
                    return Err(ChangeRefusal::AlreadyVoter { node: node.clone() });
                }
                self.knows(node)?;
                next.outgoing.clone_from(&self.voters);
                next.voters.insert(node.clone());
                next.learners.remove(node);
                next.mark_demoted(node, false);
            }
            Change::Demote { node } => {
                if self.learners.contains(node) {
                    return Err(ChangeRefusal::AlreadyLearner { node: node.clone() });
                }
                next.take_vote(node)?;
                next.learners.insert(node.clone());
                next.mark_demoted(node, true);
            }
            Change::Remove { node } => next.remove(node)?,
            Change::Replace { node, by, member } if node == by => next.replace_incarnation(node, member)?,
            Change::Replace { node, by, member } => {
                next.remove(node)?;
                next.add_learner(by, member)?;
            }
            Change::Readdress { node, raft, api } => {
                let Some(member) = next.members.get_mut(node) else {
                    return Err(ChangeRefusal::UnknownMember { node: node.clone() });
                };
                if (&member.raft, &member.api) == (raft, api) {
                    return Err(ChangeRefusal::Unchanged { node: node.clone() });
                }
                (member.raft, member.api) = (raft.clone(), api.clone());
            }
        }
        Ok(next)
    }

    /// What a joint configuration ends in: its new half, without those that leave.
    #[must_use]
    pub fn final_of_joint(&self) -> Self {
        let mut next = self.clone();
        next.outgoing.clear();
        for (node, member) in std::mem::take(&mut next.joining) {
            next.learners.insert(node.clone());
            next.members.insert(node, member);
        }
        next.drop_members(|next, node| !next.voters.contains(node) && !next.learners.contains(node));
        next
    }

    fn mark_demoted(&mut self, node: &NodeId, demoted: bool) {
        if let Some(member) = self.members.get_mut(node) {
            member.demoted = demoted;
        }
    }

    fn knows(&self, node: &NodeId) -> Result<&Member, ChangeRefusal> {
        self.members.get(node).ok_or_else(|| ChangeRefusal::UnknownMember { node: node.clone() })
    }

    fn add_learner(&mut self, node: &NodeId, member: &Member) -> Result<(), ChangeRefusal> {
        if self.members.contains_key(node) {
            return Err(ChangeRefusal::AlreadyMember { node: node.clone() });
        }
        self.learners.insert(node.clone());
        self.members.insert(node.clone(), Member { incarnation: Incarnation::default(), ..member.clone() });
        self.enrol(node, member.incarnation);
        Ok(())
    }

    /// The incarnation of a member that had none is known. It came after those that were removed under its name: a node that was away meanwhile
    /// knows the name by one of them.
    pub(crate) fn enrol(&mut self, node: &NodeId, incarnation: Incarnation) {
        let Some(member) = self.members.get_mut(node).filter(|_| incarnation.0 != 0) else { return };
        let others = self.removed.iter().filter(|(id, of)| id == node && *of != incarnation);
        let others: Vec<Incarnation> = others.map(|(_, of)| *of).collect();
        *member = Member { incarnation, ..member.clone() }.came_after(others);
        self.removed.retain(|(id, of)| id != node || *of != incarnation);
    }

    /// Makes it joint, without this voter in the new half.
    fn take_vote(&mut self, node: &NodeId) -> Result<(), ChangeRefusal> {
        self.knows(node)?;
        self.outgoing.clone_from(&self.voters);
        self.voters.remove(node);
        if self.voters.is_empty() {
            return Err(ChangeRefusal::LastVoter { node: node.clone() });
        }
        Ok(())
    }

    /// A voter stays a member until the joint configuration ends: its vote counts in the old half.
    fn remove(&mut self, node: &NodeId) -> Result<(), ChangeRefusal> {
        if self.learners.remove(node) {
            self.drop_members(|_, member| member == node);
            return Ok(());
        }
        self.take_vote(node)
    }

    /// In a joint configuration the name is still that of the old incarnation, whose vote counts in the old half. The new one, which
    /// may have forgotten votes, is a member only after that.
    fn replace_incarnation(&mut self, node: &NodeId, member: &Member) -> Result<(), ChangeRefusal> {
        let old = self.knows(node)?;
        let was_replaced = old.replaced.contains(&member.incarnation);
        if member.incarnation.0 == 0 || member.incarnation == old.incarnation || was_replaced {
            return Err(ChangeRefusal::SameIncarnation { node: node.clone() });
        }
        let member = member.clone().in_place_of(old);
        if self.learners.contains(node) {
            self.members.insert(node.clone(), member);
            return Ok(());
        }
        self.take_vote(node)?;
        self.joining.insert(node.clone(), member);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    fn id(at: usize) -> NodeId {
        NodeId::new(&format!("n{at}")).expect("a legal name")
    }

    fn ids(all: impl IntoIterator<Item = usize>) -> BTreeSet<NodeId> {
        all.into_iter().map(id).collect()
    }

    fn member(incarnation: u64) -> Member {
        Member { incarnation: Incarnation(incarnation), ..Member::default() }
    }

    /// So many voters, then learners, each with its incarnation.
    fn of(voters: usize, learners: usize) -> Membership {
        let members: BTreeMap<_, _> =
            (0..voters + learners).map(|at| (id(at), member(at as u64 + 1))).collect();
        let (voters, learners) = (ids(0..voters), ids(voters..voters + learners));
        Membership { voters, learners, members, ..Membership::default() }
    }

    fn remove(node: usize) -> Change {
        Change::Remove { node: id(node) }
    }

    #[test]
    fn what_changes_no_voter_is_one_entry() {
        let before = of(3, 1);
        let added = before.after(&Change::AddLearner { node: id(4), member: member(9) }).expect("it is new");
        assert!(!added.is_joint());
        assert_eq!((added.learners.clone(), added.voters.clone()), (ids([3, 4]), ids(0..3)));
        let without = added.after(&remove(4)).expect("a learner");
        assert_eq!(without, Membership { removed: vec![(id(4), Incarnation(9))], ..before.clone() });
        assert!(without.has_removed(&id(4), Incarnation(9)) && !without.has_removed(&id(4), Incarnation(8)));
        let again = without.after(&Change::AddLearner { node: id(4), member: member(9) });
        assert_eq!(again, Ok(added.clone()), "who adds it by name wants it");
        let other =
            without.after(&Change::AddLearner { node: id(4), member: member(10) }).expect("it is new");
        assert_eq!(
            other.members[&id(4)].replaced,
            [Incarnation(9)],
            "one that was away knows the name by that"
        );
        let mut named =
            without.after(&Change::AddLearner { node: id(4), member: member(0) }).expect("it is new");
        assert!(
            named.members[&id(4)].replaced.is_empty(),
            "the disk that was removed may be the one that comes"
        );
        named.enrol(&id(4), Incarnation(9));
        assert_eq!(named, added);
        let moved = Change::Readdress { node: id(1), raft: "b:1".to_owned(), api: String::new() };
        let readdressed = before.after(&moved).expect("it has moved");
        assert!(!readdressed.is_joint());
        assert_eq!(readdressed.members[&id(1)], Member { raft: "b:1".to_owned(), ..member(2) });
        assert_eq!(readdressed.after(&moved), Err(ChangeRefusal::Unchanged { node: id(1) }));
        let renewed = Change::Replace { node: id(3), by: id(3), member: member(77) };
        let renewed = before.after(&renewed).expect("another incarnation");
        assert!(!renewed.is_joint());
        assert_eq!(renewed.members[&id(3)].incarnation, Incarnation(77));
    }

    #[test]
    fn of_those_that_were_removed_the_newest_are_remembered() {
        let mut present = of(1, 0);
        for incarnation in 1..=2 * crate::membership::REMOVED_MAX as u64 {
            let added = present.after(&Change::AddLearner { node: id(1), member: member(incarnation) });
            present = added.expect("it is new").after(&remove(1)).expect("a learner");
        }
        assert_eq!(present.removed.len(), crate::membership::REMOVED_MAX);
        assert_eq!(present.removed.last(), Some(&(id(1), Incarnation(64))));
    }

    #[test]
    fn of_the_incarnations_that_a_name_had_the_newest_are_kept() {
        let mut present = of(1, 1);
        for incarnation in 100..100 + 2 * crate::membership::REPLACED_MAX as u64 {
            let change = Change::Replace { node: id(1), by: id(1), member: member(incarnation) };
            present = present.after(&change).expect("a learner");
        }
        let kept = &present.members[&id(1)].replaced;
        assert_eq!((kept.len(), kept.last()), (crate::membership::REPLACED_MAX, Some(&Incarnation(130))));
    }

    #[test]
    fn what_changes_voters_is_joint_and_ends_in_the_new_half() {
        let before = of(3, 1);
        let joint = before.after(&Change::Promote { node: id(3) }).expect("a learner");
        assert_eq!((&joint.voters, &joint.outgoing), (&ids(0..4), &ids(0..3)));
        assert_eq!(
            joint.final_of_joint(),
            Membership { learners: BTreeSet::new(), voters: ids(0..4), ..before.clone() }
        );

        let joint = before.after(&remove(2)).expect("a voter");
        assert_eq!((&joint.voters, &joint.outgoing), (&ids(0..2), &ids(0..3)));
        assert!(joint.members.contains_key(&id(2)), "its vote counts in the old half");
        let last = joint.final_of_joint();
        assert_eq!((last.is_joint(), last.members.contains_key(&id(2))), (false, false));

        let joint = before.after(&Change::Demote { node: id(2) }).expect("a voter");
        assert!(joint.is_voter(&id(2)), "until the change has ended");
        let last = joint.final_of_joint();
        assert_eq!((last.is_voter(&id(2)), &last.learners), (false, &ids([2, 3])));
        assert!(last.members[&id(2)].demoted, "only a command gives the vote back");
        let other = Change::Replace { node: id(2), by: id(2), member: member(77) };
        assert!(last.after(&other).expect("another disk").members[&id(2)].demoted);
        let promoted = last.after(&Change::Promote { node: id(2) }).expect("a learner");
        assert!(!promoted.members[&id(2)].demoted);
    }

    #[test]
    fn bug_52_what_replaces_a_voter_is_a_member_only_once_the_old_one_has_no_vote() {
        let before = of(3, 0);
        let change = Change::Replace { node: id(2), by: id(2), member: member(77) };
        let joint = before.after(&change).expect("another incarnation");
        assert_eq!(joint.members[&id(2)].incarnation, Incarnation(3), "the old half has the old one");
        let last = joint.final_of_joint();
        assert_eq!((&last.voters, &last.learners), (&ids(0..2), &ids([2])));
        assert_eq!(last.members[&id(2)].incarnation, Incarnation(77));
        assert_eq!(
            last.members[&id(2)].replaced,
            [Incarnation(3)],
            "by this a node that was away knows which one is later"
        );
        assert!(last.joining.is_empty());
        let back = Change::Replace { node: id(2), by: id(2), member: member(3) };
        assert_eq!(last.after(&back), Err(ChangeRefusal::SameIncarnation { node: id(2) }), "it was replaced");
        for same in [0, 3] {
            let change = Change::Replace { node: id(2), by: id(2), member: member(same) };
            assert_eq!(before.after(&change), Err(ChangeRefusal::SameIncarnation { node: id(2) }));
        }
        let other = Change::Replace { node: id(2), by: id(7), member: member(8) };
        let joint = before.after(&other).expect("a new name");
        assert_eq!((&joint.learners, &joint.voters), (&ids([7]), &ids(0..2)));
        assert_eq!(joint.final_of_joint().members.keys().cloned().collect::<BTreeSet<_>>(), ids([0, 1, 7]));
    }

    #[test]
    fn a_change_that_makes_no_sense_is_refused() {
        let (one, node) = (of(1, 1), id(0));
        for change in [
            remove(0),
            Change::Demote { node: node.clone() },
            Change::Replace { node: node.clone(), by: node.clone(), member: member(9) },
            Change::Replace { node: node.clone(), by: id(9), member: member(9) },
        ] {
            assert_eq!(
                one.after(&change),
                Err(ChangeRefusal::LastVoter { node: node.clone() }),
                "{change:?}"
            );
        }
        let unknown = ChangeRefusal::UnknownMember { node: id(9) };
        for change in [
            remove(9),
            Change::Promote { node: id(9) },
            Change::Demote { node: id(9) },
            Change::Replace { node: id(9), by: id(9), member: member(9) },
            Change::Readdress { node: id(9), raft: String::new(), api: String::new() },
        ] {
            assert_eq!(one.after(&change), Err(unknown.clone()), "{change:?}");
        }
        let again = Change::AddLearner { node: id(1), member: member(5) };
        assert_eq!(one.after(&again), Err(ChangeRefusal::AlreadyMember { node: id(1) }));
        assert_eq!(one.after(&Change::Promote { node }), Err(ChangeRefusal::AlreadyVoter { node: id(0) }));
        assert_eq!(
            one.after(&Change::Demote { node: id(1) }),
            Err(ChangeRefusal::AlreadyLearner { node: id(1) })
        );
    }

    fn any_change() -> impl Strategy<Value = Change> {
        let node = || (0usize..7).prop_map(id);
        let member = || (0u64..12).prop_map(member);
        prop_oneof![
            (node(), member()).prop_map(|(node, member)| Change::AddLearner { node, member }),
            node().prop_map(|node| Change::Promote { node }),
            node().prop_map(|node| Change::Demote { node }),
            node().prop_map(|node| Change::Remove { node }),
            (node(), node(), member()).prop_map(|(node, by, member)| Change::Replace { node, by, member }),
        ]
    }

    proptest! {
        /// Whatever comes after what: every voter and learner has addresses and no other node has, and at most one voter comes or
        /// goes with each change, so that quorums of consecutive memberships meet (`membership.rs`).
        #[test]
        fn every_membership_is_whole(
            voters in 1usize..5,
            learners in 0usize..3,
            changes in prop::collection::vec(any_change(), 1..12),
        ) {
            let mut present = of(voters, learners);
            for change in changes {
                let Ok(begun) = present.after(&change) else { continue };
                prop_assert_eq!(begun.is_joint(), begun.voters != present.voters);
                if begun.is_joint() {
                    prop_assert_eq!(&begun.outgoing, &present.voters);
                    prop_assert_eq!(begun.voters.symmetric_difference(&begun.outgoing).count(), 1);
                }
                let ended = if begun.is_joint() { begun.final_of_joint() } else { begun.clone() };
                prop_assert!(!ended.voters.is_empty() && !ended.is_joint() && ended.joining.is_empty());
                for membership in [&begun, &ended] {
                    let named: BTreeSet<_> = membership.all_voters().chain(&membership.learners).cloned().collect();
                    let members: BTreeSet<_> = membership.members.keys().cloned().collect();
                    prop_assert_eq!(named, members);
                }
                prop_assert!(ended.voters.is_disjoint(&ended.learners));
                prop_assert_eq!(Membership::decode(&begun.encode()).expect("bytes"), begun);
                present = ended;
            }
        }
    }
}
