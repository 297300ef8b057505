//! Writes the log's lines of roles and leaders, as `leader_log` decides.

use std::time::Duration;

use quorate_bridge::LinkState;
use quorate_core::NextRole;
use ractor::ActorRef;

use crate::group::leader_log::{Changed, LookAgain};
use crate::group::state::GroupState;
use crate::messages::group::GroupMessage;
use crate::messages::role::EndedRole;

impl GroupState {
    /// The leader that the role follows has changed, or there is none.
    pub(super) fn log_leader(&mut self, me: &ActorRef<GroupMessage>) {
        let (cx, now) = (self.start.cx.clone(), self.start.cx.clock.now());
        let (node, group, term) = (&cx.node, &cx.name, self.leader.1);
        let Some(leader) = &self.leader.0 else {
            let look = self.leader_log.lost(now);
            look_again(me, look);
            return;
        };
        let changed = self.leader_log.known(now, leader);
        // That this node leads is a line of its own.
        let Some(Changed { from, after }) = changed.filter(|_| leader != node) else { return };
        let from = from.map_or_else(|| "none".to_owned(), |from| from.to_string());
        let leaderless_ms = millis(after);
        tracing::info!(%node, %group, %term, from, to = %leader, leaderless_ms, "leader changed");
    }

    /// A role ended and the next one begins.
    pub(super) fn log_role(&mut self, ended: &EndedRole) {
        let (node, group) = (&self.start.cx.node, &self.start.cx.name);
        let EndedRole { from, state, next, .. } = ended;
        let (term, log_last, reason) = (state.term(), state.tail().last().index, next.reason);
        match next.role {
            NextRole::Leader => {
                tracing::info!(%node, %group, %term, %log_last, from, reason, "became leader");
            }
            NextRole::Candidate { forced } => {
                if self.leader_log.is_campaign_new(true) {
                    tracing::info!(%node, %group, %term, %log_last, from, reason, forced, "became candidate");
                } else {
                    tracing::debug!(%node, %group, %term, %log_last, from, reason, forced, "became candidate");
                }
            }
            NextRole::Follower => {
                if *from == "leader" || self.leader_log.is_campaign_new(false) {
                    tracing::info!(%node, %group, %term, %log_last, from, reason, "became follower");
                } else {
                    tracing::debug!(%node, %group, %term, %log_last, from, reason, "became follower");
                }
            }
        }
    }

    /// The timer fired. There is no leader yet: say so, with the voters that this node cannot reach.
    pub(super) fn log_still_leaderless(&mut self, me: &ActorRef<GroupMessage>, timer: u64) {
        let Some((silent, look)) = self.leader_log.still_lost(self.start.cx.clock.now(), timer) else {
            return;
        };
        let (node, group, term) = (&self.start.cx.node, &self.start.cx.name, self.leader.1);
        let (connected, missing) = self.voters_by_link();
        let recovering = list(&self.start.cx.recovering.with(node));
        let leaderless_ms = millis(silent);
        tracing::warn!(%node, %group, %term, leaderless_ms, connected, missing, recovering, "no leader");
        look_again(me, Some(look));
    }

    /// The other voters to which there is a link, and those to which there is none, each with the reason.
    fn voters_by_link(&self) -> (String, String) {
        let (mut connected, mut missing) = (Vec::new(), Vec::new());
        let membership = self.membership.iter().flat_map(|membership| {
            let voters = membership.members.keys().filter(|id| membership.is_voter(id));
            voters.filter(|id| **id != self.start.cx.node)
        });
        for voter in membership {
            let link = self.start.cx.bridge.as_ref().and_then(|bridge| bridge.link(voter.as_str()));
            match link {
                Some(link) if link.state == LinkState::Up => connected.push(voter.to_string()),
                link => {
                    let why = link.and_then(|link| link.last_error);
                    missing.push(format!("{voter} ({})", why.as_deref().unwrap_or("still connecting")));
                }
            }
        }
        (list(&connected), list(&missing))
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn look_again(me: &ActorRef<GroupMessage>, look: Option<LookAgain>) {
    if let Some(LookAgain { timer, after }) = look {
        drop(me.send_after(after, move || GroupMessage::LookForLeader(timer)));
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
