//! Whose word counts on who the members are: the list that a node is given at its start, or its data directory (`docs/safety.md`
//! 14).
//!
//! The list founds a cluster. From then on the membership in the log is the truth, with its addresses; a list that differs is
//! warned of and not used. A directory in which nothing ever happened is founded again from the list.

use std::collections::BTreeMap;

use quorate_core::{Hash, Member, NodeId};
use quorate_store::{Founded, Store, StoreError};

use crate::node::error::StartError;
use crate::node::spec::Given;

pub(crate) type Members = BTreeMap<NodeId, Member>;

/// The cluster that a directory belongs to.
#[derive(Debug)]
pub(super) struct Cluster {
    /// Its members, this node too.
    pub(super) members: Members,
    /// Those that a group begins with that is new to the cluster: the same on every node, also after members have come and gone.
    pub(super) new_groups: Members,
    /// The list that it was founded with; empty in the directory of a node that joined.
    pub(super) founded_as: String,
    /// The directory began without members.
    pub(super) has_joined: bool,
}

impl Cluster {
    fn given(given: &Given) -> Self {
        let members = given.members.clone();
        Self { new_groups: members.clone(), founded_as: list(&members), members, has_joined: false }
    }

    fn found(known: Founded) -> Self {
        let new_groups = known.founding.map(|founding| founding.members).unwrap_or_default();
        let (founded_as, has_joined) = (list(&new_groups), new_groups.is_empty());
        Self { members: known.members, new_groups, founded_as, has_joined }
    }
}

/// Who the members are.
#[derive(Debug, PartialEq, Eq)]
enum Choice {
    /// Those of the list.
    Given,
    /// Those of the list, and the directory is made one of their cluster.
    FoundAgain,
    /// Those that the directory has; there is no list, or it is theirs.
    Founded,
    /// Those that the directory has, and what was given is not that.
    FoundedOtherwise(Differs),
}

/// What is not as the cluster has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Differs {
    List,
    Token,
}

/// The cluster's id: blake3 of its sorted initial `id=host:port` list and its token (`docs/safety.md` 14).
pub(crate) fn cluster_id(members: &Members, token: &str) -> Hash {
    Hash::of(format!("{}\n{token}", list(members)).as_bytes())
}

/// A list as it is given and shown.
pub(crate) fn list(members: &Members) -> String {
    let entries: Vec<String> = members.iter().map(|(id, member)| format!("{id}={}", member.raft)).collect();
    entries.join(",")
}

/// The cluster that this directory belongs to from now on.
pub(super) fn settle(store: &mut Store, node: &NodeId, given: &Given) -> Result<Cluster, StartError> {
    let known = store.founded();
    if given.is_joiner && known.founding.is_none() {
        return Ok(Cluster::found(known));
    }
    let founding = known.founding.as_ref().map(|founding| list(&founding.members)).unwrap_or_default();
    let (ours, cluster) = (list(&given.members), cluster_id(&given.members, &given.token));
    match choose(node, given, &known, store.identity().cluster)? {
        Choice::Given => Ok(Cluster::given(given)),
        Choice::FoundAgain => {
            tracing::info!(%node, before = founding, now = ours, "never took part, founded again from the list given");
            store.found_again(cluster, &given.founding()).map_err(again)?;
            Ok(Cluster::given(given))
        }
        Choice::Founded => Ok(Cluster::found(known)),
        Choice::FoundedOtherwise(differs) => {
            let members = list(&known.members);
            match differs {
                Differs::List => tracing::warn!(
                    %node, given = ours, members,
                    "the list given is not that of the members, which are used; correct it or leave it out"
                ),
                Differs::Token => tracing::warn!(
                    %node, members,
                    "the token given is not used: this cluster was founded with another one, or restored of a backup, when no token gives its id"
                ),
            }
            Ok(Cluster::found(known))
        }
    }
}

fn again(error: StoreError) -> StartError {
    StartError::FoundAgain { source: error }
}

fn choose(node: &NodeId, given: &Given, known: &Founded, directory: Hash) -> Result<Choice, StartError> {
    let is_same = directory == cluster_id(&given.members, &given.token);
    let Some(founding) = &known.founding else {
        return match (is_same, known.is_blank) {
            (true, _) => Ok(Choice::Given),
            (false, true) => Ok(Choice::FoundAgain),
            (false, false) => Err(StartError::ListLost { node: node.clone(), given: list(&given.members) }),
        };
    };
    let founding = &founding.members;
    let (given_list, founding_list) = (list(&given.members), list(founding));
    if given.is_list && known.is_blank && !(is_same && given_list == founding_list) {
        return Ok(Choice::FoundAgain);
    }
    if given.is_list && given_list != founding_list && given_list != list(&known.members) {
        return Ok(Choice::FoundedOtherwise(Differs::List));
    }
    // A node that joined was not founded with any.
    let says_token = !founding.is_empty() && (given.is_list || !given.token.is_empty());
    if says_token && cluster_id(founding, &given.token) != directory {
        return Ok(Choice::FoundedOtherwise(Differs::Token));
    }
    Ok(Choice::Founded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_core::{Entry, EntryKind, GroupId, HardRecord, Membership, Position, Term};
    use quorate_log_lines::lines_of;
    use quorate_store::{GroupWrite, SimDisk, StoreOptions};

    fn members(list: &str) -> Members {
        let entry = |text: &str| {
            let (id, raft) = text.split_once('=').expect("id=host:port");
            let member = Member { raft: raft.into(), ..Member::default() };
            (NodeId::new(id).expect("a name"), member)
        };
        list.split(',').map(entry).collect()
    }

    /// What is chosen in a directory that was founded with `founding` and the token `t`.
    fn chosen(founding: Option<&str>, is_blank: bool, given: (&str, bool, &str)) -> Result<Choice, String> {
        let founded = members(founding.unwrap_or("a=h:1,b=h:2"));
        let known = Founded {
            founding: founding.map(|_| Membership::of_voters(founded.clone(), 7)),
            members: founding.map(|_| founded.clone()).unwrap_or_default(),
            is_blank,
        };
        let (list, is_list, token) = given;
        let given = Given {
            members: members(list),
            is_list,
            token: token.into(),
            fingerprint: 7,
            is_joiner: false,
            joins: None,
        };
        let node = NodeId::new("a").expect("a name");
        choose(&node, &given, &known, cluster_id(&founded, "t")).map_err(|error| error.to_string())
    }

    #[test]
    fn rule_14_the_cluster_id_is_of_list_and_token_and_not_of_order() {
        let one = cluster_id(&members("a=h:1,b=h:2"), "");
        assert_eq!(one, cluster_id(&members("b=h:2,a=h:1"), ""));
        assert_ne!(one, cluster_id(&members("a=h:1,b=h:2"), "t"));
        assert_ne!(one, cluster_id(&members("a=h:1,b=h:3"), ""));
    }

    #[test]
    fn rule_14_after_founding_the_members_are_those_of_the_directory() {
        let list = Some("a=h:1,b=h:2");
        assert_eq!(chosen(list, false, ("a=h:1,b=h:2", true, "t")), Ok(Choice::Founded));
        assert_eq!(chosen(list, false, ("a=h:9", false, "")), Ok(Choice::Founded), "no list, no token");
        for (given, differs) in [
            (("a=h:1,b=h:3,c=h:4", true, "t"), Differs::List),
            (("a=h:1,b=h:3", true, ""), Differs::List),
            (("a=h:1,b=h:2", true, ""), Differs::Token),
            (("a=h:1", false, "u"), Differs::Token),
        ] {
            assert_eq!(chosen(list, false, given), Ok(Choice::FoundedOtherwise(differs)), "{given:?}");
        }
    }

    #[test]
    fn rule_14_what_never_took_part_is_founded_again_from_another_list_only() {
        let list = Some("a=h:1,b=h:2");
        let founded = Ok(Choice::Founded);
        assert_eq!(chosen(list, true, ("a=h:1,b=h:2", true, "t")), founded);
        assert_eq!(chosen(list, true, ("a=h:1", false, "")), founded, "it is not made a cluster of its own");
        for given in [("a=h:1,b=h:3", true, "t"), ("a=h:1,b=h:2", true, "u")] {
            assert_eq!(chosen(list, true, given), Ok(Choice::FoundAgain), "{given:?}");
        }
        // An earlier start stopped between the members and the identity.
        assert_eq!(chosen(None, true, ("a=h:1,b=h:2", true, "t")), Ok(Choice::Given));
        assert_eq!(chosen(None, true, ("a=h:1,b=h:3", true, "t")), Ok(Choice::FoundAgain));
    }

    #[test]
    fn a_directory_that_lost_its_list_takes_only_the_one_it_had() {
        assert_eq!(chosen(None, false, ("a=h:1,b=h:2", true, "t")), Ok(Choice::Given));
        for given in [("a=h:1,b=h:3", true, "t"), ("a=h:1", false, "")] {
            let refused = chosen(None, false, given).expect_err("another list");
            assert!(refused.contains("founded with"), "{refused}");
        }
    }

    /// The data directory of node a, with an entry since it was founded with this list and the token `t`.
    fn store(list: &str) -> Store {
        let (founding, node) = (members(list), NodeId::new("a").expect("a name"));
        let options = StoreOptions::new(node, Some(cluster_id(&founding, "t")), 9);
        let (mut store, _) = Store::open(Box::new(SimDisk::new()), options).expect("an empty disk opens");
        store.open_group("g", &Membership::of_voters(founding, 7)).expect("a healthy disk writes");
        let payload = Vec::new().into();
        let entry =
            Entry::follow(Position::ORIGIN, Term::ZERO, 5, EntryKind::Command, payload, Hash::of(&[]));
        let (group, hard_state) = (GroupId::of_name("g"), HardRecord::default());
        let write = GroupWrite { group, hard_state, truncate_from: None, entries: vec![entry].into() };
        store.write(vec![write]).expect("a healthy disk writes");
        store
    }

    /// It was used without a word, or the members' own was.
    #[test]
    fn a_list_or_token_that_differs_is_one_warning_that_shows_what_is_used() {
        let has = "a=h:1,b=h:2";
        for (list, token, words) in [
            (has, "t", None),
            ("a=h:1,b=h:3", "t", Some(["given=\"a=h:1,b=h:3\"", "members=\"a=h:1,b=h:2\""])),
            (has, "u", Some(["token given", "members=\"a=h:1,b=h:2\""])),
        ] {
            let given = Given {
                members: members(list),
                is_list: true,
                token: token.into(),
                fingerprint: 7,
                is_joiner: false,
                joins: None,
            };
            let node = NodeId::new("a").expect("a name");
            let (cluster, lines) = lines_of(|| settle(&mut store(has), &node, &given));
            assert_eq!(cluster.expect("it starts").members, members(has));
            let warnings: Vec<_> = lines.iter().filter(|line| line.starts_with("WARN ")).collect();
            assert_eq!(warnings.len(), usize::from(words.is_some()), "{lines:#?}");
            let shown = |word: &&str| warnings[0].contains(*word);
            assert!(words.iter().flatten().all(shown), "{warnings:#?}");
        }
    }
}
