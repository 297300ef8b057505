//! Who the peers of this node are: the union of its groups' memberships, with their addresses and incarnations.
//!
//! Owns what the bridge is told of peers: whom it dials, whose links end, which incarnation has a name. Told by each group's role in
//! the very step in which another membership is in force, before any replicator that the step starts: so no link leads to a disk that has been
//! replaced once its successor is counted (`docs/decisions/0052-members-in-the-runtime.md`). Asked by admission. Never decides who a member
//! is. It lives above the actors; the lock is never held across an await. Bound: the members of the groups, those that have just left, and for
//! each leader on this node the removed members that it still sends the log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};

use quorate_bridge::{BridgeHandle, PeerAddress, PeerInfo};
use quorate_core::{GroupId, Incarnation, Index, Member, Membership, NodeId};

use crate::lock::lock;

/// Whether a node may be a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// It is one, in this incarnation; zero if none is agreed on yet.
    Peer(Incarnation),
    /// This node knows no membership yet, and hears every node of its cluster.
    Anyone,
    /// It is none.
    Stranger,
}

/// What one group's membership says of a member.
#[derive(Debug, Clone)]
struct OfMember {
    address: String,
    incarnation: Incarnation,
    is_voter: bool,
}

/// One group's part.
#[derive(Debug, Default)]
struct OfGroup {
    members: BTreeMap<NodeId, OfMember>,
    /// Nodes that the membership of this index has not, and one before had. They stay peers until that is committed and a while longer: what
    /// commits it travels over their links, and so do answers to who asked for it.
    left: BTreeMap<NodeId, Index>,
    /// Whom a leader on this node sends the log: members, and some that have left.
    sends_to: BTreeSet<NodeId>,
    /// Incarnations that were members and were removed.
    removed: Vec<(NodeId, Incarnation)>,
    /// The incarnations of this node's name that were replaced by this one, as a committed membership says.
    replaced: Vec<Incarnation>,
}

#[derive(Debug, Default)]
struct State {
    groups: BTreeMap<GroupId, OfGroup>,
    /// Whom to dial while no group knows its members: those of the list or the directory, or those that a joiner was told.
    first: BTreeMap<NodeId, String>,
    /// The incarnation that has a name, and the group that said so last.
    incarnations: BTreeMap<NodeId, (Incarnation, GroupId)>,
    /// Addresses of peers that were members.
    former: BTreeMap<NodeId, String>,
    /// What this node says that it has replaced, by group.
    said_replaced: Vec<(u64, u64)>,
    /// As the bridge has been told.
    dialled: BTreeMap<NodeId, String>,
}

/// The peers of one node.
pub(crate) struct Roster {
    me: NodeId,
    incarnation: Incarnation,
    /// This node's directory began without members: it was to join.
    has_joined: bool,
    bridge: OnceLock<BridgeHandle>,
    /// Counts the memberships that came into force.
    changes: AtomicU64,
    /// Held while the bridge is told, so that it hears of changes in their order. Never taken by what the bridge calls, since the bridge waits for
    /// that: only `state` is.
    telling: Mutex<()>,
    state: Mutex<State>,
}

impl Roster {
    pub(crate) fn new(
        me: NodeId,
        incarnation: Incarnation,
        has_joined: bool,
        first: BTreeMap<NodeId, String>,
    ) -> Self {
        let state = Mutex::new(State { first, ..State::default() });
        Self {
            me,
            incarnation,
            has_joined,
            bridge: OnceLock::new(),
            changes: AtomicU64::new(0),
            telling: Mutex::new(()),
            state,
        }
    }

    /// From now on peers are dialled by this bridge.
    pub(crate) fn dial_by(&self, bridge: BridgeHandle) {
        let _ = self.bridge.set(bridge);
        self.change(|_| Vec::new());
    }

    /// Whether this node's directory began as that of a node that joins. What others know under its name may be a disk that was lost.
    pub(crate) fn has_joined(&self) -> bool {
        self.has_joined
    }

    /// Whether no group of this node knows its members yet.
    pub(crate) fn is_outside(&self) -> bool {
        lock(&self.state).is_outside()
    }

    pub(crate) fn knows(&self, peer: &NodeId) -> Known {
        let state = lock(&self.state);
        let agreed = state.incarnations.get(peer).map(|(incarnation, _)| *incarnation).unwrap_or_default();
        if state.peers().contains_key(peer) {
            Known::Peer(agreed)
        } else if self.has_joined && state.is_outside() {
            Known::Anyone
        } else {
            Known::Stranger
        }
    }

    /// Whether the node at the other end of a link is the one that a group's membership has under its name. It is also one that has replaced
    /// that in this group, of which this node has not heard. A disk that replaced another one in some groups is no member of the others yet: it has
    /// forgotten what the other promised there.
    pub(crate) fn is_of_group(&self, group: GroupId, peer: &PeerInfo) -> bool {
        let state = lock(&self.state);
        let of_group = state.groups.get(&group);
        let member =
            of_group.and_then(|of_group| of_group.members.iter().find(|(id, _)| id.as_str() == peer.node));
        match member {
            None => true,
            // Of a voter none is agreed on here: it is the disk that founded, or one that has replaced that in this group.
            Some((_, member)) if member.incarnation.0 == 0 => {
                let in_this = peer.replaced.iter().any(|(of, _)| *of == group.0);
                !member.is_voter || peer.replaced.is_empty() || in_this
            }
            Some((_, member)) => {
                let agreed = member.incarnation.0;
                agreed == peer.incarnation || peer.replaced.contains(&(group.0, agreed))
            }
        }
    }

    /// Whether this incarnation of the name was removed from a group, and is not the one that another has.
    pub(crate) fn was_removed(&self, peer: &NodeId, incarnation: Incarnation) -> bool {
        let state = lock(&self.state);
        let has = |of_group: &OfGroup| {
            of_group.members.get(peer).is_some_and(|member| member.incarnation == incarnation)
        };
        let removed = |of_group: &OfGroup| of_group.removed.contains(&(peer.clone(), incarnation));
        state.groups.values().any(removed) && !state.groups.values().any(has)
    }

    /// How many memberships have come into force: what was asked before is still so while this is the same.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// A joiner was told who the members are.
    pub(crate) fn told(&self, members: BTreeMap<NodeId, String>) {
        self.change(|state| {
            state.first = members;
            Vec::new()
        });
    }

    /// Another membership is in force in a group, where a leader on this node sends the log to these peers. When this returns no connection
    /// is left with a disk that it replaces.
    pub(crate) fn in_force(
        &self,
        group: GroupId,
        (index, membership): (Index, &Membership),
        sends_to: &BTreeSet<NodeId>,
    ) {
        self.change(|state| {
            self.changes.fetch_add(1, Ordering::AcqRel);
            state.in_force(&self.me, group, (index, membership), sends_to)
        });
    }

    /// A membership is committed in a group: what it says of this node may be told to others.
    pub(crate) fn committed(&self, group: GroupId, membership: &Membership) {
        let own = membership.members.get(&self.me).filter(|own| own.incarnation == self.incarnation);
        let _turn = lock(&self.telling);
        let mut state = lock(&self.state);
        state.groups.entry(group).or_default().replaced =
            own.map(|own| own.replaced.clone()).unwrap_or_default();
        let of_group = |(group, of_group): (&GroupId, &OfGroup)| {
            let group = group.0;
            of_group.replaced.iter().map(move |replaced| (group, replaced.0)).collect::<Vec<_>>()
        };
        let replaced: Vec<_> = state.groups.iter().flat_map(of_group).collect();
        let is_new = std::mem::replace(&mut state.said_replaced, replaced.clone()) != replaced;
        drop(state);
        if !is_new {
            return;
        }
        if let Some(bridge) = self.bridge.get() {
            bridge.say_replaced(replaced);
        }
    }

    /// A leader on this node sends the log to these peers, of which some may have been removed.
    pub(crate) fn sends_to(&self, group: GroupId, peers: &BTreeSet<NodeId>) {
        self.change(|state| {
            state.groups.entry(group).or_default().sends_to.clone_from(peers);
            Vec::new()
        });
    }

    /// The membership of this index has been committed for a while: who left with it or before is no peer any more, unless a leader here
    /// sends it the log.
    pub(crate) fn forget_left(&self, group: GroupId, through: Index) {
        self.change(|state| {
            state.groups.entry(group).or_default().left.retain(|_, index| *index > through);
            Vec::new()
        });
    }

    /// Changes the state, and tells the bridge what has changed by that: which names have another incarnation, and whom it dials.
    fn change(&self, change: impl FnOnce(&mut State) -> Vec<Named>) {
        let _turn = lock(&self.telling);
        let (named, gone, dialled) = {
            let mut state = lock(&self.state);
            let named = change(&mut state);
            if self.bridge.get().is_none() {
                return;
            }
            let (gone, dialled) = state.redial(&self.me);
            (named, gone, dialled)
        };
        let Some(bridge) = self.bridge.get() else { return };
        for (id, incarnation) in named {
            bridge.keep_only(id.as_str(), incarnation.map(|incarnation| incarnation.0));
        }
        for id in gone {
            bridge.remove_peer(id.as_str());
        }
        for (id, address) in dialled {
            if let Err(error) = bridge.add_peer(PeerAddress::new(id.as_str(), address)) {
                // Checked before it entered the log; an entry of another build may have it all the same.
                tracing::error!(node = %self.me, peer = %id, %error, "a member has an address that cannot be dialled");
            }
        }
    }
}

/// The incarnation that has a name now; `None` if whichever comes first has it.
type Named = (NodeId, Option<Incarnation>);

/// Addresses of former members that are kept.
const FORMER_MAX: usize = 64;

impl State {
    /// Another membership is in force. Returns the names that have another incarnation by that.
    fn in_force(
        &mut self,
        me: &NodeId,
        group: GroupId,
        (index, membership): (Index, &Membership),
        sends_to: &BTreeSet<NodeId>,
    ) -> Vec<Named> {
        let of_member = |(id, member): (&NodeId, &Member)| {
            let (address, incarnation) = (member.raft.clone(), member.incarnation);
            (id.clone(), OfMember { address, incarnation, is_voter: membership.is_voter(id) })
        };
        let members = membership.members.iter().map(of_member);
        let of_group = self.groups.entry(group).or_default();
        let before = std::mem::replace(&mut of_group.members, members.collect());
        let left = before.keys().filter(|id| !membership.members.contains_key(*id));
        of_group.left.extend(left.map(|id| (id.clone(), index)));
        of_group.left.retain(|id, _| !membership.members.contains_key(id));
        of_group.sends_to.clone_from(sends_to);
        of_group.removed.clone_from(&membership.removed);
        self.former.extend(before.into_iter().map(|(id, member)| (id, member.address)));
        let mut named = Vec::new();
        for (id, member) in membership.members.iter().filter(|(id, _)| *id != me) {
            let known = self.incarnations.get(id).copied();
            let is_later = match known {
                _ if member.incarnation.0 == 0 => false,
                Some((known, by)) => {
                    known != member.incarnation && (by == group || member.replaced.contains(&known))
                }
                None => true,
            };
            // Under the name of one that left another disk may come.
            let is_again = |(known, by): (Incarnation, GroupId)| {
                by == group && membership.removed.contains(&(id.clone(), known))
            };
            if is_later {
                self.incarnations.insert(id.clone(), (member.incarnation, group));
                named.push((id.clone(), Some(member.incarnation)));
            } else if known.is_some_and(is_again) {
                self.incarnations.remove(id);
                named.push((id.clone(), None));
            }
        }
        named
    }

    /// Peers that are no longer dialled, and those to be dialled from now on or elsewhere.
    fn redial(&mut self, me: &NodeId) -> (Vec<NodeId>, Vec<(NodeId, String)>) {
        let mut wanted = self.peers();
        wanted.retain(|id, address| id != me && !address.is_empty());
        let gone = self.dialled.keys().filter(|id| !wanted.contains_key(*id)).cloned().collect();
        let new = wanted.iter().filter(|(id, address)| self.dialled.get(*id) != Some(*address));
        let new = new.map(|(id, address)| (id.clone(), address.clone())).collect();
        self.dialled = wanted;
        while self.former.len() > FORMER_MAX {
            self.former.pop_first();
        }
        (gone, new)
    }

    fn is_outside(&self) -> bool {
        self.groups.values().all(|of_group| of_group.members.is_empty())
    }

    /// Every peer with its address, this node too.
    fn peers(&self) -> BTreeMap<NodeId, String> {
        if self.is_outside() {
            return self.first.clone();
        }
        let mut peers = BTreeMap::new();
        for of_group in self.groups.values() {
            for id in of_group.left.keys().chain(&of_group.sends_to) {
                let address = self.former.get(id).or_else(|| self.dialled.get(id)).cloned();
                peers.insert(id.clone(), address.unwrap_or_default());
            }
        }
        for of_group in self.groups.values() {
            let members = of_group.members.iter().map(|(id, member)| (id.clone(), member.address.clone()));
            peers.extend(members);
        }
        peers
    }
}

#[cfg(test)]
mod tests {
    use quorate_bridge::PeerKind;
    use quorate_core::Change;

    use super::*;

    const GROUP: GroupId = GroupId(7);

    fn id(name: &str) -> NodeId {
        NodeId::new(name).expect("a name")
    }

    fn of(names: &[(&str, u64)]) -> Membership {
        let member = |(name, incarnation): &(&str, u64)| {
            let member = Member {
                raft: format!("{name}:1"),
                incarnation: Incarnation(*incarnation),
                ..Member::default()
            };
            (id(name), member)
        };
        Membership::of_voters(names.iter().map(member).collect(), 0)
    }

    fn none() -> BTreeSet<NodeId> {
        BTreeSet::new()
    }

    fn roster(has_joined: bool) -> Roster {
        Roster::new(id("a"), Incarnation(1), has_joined, BTreeMap::from([(id("b"), "b:1".to_owned())]))
    }

    #[test]
    fn the_peers_are_those_of_the_membership_in_force_and_before_one_is_known_those_of_the_list() {
        let roster = roster(false);
        assert_eq!(roster.knows(&id("b")), Known::Peer(Incarnation(0)));
        assert_eq!(roster.knows(&id("c")), Known::Stranger);
        roster.in_force(GROUP, (Index(1), &of(&[("a", 1), ("c", 3)])), &none());
        assert_eq!(roster.knows(&id("b")), Known::Stranger);
        assert_eq!(roster.knows(&id("c")), Known::Peer(Incarnation(3)));
        roster.in_force(GroupId(8), (Index(1), &of(&[("a", 1), ("b", 2)])), &none());
        assert_eq!(roster.knows(&id("b")), Known::Peer(Incarnation(2)), "the union of the groups");
    }

    #[test]
    fn one_that_joins_hears_anyone_until_it_knows_the_members() {
        let roster = roster(true);
        assert_eq!(roster.knows(&id("z")), Known::Anyone);
        roster.in_force(GROUP, (Index(1), &Membership::default()), &none());
        assert_eq!(roster.knows(&id("z")), Known::Anyone);
        roster.in_force(GROUP, (Index(1), &of(&[("b", 2)])), &none());
        assert_eq!(roster.knows(&id("z")), Known::Stranger);
        assert!(!roster.is_outside());
    }

    #[test]
    fn of_two_groups_the_one_that_replaced_an_incarnation_is_believed_and_a_truncation_takes_it_back() {
        let (roster, before) = (roster(false), of(&[("a", 1), ("b", 2), ("c", 3)]));
        let change = Change::Replace {
            node: id("b"),
            by: id("b"),
            member: Member { incarnation: Incarnation(22), ..Member::default() },
        };
        let after = before.after(&change).expect("another incarnation").final_of_joint();
        roster.in_force(GROUP, (Index(1), &before), &none());
        roster.in_force(GROUP, (Index(1), &after), &none());
        roster.in_force(GroupId(8), (Index(1), &before), &none());
        assert_eq!(
            roster.knows(&id("b")),
            Known::Peer(Incarnation(22)),
            "the other group has not replaced it yet"
        );
        roster.in_force(GROUP, (Index(1), &before), &none());
        assert_eq!(roster.knows(&id("b")), Known::Peer(Incarnation(2)), "the entry is gone");
    }

    /// Cut at once, the acknowledgement by which its removal is committed would not reach a leader that leaves.
    #[test]
    fn who_leaves_is_a_peer_until_that_is_committed_and_as_long_as_a_leader_here_sends_it_the_log() {
        let (roster, both) = (roster(false), BTreeSet::from([id("b"), id("c")]));
        let here = || roster.knows(&id("c"));
        roster.in_force(GROUP, (Index(1), &of(&[("a", 1), ("b", 2), ("c", 3)])), &none());
        roster.in_force(GROUP, (Index(5), &of(&[("a", 1), ("b", 2)])), &none());
        assert_eq!(here(), Known::Peer(Incarnation(3)));
        roster.forget_left(GROUP, Index(4));
        assert_eq!(here(), Known::Peer(Incarnation(3)), "its removal is not committed");
        roster.forget_left(GROUP, Index(5));
        assert_eq!(here(), Known::Stranger);
        roster.sends_to(GROUP, &both);
        assert_eq!(here(), Known::Peer(Incarnation(3)), "the next leader tells it");
        roster.forget_left(GROUP, Index(5));
        assert_eq!(here(), Known::Peer(Incarnation(3)));
        roster.sends_to(GROUP, &none());
        assert_eq!(here(), Known::Stranger);
    }

    fn peer(node: &str, incarnation: u64, replaced: &[(u64, u64)]) -> PeerInfo {
        PeerInfo {
            node: node.to_owned(),
            kind: PeerKind::Peer,
            incarnation,
            boot: 1,
            level: 1,
            replaced: replaced.to_vec(),
            cluster: [7; 32],
            api_address: String::new(),
            address: String::new(),
            message_bytes_max: 1,
        }
    }

    /// The simulation found it: replaced in one group, it answered in the others for the disk that was lost.
    #[test]
    fn a_disk_is_no_member_of_the_groups_in_which_it_has_not_replaced_the_other() {
        let (roster, other) = (roster(false), GroupId(8));
        roster.in_force(GROUP, (Index(1), &of(&[("a", 1), ("b", 22)])), &none());
        roster.in_force(other, (Index(1), &of(&[("a", 1), ("b", 2)])), &none());
        let new = peer("b", 22, &[(GROUP.0, 2)]);
        assert!(roster.is_of_group(GROUP, &new));
        assert!(!roster.is_of_group(other, &new));
        assert!(!roster.is_of_group(GROUP, &peer("b", 2, &[])), "the old one");
        let everywhere = peer("b", 22, &[(GROUP.0, 2), (other.0, 2)]);
        assert!(roster.is_of_group(other, &everywhere), "this node has not heard of it yet");
        // A voter whose incarnation is not agreed on yet is the disk that founded.
        roster.in_force(other, (Index(2), &of(&[("a", 1), ("b", 0)])), &none());
        assert!(roster.is_of_group(other, &peer("b", 2, &[])));
        assert!(!roster.is_of_group(other, &new));
        assert!(roster.is_of_group(other, &everywhere), "this node was away since it was founded");
        assert!(roster.is_of_group(other, &peer("z", 9, &[])), "core knows what it is");
    }
}
