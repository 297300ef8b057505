//! Votes and pre-votes that a follower is asked for, and the leader's order to campaign.

use crate::effect::{Effects, NextRole};
use crate::entries::Entries;
use crate::follower::role::Follower;
use crate::ids::{NodeId, Term, Time};
use crate::message::{Body, Message, VoteKind, VoteReply, VoteRequest};
use crate::state::{Standing, become_role};

impl Follower {
    /// A pre-vote changes nothing here (`known-bugs.md` 10). A vote request is ignored while a leader is heard (leader
    /// stickiness, Raft thesis section 4.2.3), unless that leader asked for the campaign.
    pub(super) fn must_follow_term(&self, now: Time, message: &Message) -> bool {
        match &message.body {
            Body::VoteRequest(request) => {
                request.kind == VoteKind::Real && (request.forced || !self.hears_leader(now))
            }
            _ => true,
        }
    }

    fn hears_leader(&self, now: Time) -> bool {
        self.leader_closed.is_none()
            && self.leader_heard_at.is_some_and(|at| now.since(at) < self.state.config.election_timeout)
    }

    pub(super) fn vote_request(
        &mut self,
        now: Time,
        from: NodeId,
        request: &VoteRequest,
        effects: &mut Effects,
    ) {
        let up_to_date = self.state.is_up_to_date(request.last);
        let no_voter = self.state.knows_no_voter(&from, request.last);
        let votes = matches!(self.state.standing(), Standing::Voter | Standing::Learner | Standing::Outside)
            && self.state.knows_membership()
            && !no_voter;
        let leads_better = self.state.leads_better(now, request);
        let vote = self.state.vote_under_way();
        if request.kind == VoteKind::Pre && vote == Some(&from) {
            // Its answer is the vote.
            return;
        }
        let is_voting = vote.is_some();
        let granted = match request.kind {
            VoteKind::Pre => {
                let free = request.forced || !self.hears_leader(now);
                let new = request.campaign > self.state.term();
                votes && up_to_date && free && new && !leads_better && !is_voting
            }
            VoteKind::Real => {
                let given = &self.state.hard_state.voted_for;
                let free = given.as_ref().is_none_or(|candidate| *candidate == from);
                votes && up_to_date && free && self.leader.is_none() && request.campaign == self.state.term()
            }
        };
        if granted && request.kind == VoteKind::Pre {
            self.let_the_other_stand(now);
        }
        if granted && request.kind == VoteKind::Real {
            if self.state.hard_state.voted_for.is_none() {
                self.state.hard_state.voted_for = Some(from.clone());
                self.state.hard_state_dirty = true;
            }
            self.reset_election_deadline(now);
        }
        self.state.persist(now, None, Entries::default(), effects);
        let VoteRequest { kind, campaign, .. } = *request;
        let recovering = self.state.hard_state.recovering;
        let reply = VoteReply { kind, campaign, granted, leads_better, recovering, no_voter };
        let reply = self.state.message(from, Body::VoteReply(reply));
        self.state.send_after_hard_state(reply, effects);
    }

    pub(super) fn timeout_now(&mut self, from: &NodeId, term: Term, effects: &mut Effects) {
        let from_leader = term == self.state.term() && self.leader.as_ref() == Some(from);
        if from_leader && self.state.standing() == Standing::Voter {
            self.refuse_reads(effects);
            effects.push(become_role(
                NextRole::Candidate { forced: true },
                "the leader transferred leadership",
                None,
            ));
        }
    }
}
