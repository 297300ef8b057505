//! Election safety: at most one leader in a term (Raft paper, figure 3).

use std::collections::BTreeMap;

use quorate_core::{NodeId, ReplicaState, Standing, Term};

use crate::world::{Node, Role};

#[derive(Debug, Default)]
pub(crate) struct ElectionSafety {
    leaders: BTreeMap<Term, NodeId>,
}

impl ElectionSafety {
    pub(crate) fn check(&mut self, node: &Node, state: &ReplicaState) {
        let role = node.replica.as_ref().expect("it has a state").role();
        match role {
            Role::Follower(_) => {}
            Role::Candidate(_) => {
                assert_eq!(state.standing(), Standing::Voter, "{} stands and may not", node.id);
            }
            Role::Leader(_) => {
                // One that is removed leads until that is committed.
                let leaves = state.membership_index() > state.commit();
                assert!(leaves || state.membership().is_voter(&node.id), "{} leads and is no voter", node.id);
                assert!(!state.hard_state().recovering, "{} leads and is recovering", node.id);
                let leader = self.leaders.entry(state.term()).or_insert_with(|| node.id.clone());
                assert_eq!(*leader, node.id, "election safety: two leaders in term {}", state.term());
            }
        }
    }
}
