//! What a transcript prints of a step: each effect on a line, and the state of a node when it has changed.

use std::fmt::Write as _;

use quorate_core::{Effect, Entry, Phase, SnapshotWanted};

use super::Lab;
use crate::world::Role;

impl Lab {
    pub(super) fn say(&mut self, line: &str) {
        self.transcript.push_str(line);
        self.transcript.push('\n');
    }

    pub(crate) fn take_transcript(&mut self) -> String {
        std::mem::take(&mut self.transcript)
    }

    pub(super) fn print_effect(&mut self, at: usize, effect: &Effect) {
        let run = |entries: &[Entry]| match (entries.first(), entries.last()) {
            (Some(first), Some(last)) => format!(" {}..{}", first.log_id(), last.log_id()),
            _ => String::new(),
        };
        let text = match effect {
            Effect::Persist(p) => {
                let mut text = format!("persist #{} term={}", p.sequence, p.hard_state.term);
                if let Some(voted) = &p.hard_state.voted_for {
                    let _ = write!(text, " vote={voted}");
                }
                if p.hard_state.recovering {
                    text += " recovering";
                }
                if let Some(from) = p.truncate_from {
                    let _ = write!(text, " truncate={from}");
                }
                if let Some(base) = &p.install {
                    let _ = write!(text, " install={}", base.at.log_id());
                }
                text + &run(&p.entries)
            }
            Effect::Send(message) => format!("send {message}"),
            Effect::Apply { entries } => format!("apply{}", run(entries)),
            Effect::ReadLog { reader, from, through, .. } => {
                format!("read log {from}..{through} for {reader:?}")
            }
            Effect::PublishSnapshot(index) => format!("publish the snapshot up to {index}"),
            Effect::Compact { through } => format!("forget the log up to {through}"),
            Effect::FetchSnapshot(SnapshotWanted::Offered { from, at }) => {
                format!("fetch the snapshot {} of {from}", at.log_id())
            }
            Effect::FetchSnapshot(SnapshotWanted::Reaching(index)) => {
                format!("fetch a snapshot that reaches {index}")
            }
            Effect::RestoreMachine => "restore the machine".to_owned(),
            Effect::Accepted { first, term, count } => format!("accepted {count} from {first}@{term}"),
            Effect::Refused { count, reason } => format!("refused {count}: {reason:?}"),
            Effect::TransferRefused(refusal) => format!("transfer refused: {refusal}"),
            Effect::ChangeBegun { index } => format!("change begun at {index}"),
            Effect::ChangeRefused(refusal) => format!("change refused: {refusal}"),
            Effect::ReadReady { reads, index } => format!("reads {reads:?} ready at {index}"),
            Effect::ReadRefused { reads } => format!("reads {reads:?} refused"),
            Effect::LeaderChanged { .. } | Effect::TransferBegun { .. } => return,
            Effect::MembershipChanged(membership) => {
                let members: Vec<String> = (membership.members.iter())
                    .map(|(id, member)| format!("{id}/{}", member.incarnation))
                    .collect();
                format!("members {}", members.join(" "))
            }
            Effect::Notice(notice) => format!("notice {notice:?}"),
            Effect::StartReplicator { .. }
            | Effect::StopReplicator { .. }
            | Effect::ToReplicator { .. }
            | Effect::Become(_) => panic!("a replica keeps {effect:?} to itself"),
        };
        self.say(&format!("n{at}: {text}"));
    }

    pub(super) fn print_state(&mut self, at: usize) {
        let text = self.describe(at);
        if self.nodes[at].printed != text {
            self.say(&format!("n{at}: = {text}"));
            self.nodes[at].printed = text;
        }
    }

    pub(crate) fn describe(&self, at: usize) -> String {
        let Some(replica) = &self.nodes[at].replica else { return "down".to_owned() };
        let state = replica.state();
        let role = match replica.role() {
            Role::Follower(follower) => {
                let leader = follower.leader().map_or("none".to_owned(), ToString::to_string);
                format!("{:?} follows {leader}", state.standing())
            }
            Role::Candidate(candidate) => match candidate.phase() {
                Phase::PreVote => "asks for pre-votes".to_owned(),
                Phase::Vote => "asks for votes".to_owned(),
            },
            Role::Leader(leader) => match leader.transferring_to() {
                Some(to) => format!("leads, handing over to {to}"),
                None => "leads".to_owned(),
            },
        };
        format!(
            "{role} term={} commit={} durable={} last={}",
            state.term(),
            state.commit(),
            state.durable(),
            state.tail().last().log_id()
        )
    }
}
