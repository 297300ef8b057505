//! The messages between replicas of a group: who sends each, and what the receiver may conclude.
//!
//! Serialised with serde; over the bridge that is MessagePack with named fields, while the entries of an
//! [`AppendEntries`] travel as one byte string in the form they have on disk.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::entry::{Entry, LogId, decode_run, encode_run};
use crate::ids::{Boot, Index, NodeId, ReplicationSession, Round, Term, Time};

/// A message from one replica of a group to another.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Message {
    /// The sender.
    pub from: NodeId,
    /// The addressee; any other node ignores the message.
    pub to: NodeId,
    /// The sender's boot number (`safety.md` 5).
    pub boot: Boot,
    /// The sender's current term, durable before this message left.
    pub term: Term,
    /// The content, by kind.
    pub body: Body,
}

/// The content of a message, one variant per kind.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Body {
    /// RequestVote of the paper, from a candidate.
    VoteRequest(VoteRequest),
    /// From a node that was asked for a vote.
    VoteReply(VoteReply),
    /// From the leader. Without entries it is the heartbeat.
    #[serde(rename = "Append")]
    AppendEntries(AppendEntries),
    /// From a node that received an [`AppendEntries`].
    AppendReply(AppendReply),
    /// From a leader that transfers leadership: campaign now, without a pre-vote and past leader stickiness (Raft thesis,
    /// section 3.10).
    TimeoutNow,
    /// From a follower that serves a read (which index must be applied first?) or leaves Recovering (which index must be
    /// durable first?).
    ReadIndexRequest(ReadIndexRequest),
    /// From the leader, once a quorum has confirmed that it still leads.
    ReadIndexReply(ReadIndexReply),
}

/// Pre-vote or vote (Raft thesis section 9.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum VoteKind {
    /// Asks whether the receiver would vote. Changes nothing there.
    Pre,
    /// Asks for the vote.
    Real,
}

/// A candidate asks for a vote.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct VoteRequest {
    /// Pre-vote or vote.
    pub kind: VoteKind,
    /// The term of the campaign: the current one, or in a pre-vote the next.
    pub campaign: Term,
    /// The candidate's last entry.
    pub last: LogId,
    /// The leader asked for this campaign: leader stickiness does not apply.
    pub forced: bool,
}

/// The answer to a [`VoteRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct VoteReply {
    /// Copied from the request.
    pub kind: VoteKind,
    /// Copied from the request: a reply to an earlier campaign does not count in a later one.
    pub campaign: Term,
    /// Whether the vote is given (or, in a pre-vote, would be).
    pub granted: bool,
}

/// AppendEntries of the paper: entries from the leader, or without any its heartbeat.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AppendEntries {
    /// The replication session: which run of the replicator sends it.
    pub session: ReplicationSession,
    /// The entry before the first one sent (prevLogIndex and prevLogTerm of the paper).
    pub prev: LogId,
    /// Contiguous, from `prev.index + 1`.
    #[serde(with = "run")]
    pub entries: Vec<Entry>,
    /// The leader's commit index (leaderCommit).
    pub commit: Index,
    /// The newest round of leadership confirmation the leader had begun when it sent this.
    pub round: Round,
    /// The leader's clock when it sent this. The reply returns it unchanged.
    pub sent_at: Time,
}

/// The answer to an [`AppendEntries`], sent once what it claims is durable.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AppendReply {
    /// Copied from the request; zero in a refusal of an earlier term.
    pub session: ReplicationSession,
    /// Copied from the request; zero in a refusal of an earlier term.
    pub round: Round,
    /// Copied from the request; zero in a refusal of an earlier term.
    pub sent_at: Time,
    /// What the receiver did with it.
    pub result: AppendResult,
}

/// What the receiver did with an [`AppendEntries`] message.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AppendResult {
    /// Everything up to `index` agrees with the leader's log and is on this node's disk.
    Matched {
        /// The last index for which that holds.
        index: Index,
    },
    /// The entry at `prev` is missing or of another term.
    Conflict {
        /// The greatest entry at or before `prev` whose term is not above `prev`'s: the next place worth probing.
        hint: LogId,
        /// The last index this node has.
        last: Index,
    },
    /// The disk is full; nothing was appended (`safety.md` 16).
    NoSpace,
}

/// A follower asks the leader for a read index (Raft thesis section 6.4).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ReadIndexRequest {
    /// Chosen by the asker, unique per boot. The reply returns it.
    pub id: u64,
    /// The asker has lost entries that it may have acknowledged: the quorum that confirms must not count it
    /// (`safety.md` 5).
    pub recovering: bool,
}

/// The answer to a [`ReadIndexRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ReadIndexReply {
    /// Copied from the request.
    pub id: u64,
    /// The read index; `None` if leadership could not be confirmed and the read is refused.
    pub index: Option<Index>,
}

impl Body {
    /// A short name for logs and transcripts.
    pub fn name(&self) -> &'static str {
        match self {
            Self::VoteRequest(v) if v.kind == VoteKind::Pre => "PreVote",
            Self::VoteRequest(_) => "Vote",
            Self::VoteReply(v) if v.kind == VoteKind::Pre => "PreVoteReply",
            Self::VoteReply(_) => "VoteReply",
            Self::AppendEntries(a) if a.entries.is_empty() => "Heartbeat",
            Self::AppendEntries(_) => "Append",
            Self::AppendReply(_) => "AppendReply",
            Self::TimeoutNow => "TimeoutNow",
            Self::ReadIndexRequest(_) => "ReadIndex",
            Self::ReadIndexReply(_) => "ReadIndexReply",
        }
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {} {} term={}", self.from, self.to, self.body.name(), self.term)?;
        match &self.body {
            Body::VoteRequest(v) => {
                write!(f, " campaign={} last={}", v.campaign, v.last)?;
                if v.forced { write!(f, " forced") } else { Ok(()) }
            }
            Body::VoteReply(v) => write!(f, " campaign={} granted={}", v.campaign, v.granted),
            Body::AppendEntries(a) => {
                write!(f, " prev={} commit={} round={}", a.prev, a.commit, a.round)?;
                match (a.entries.first(), a.entries.last()) {
                    (Some(first), Some(last)) => write!(f, " entries={}..{}", first.log_id(), last.log_id()),
                    _ => Ok(()),
                }
            }
            Body::AppendReply(a) => match &a.result {
                AppendResult::Matched { index } => write!(f, " matched={index} round={}", a.round),
                AppendResult::Conflict { hint, last } => {
                    write!(f, " conflict hint={hint} last={last} round={}", a.round)
                }
                AppendResult::NoSpace => write!(f, " no_space round={}", a.round),
            },
            Body::TimeoutNow => Ok(()),
            Body::ReadIndexRequest(r) => {
                write!(f, " id={}{}", r.id, if r.recovering { " recovering" } else { "" })
            }
            Body::ReadIndexReply(r) => match r.index {
                Some(index) => write!(f, " id={} index={index}", r.id),
                None => write!(f, " id={} refused", r.id),
            },
        }
    }
}

/// Entries as one byte string, in the form they have on disk.
mod run {
    use super::{Bytes, Deserializer, Entry, Serializer, decode_run, encode_run};

    pub(super) fn serialize<S: Serializer>(entries: &[Entry], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(&encode_run(entries))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Entry>, D::Error> {
        // `Bytes` is read as a byte string; a sequence of numbers would cost 37 times as much.
        let bytes = <Bytes as serde::Deserialize>::deserialize(from)?;
        decode_run(&bytes).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{EntryKind, Position};

    #[test]
    fn an_append_comes_out_as_it_went_in() {
        let mut entries = Vec::new();
        let mut place = Position::ORIGIN;
        for payload in [&b"one"[..], b"", b"three"] {
            let payload = Bytes::from_static(payload);
            let leaf = crate::entry::Hash::of(&payload);
            let entry = Entry::follow(place, Term(2), 7, EntryKind::Command, payload, leaf);
            place = entry.position();
            entries.push(entry);
        }
        let (session, prev, round) = (ReplicationSession(3), LogId::default(), Round(4));
        let append = AppendEntries { session, prev, entries, commit: Index(1), round, sent_at: Time(5) };
        let bytes = rmp_serde::to_vec_named(&append).expect("it is written");
        assert_eq!(rmp_serde::from_slice::<AppendEntries>(&bytes).expect("it is read"), append);
        let text = String::from_utf8_lossy(&bytes).replace("three", "three?");
        assert!(
            rmp_serde::from_slice::<AppendEntries>(text.as_bytes()).is_err(),
            "the run of entries is damaged"
        );
    }
}
