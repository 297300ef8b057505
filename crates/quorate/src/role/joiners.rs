//! Processes that ask a leader to be taken in, and what it does about each.
//!
//! Owns who asked and was not taken in. Never decides what a change may be: core does. A crash loses who asked; they ask again every
//! second. Bound: [`JOINERS_MAX`]; one that has not asked for [`ASKS_AGAIN_MAX`] is forgotten.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate_core::{Change, Member, Membership, NodeId, Time};

use crate::members::{JoinAnswer, JoinRequest, JoinerView};

/// Joiners that are remembered at once.
const JOINERS_MAX: usize = 32;

/// A group with so many members takes no one in who only asks.
const MEMBERS_MAX: usize = 64;

/// One that has not asked for so long has gone away.
const ASKS_AGAIN_MAX: Duration = Duration::from_secs(15);

/// What a leader does when a process asks to be taken in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum JoinStep {
    /// Ask core for this change, and answer with this once it is begun.
    Change(Change, JoinAnswer),
    /// The same of one that is a member as it is, and stays what it is if that is refused.
    Improve(Change, JoinAnswer),
    /// Answer this.
    Answer(JoinAnswer),
}

/// Looks a joiner up in the membership in force. `lag` is how many entries it lacks, if that is known; `is_connected` says that there is a link to
/// the member of its name.
pub(crate) fn join_step(
    membership: &Membership,
    asks: &JoinRequest,
    (lag, is_connected): (Option<u64>, bool),
) -> JoinStep {
    let node = &asks.node;
    let Some(known) = membership.members.get(node) else {
        if membership.has_removed(node, asks.incarnation) {
            return JoinStep::Answer(JoinAnswer::Never(format!(
                "{node} was a member and was removed. To take it in all the same, start it with an empty directory, or add it by command"
            )));
        }
        if membership.members.len() >= MEMBERS_MAX {
            return JoinStep::Answer(JoinAnswer::Waits(format!(
                "the group has {} members, and more are added by command alone",
                membership.members.len()
            )));
        }
        let change = Change::AddLearner { node: node.clone(), member: asks.member() };
        return JoinStep::Change(change, JoinAnswer::Learner { lag: None });
    };
    if known.replaced.contains(&asks.incarnation) {
        return JoinStep::Answer(JoinAnswer::Never(format!(
            "the data directory of {node} was replaced by another one, and that has its name now"
        )));
    }
    // A voter that is not known by its disk has founded the group, and a disk that did not found it has promised nothing there.
    let is_other = known.incarnation.0 == 0 && membership.is_voter(node) && asks.has_joined;
    if is_other || (known.incarnation.0 != 0 && known.incarnation != asks.incarnation) {
        return JoinStep::Answer(JoinAnswer::Waits(format!(
            "{node} is a member with another data directory; if that is lost, `quorate member replace {node}` takes this one in its place"
        )));
    }
    let is_learner = membership.learners.contains(node);
    let here = match (is_learner, known.demoted) {
        (true, true) => JoinAnswer::Demoted,
        (true, false) => JoinAnswer::Learner { lag },
        (false, _) => JoinAnswer::Voter,
    };
    if (&known.raft, &known.api) != (&asks.raft, &asks.api) {
        if is_connected && known.raft != asks.raft {
            return JoinStep::Answer(JoinAnswer::Waits(format!(
                "{node} is connected at {}, and {} is another address: end the process there, or give this one the same address",
                known.raft, asks.raft
            )));
        }
        let (raft, api) = (asks.raft.clone(), asks.api.clone());
        return JoinStep::Change(Change::Readdress { node: node.clone(), raft, api }, here);
    }
    if is_learner && asks.votes && !known.demoted {
        return JoinStep::Improve(Change::Promote { node: node.clone() }, here);
    }
    JoinStep::Answer(here)
}

#[derive(Debug)]
struct Joiner {
    asks: JoinRequest,
    reason: String,
    asked_at: Time,
}

/// Who asked and was not taken in.
#[derive(Debug, Default)]
pub(crate) struct Joiners(BTreeMap<NodeId, Joiner>);

impl Joiners {
    /// It was told how far it is.
    pub(crate) fn answered(&mut self, now: Time, asks: &JoinRequest, answer: &JoinAnswer) {
        self.forget_silent(now);
        match answer {
            JoinAnswer::Waits(reason) => {
                if self.0.len() < JOINERS_MAX || self.0.contains_key(&asks.node) {
                    let joiner = Joiner { asks: asks.clone(), reason: reason.clone(), asked_at: now };
                    self.0.insert(asks.node.clone(), joiner);
                }
            }
            JoinAnswer::Never(_) | JoinAnswer::Learner { .. } | JoinAnswer::Demoted | JoinAnswer::Voter => {
                self.0.remove(&asks.node);
            }
        }
    }

    /// What waits under this name.
    pub(crate) fn waiting_as(&mut self, now: Time, node: &NodeId) -> Option<Member> {
        self.forget_silent(now);
        self.0.get(node).map(|joiner| joiner.asks.member())
    }

    pub(crate) fn views(&mut self, now: Time) -> Vec<JoinerView> {
        self.forget_silent(now);
        let view = |(id, joiner): (&NodeId, &Joiner)| JoinerView {
            id: id.clone(),
            raft: joiner.asks.raft.clone(),
            incarnation: joiner.asks.incarnation,
            reason: joiner.reason.clone(),
        };
        self.0.iter().map(view).collect()
    }

    fn forget_silent(&mut self, now: Time) {
        self.0.retain(|_, joiner| now.since(joiner.asked_at) < ASKS_AGAIN_MAX);
    }
}

#[cfg(test)]
mod tests {
    use quorate_core::Incarnation;

    use super::*;

    fn id(name: &str) -> NodeId {
        NodeId::new(name).expect("a name")
    }

    fn asks(node: &str, incarnation: u64) -> JoinRequest {
        let (raft, api) = (format!("{node}:1"), String::new());
        JoinRequest {
            cluster: quorate_core::Hash([7; 32]),
            node: id(node),
            raft,
            api,
            incarnation: Incarnation(incarnation),
            has_joined: true,
            votes: true,
        }
    }

    fn members() -> Membership {
        let member = |name: &str, incarnation| (id(name), asks(name, incarnation).member());
        Membership::of_voters([member("a", 1), member("b", 2)].into_iter().collect(), 0)
    }

    fn waits(step: &JoinStep) -> bool {
        matches!(step, JoinStep::Answer(JoinAnswer::Waits(_)))
    }

    fn never(step: &JoinStep) -> bool {
        matches!(step, JoinStep::Answer(JoinAnswer::Never(_)))
    }

    #[test]
    fn who_is_new_becomes_a_learner_and_once_it_asks_again_a_voter() {
        let (membership, asks) = (members(), asks("c", 3));
        let JoinStep::Change(change, JoinAnswer::Learner { lag: None }) =
            join_step(&membership, &asks, (None, false))
        else {
            panic!("it is taken in")
        };
        let learner = membership.after(&change).expect("it is new");
        let promote = Change::Promote { node: id("c") };
        let here = JoinAnswer::Learner { lag: Some(7) };
        assert_eq!(
            join_step(&learner, &asks, (Some(7), false)),
            JoinStep::Improve(promote.clone(), here.clone())
        );
        let no_vote = JoinRequest { votes: false, ..asks.clone() };
        assert_eq!(join_step(&learner, &no_vote, (Some(7), false)), JoinStep::Answer(here));
        let voter = learner.after(&promote).expect("a learner").final_of_joint();
        assert_eq!(join_step(&voter, &asks, (None, false)), JoinStep::Answer(JoinAnswer::Voter));
        let demoted = voter.after(&Change::Demote { node: id("c") }).expect("a voter").final_of_joint();
        assert_eq!(join_step(&demoted, &asks, (Some(0), false)), JoinStep::Answer(JoinAnswer::Demoted));
        let moved = JoinRequest { raft: "d:1".into(), ..asks };
        assert!(waits(&join_step(&voter, &moved, (None, true))), "a copy may ask for it");
        let step = join_step(&voter, &moved, (None, false));
        assert!(matches!(step, JoinStep::Change(Change::Readdress { .. }, JoinAnswer::Voter)), "{step:?}");
    }

    #[test]
    fn another_disk_under_a_name_waits_until_it_is_told_to_replace() {
        let membership = members();
        assert!(waits(&join_step(&membership, &asks("b", 22), (None, false))));
        let change = Change::Replace { node: id("b"), by: id("b"), member: asks("b", 22).member() };
        let replaced = membership.after(&change).expect("another incarnation");
        assert!(waits(&join_step(&replaced, &asks("b", 22), (None, false))), "until the old one has no vote");
        let replaced = replaced.final_of_joint();
        assert!(matches!(
            join_step(&replaced, &asks("b", 22), (None, false)),
            JoinStep::Improve(Change::Promote { .. }, _)
        ));
        assert!(never(&join_step(&replaced, &asks("b", 2), (None, false))), "the old disk came back");
    }

    /// Its supervisor starts it with the same flags; it would be a member again that was removed.
    #[test]
    fn a_removed_member_is_not_taken_in_again_by_itself() {
        let add = Change::AddLearner { node: id("c"), member: asks("c", 3).member() };
        let with = members().after(&add).expect("it is new");
        let without = with.after(&Change::Remove { node: id("c") }).expect("a learner");
        assert!(never(&join_step(&without, &asks("c", 3), (None, false))));
        let new = join_step(&without, &asks("c", 4), (None, false));
        assert!(matches!(new, JoinStep::Change(Change::AddLearner { .. }, _)), "another disk: {new:?}");
    }

    #[test]
    fn who_no_longer_asks_is_forgotten_and_there_is_a_bound() {
        let (mut joiners, answer) = (Joiners::default(), JoinAnswer::Waits("it waits".to_owned()));
        for at in 0..2 * JOINERS_MAX {
            joiners.answered(Time(0), &asks(&format!("n{at}"), 1), &answer);
        }
        assert_eq!(joiners.views(Time(0)).len(), JOINERS_MAX);
        assert!(joiners.waiting_as(Time(0), &id("n0")).is_some());
        let later = Time(0) + ASKS_AGAIN_MAX;
        assert!(joiners.waiting_as(later, &id("n0")).is_none());
        joiners.answered(later, &asks("b", 9), &answer);
        joiners.answered(later, &asks("b", 9), &JoinAnswer::Learner { lag: None });
        assert!(joiners.views(later).is_empty(), "it was taken in");
    }
}
