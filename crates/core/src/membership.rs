//! The members of a group, as a joint configuration from the start (Raft thesis, section 4.3), and what a quorum of them is.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::ids::{Incarnation, Index, NodeId};

/// One node of a group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Member {
    /// Where its bridge listens, `host:port`.
    pub raft: String,
    /// Where its API listens, `host:port`; empty if it has none.
    #[serde(default)]
    pub api: String,
    /// Its incarnation, written by the leader once it is known; from then on it overrides what a peer remembers
    /// (`safety.md` 14). Zero until then.
    #[serde(default)]
    pub incarnation: Incarnation,
    /// Incarnations that had its name before and were replaced, the newest last; the [`REPLACED_MAX`] newest. A node that knows one of
    /// those under this name learns by this that the member came later.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaced: Vec<Incarnation>,
    /// It lost its vote by command: only a command gives it back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub demoted: bool,
}

/// Replaced incarnations of a name that its membership keeps.
pub const REPLACED_MAX: usize = 16;

impl Member {
    /// This member in the place of one that had its name.
    #[must_use]
    pub(crate) fn in_place_of(mut self, old: &Self) -> Self {
        let of_old = std::iter::once(old.incarnation).filter(|incarnation| incarnation.0 != 0);
        self.demoted = old.demoted;
        self.came_after(old.replaced.iter().copied().chain(of_old))
    }

    /// This member under a name that these incarnations had before, the newest last.
    #[must_use]
    pub(crate) fn came_after(mut self, before: impl IntoIterator<Item = Incarnation>) -> Self {
        self.replaced = before.into_iter().collect();
        let oldest = self.replaced.len().saturating_sub(REPLACED_MAX);
        self.replaced.drain(..oldest);
        self
    }
}

/// The members of a group. While `outgoing` is not empty this is a joint configuration: a quorum needs a majority of
/// `voters` and a majority of `outgoing`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Membership {
    /// The voters (in a joint configuration: those of the new set).
    pub voters: BTreeSet<NodeId>,
    /// The voters of the old set while a change is under way; empty otherwise.
    #[serde(default)]
    pub outgoing: BTreeSet<NodeId>,
    /// Nodes that receive the log and have no vote, or none once the change under way has ended.
    #[serde(default)]
    pub learners: BTreeSet<NodeId>,
    /// In a joint configuration: what becomes a learner once it has ended, under a name that until then is another incarnation's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub joining: BTreeMap<NodeId, Member>,
    /// Every voter, outgoing voter and learner, with its addresses.
    pub members: BTreeMap<NodeId, Member>,
    /// Members that were removed, the newest last; the [`REMOVED_MAX`] newest of those whose incarnation was known. One that asks to be taken in
    /// again by itself is refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<(NodeId, Incarnation)>,
    /// The fingerprint of what the cluster must agree on (`safety.md` 15).
    #[serde(default)]
    pub fingerprint: u64,
}

/// Removed members that a membership remembers.
pub const REMOVED_MAX: usize = 32;

impl Membership {
    /// A membership of voters alone.
    pub fn of_voters(members: BTreeMap<NodeId, Member>, fingerprint: u64) -> Self {
        let voters = members.keys().cloned().collect();
        Self { voters, members, fingerprint, ..Self::default() }
    }

    /// Whether this node's vote counts, in either half.
    pub fn is_voter(&self, id: &NodeId) -> bool {
        self.voters.contains(id) || self.outgoing.contains(id)
    }

    /// Every voter of either half, once.
    pub fn all_voters(&self) -> impl Iterator<Item = &NodeId> {
        self.voters.union(&self.outgoing)
    }

    /// Whether this incarnation was a member and was removed, as far as that is remembered.
    pub fn has_removed(&self, node: &NodeId, incarnation: Incarnation) -> bool {
        self.removed.iter().any(|(removed, of)| removed == node && *of == incarnation)
    }

    /// Drops these members, and remembers them.
    pub(crate) fn drop_members(&mut self, leave: impl Fn(&Self, &NodeId) -> bool) {
        let leaving: Vec<NodeId> = self.members.keys().filter(|id| leave(self, id)).cloned().collect();
        for node in leaving {
            let Some(member) = self.members.remove(&node) else { continue };
            let all = member.replaced.into_iter().chain([member.incarnation]).filter(|of| of.0 != 0);
            self.removed.extend(all.map(|of| (node.clone(), of)));
        }
        let oldest = self.removed.len().saturating_sub(REMOVED_MAX);
        self.removed.drain(..oldest);
    }

    /// Every other member: the nodes that a leader `me` sends the log to.
    pub fn peers_of<'a>(&'a self, me: &'a NodeId) -> impl Iterator<Item = &'a NodeId> {
        self.members.keys().filter(move |id| *id != me)
    }

    /// Whether `agrees` holds for a majority of each half. Learners never count.
    pub fn is_quorum(&self, agrees: impl Fn(&NodeId) -> bool) -> bool {
        majority_of(&self.voters, &agrees)
            && (self.outgoing.is_empty() || majority_of(&self.outgoing, &agrees))
    }

    /// The greatest value that a quorum has reached, where `reached(id)` is the value of each voter: the commit index from
    /// match indexes, the confirmed round from acknowledged rounds.
    pub fn quorum_value<T: Ord + Copy + Default>(&self, reached: impl Fn(&NodeId) -> T) -> T {
        let incoming = value_of_half(&self.voters, &reached);
        if self.outgoing.is_empty() {
            return incoming;
        }
        incoming.min(value_of_half(&self.outgoing, &reached))
    }
}

impl Membership {
    /// The payload of its entry: MessagePack with named fields.
    pub fn encode(&self) -> Vec<u8> {
        rmp_serde::to_vec_named(self).expect("a membership has only maps, sets, strings and numbers")
    }

    /// Reads the payload of a membership entry.
    pub fn decode(payload: &[u8]) -> Result<Self, rmp_serde::decode::Error> {
        rmp_serde::from_slice(payload)
    }
}

fn majority_of(voters: &BTreeSet<NodeId>, agrees: &impl Fn(&NodeId) -> bool) -> bool {
    let agreeing = voters.iter().filter(|id| agrees(id)).count();
    !voters.is_empty() && agreeing > voters.len() / 2
}

fn value_of_half<T: Ord + Copy + Default>(voters: &BTreeSet<NodeId>, reached: &impl Fn(&NodeId) -> T) -> T {
    let mut values: Vec<T> = voters.iter().map(reached).collect();
    values.sort_unstable_by(|a, b| b.cmp(a));
    values.get(voters.len() / 2).copied().unwrap_or_default()
}

/// The memberships of a log that may still be needed. The one in force is the newest *appended* one, and a truncation brings
/// the one before it back (`known-bugs.md` 47, 48).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MembershipLog {
    /// Each with the index of its entry, ascending; never empty. Index zero is the founding membership.
    entries: Vec<(Index, Membership)>,
    /// Where the first one is that names a member: a node that joins begins with one that does not. `None` while there is none.
    known_from: Option<Index>,
}

impl MembershipLog {
    /// A log with one membership, at `index`.
    pub fn new(index: Index, membership: Membership) -> Self {
        let known_from = (!membership.members.is_empty()).then_some(index);
        Self { entries: vec![(index, membership)], known_from }
    }

    /// The membership in force.
    pub fn current(&self) -> &Membership {
        &self.last().1
    }

    /// The index of the membership in force.
    pub fn current_index(&self) -> Index {
        self.last().0
    }

    /// The newest membership at or below `index`; with the commit index, the newest committed one.
    pub fn at(&self, index: Index) -> &Membership {
        let newest = self.entries.iter().rev().find(|(at, _)| *at <= index);
        &newest.unwrap_or(&self.entries[0]).1
    }

    /// The membership before the one in force, if that is still known.
    pub(crate) fn previous(&self) -> Option<&Membership> {
        self.entries.len().checked_sub(2).map(|at| &self.entries[at].1)
    }

    /// Where a membership without this node is committed that follows one with it.
    pub(crate) fn removal_of(&self, node: &NodeId, commit: Index) -> Option<Index> {
        let left = |pair: &&[(Index, Membership)]| {
            let [(_, before), (at, after)] = pair else { return false };
            *at <= commit && before.members.contains_key(node) && !after.members.contains_key(node)
        };
        self.entries.windows(2).rev().find(left).map(|pair| pair[1].0)
    }

    /// Adds the membership appended at `index`.
    pub fn append(&mut self, index: Index, membership: Membership) {
        assert!(index > self.current_index(), "memberships are appended in order");
        self.known_from = self.known_from.or(Some(index));
        self.entries.push((index, membership));
    }

    /// Whether there was a membership at `index`.
    pub(crate) fn is_known_at(&self, index: Index) -> bool {
        self.known_from.is_some_and(|from| from <= index)
    }

    /// Removes memberships appended at `from` or after.
    pub fn truncate(&mut self, from: Index) {
        let keep = self.entries.iter().take_while(|(at, _)| *at < from).count();
        assert!(keep > 0, "the founding membership is never truncated");
        self.entries.truncate(keep);
        self.known_from = self.known_from.filter(|known| *known < from);
    }

    /// Removes memberships before the one in force at `commit`: no truncation reaches below it.
    pub fn settle(&mut self, commit: Index) {
        let newest = self.entries.iter().rposition(|(at, _)| *at <= commit).unwrap_or(0);
        self.entries.drain(..newest);
    }

    fn last(&self) -> &(Index, Membership) {
        self.entries.last().expect("a membership log is never empty")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ids(names: impl IntoIterator<Item = u8>) -> BTreeSet<NodeId> {
        names.into_iter().map(|n| NodeId::new(&format!("n{n}")).expect("a legal name")).collect()
    }

    proptest! {
        /// The naive model: the greatest v such that each half has a majority at v or above.
        #[test]
        fn bug_31_quorum_value_is_the_naive_one(
            voters in prop::collection::btree_set(0u8..9, 1..8),
            outgoing in prop::collection::btree_set(0u8..9, 0..8),
            reached in prop::collection::vec(0u64..6, 9),
        ) {
            let membership = Membership { voters: ids(voters), outgoing: ids(outgoing), ..Default::default() };
            let value = |id: &NodeId| reached[id.as_str()[1..].parse::<usize>().expect("n and a digit")];
            let naive = (0..6).rev().find(|v| membership.is_quorum(|id| value(id) >= *v)).unwrap_or(0);
            prop_assert_eq!(membership.quorum_value(value), naive);
        }

        /// Any quorum of a set and any quorum of a joint membership containing it meet in a voter.
        #[test]
        fn quorums_of_consecutive_memberships_meet(
            old in prop::collection::btree_set(0u8..7, 1..6),
            new in prop::collection::btree_set(0u8..7, 1..6),
            a in prop::collection::btree_set(0u8..7, 0..7),
            b in prop::collection::btree_set(0u8..7, 0..7),
        ) {
            let simple = Membership { voters: ids(old.clone()), ..Default::default() };
            let joint = Membership { voters: ids(new), outgoing: ids(old), ..Default::default() };
            let (a, b) = (ids(a), ids(b));
            if simple.is_quorum(|id| a.contains(id)) && joint.is_quorum(|id| b.contains(id)) {
                prop_assert!(a.intersection(&b).any(|id| simple.is_voter(id)));
            }
        }
    }

    #[test]
    fn bug_07_learners_do_not_count() {
        let mut m = Membership { voters: ids([0, 1, 2]), ..Default::default() };
        m.learners = ids([3, 4]);
        let agree = ids([0, 3, 4]);
        assert!(!m.is_quorum(|id| agree.contains(id)));
    }

    #[test]
    fn bug_48_truncation_brings_the_earlier_membership_back() {
        let of = |names: &[u8]| Membership { voters: ids(names.iter().copied()), ..Default::default() };
        let mut log = MembershipLog::new(Index::ZERO, of(&[0]));
        log.append(Index(4), of(&[0, 1]));
        log.append(Index(7), of(&[0, 1, 2]));
        assert_eq!(log.at(Index(6)), &of(&[0, 1]));
        log.truncate(Index(5));
        assert_eq!(log.current(), &of(&[0, 1]));
        log.settle(Index(3));
        assert_eq!(log.entries.len(), 2, "a truncation may still reach the newest");
        log.settle(Index(4));
        assert_eq!((log.current_index(), log.entries.len()), (Index(4), 1), "and then never below it");
    }

    #[test]
    fn bug_31_a_majority_is_more_than_half() {
        for (count, needed) in [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (6, 4), (7, 4)] {
            let membership = Membership { voters: ids(0..count), ..Default::default() };
            for agreeing in 0..=count {
                let agree = ids(0..agreeing);
                assert_eq!(
                    membership.is_quorum(|id| agree.contains(id)),
                    agreeing >= needed,
                    "{agreeing} of {count}"
                );
            }
        }
        assert!(!Membership::default().is_quorum(|_| true), "an empty membership has no quorum");
    }
}
