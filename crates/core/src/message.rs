//! What nodes say to each other. Each body tells who sends it and what the receiver may conclude.
//!
//! Serialised with serde; over the bridge that is MessagePack with named fields, while the entries of an
//! [`Append`] travel as one byte string in the form they have on disk.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::entry::{Entry, LogId, decode_run, encode_run};
use crate::ids::{Boot, Index, NodeId, ReplicationSession, Round, Term, Time};

/// A message from one replica of a group to another.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Message {
    /// Who says it.
    pub from: NodeId,
    /// Whom it is for.
    pub to: NodeId,
    /// The sender's boot number (`safety.md` 5).
    pub boot: Boot,
    /// The sender's current term, durable before this message left.
    pub term: Term,
    /// What is said.
    pub body: Body,
}

/// The kinds of message.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Body {
    /// From a candidate.
    VoteRequest(VoteRequest),
    /// From whoever was asked for a vote.
    VoteReply(VoteReply),
    /// From the leader; without entries it is the heartbeat.
    Append(Append),
    /// From whoever received an [`Append`].
    AppendReply(AppendReply),
    /// From a leader that hands leadership over: stand now, past pre-vote and stickiness (Raft thesis section 3.10).
    TimeoutNow,
    /// From a follower that serves a read or leaves `Recovering`: which index must I have applied, or hold?
    ReadIndexRequest(ReadIndexRequest),
    /// From the leader, once a quorum confirmed that it still leads.
    ReadIndexReply(ReadIndexReply),
}

/// Pre-vote or vote (Raft thesis section 9.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum VoteKind {
    /// Would you vote for me? Changes nothing at the receiver.
    Pre,
    /// Vote for me.
    Real,
}

/// A candidate asks for a vote.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct VoteRequest {
    /// Pre-vote or vote.
    pub kind: VoteKind,
    /// The term the candidate would lead, or stands for.
    pub campaign: Term,
    /// The candidate's last entry.
    pub last: LogId,
    /// The leader asked for this campaign: leader stickiness does not apply.
    pub forced: bool,
}

/// The answer to a [`VoteRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct VoteReply {
    /// Of the request.
    pub kind: VoteKind,
    /// Of the request: a reply to an earlier campaign is not counted in a later one.
    pub campaign: Term,
    /// Yes or no.
    pub granted: bool,
}

/// The leader sends entries, or with none its heartbeat.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Append {
    /// Which run of the replicator sends it.
    pub session: ReplicationSession,
    /// The entry before the first one sent.
    pub prev: LogId,
    /// Contiguous, from `prev.index + 1`.
    #[serde(with = "run")]
    pub entries: Vec<Entry>,
    /// The leader's commit index.
    pub commit: Index,
    /// The newest round of leadership confirmation the leader had begun when it sent this.
    pub round: Round,
    /// The leader's clock when it sent this, returned as it came.
    pub sent_at: Time,
}

/// The answer to an [`Append`], sent once what it claims is durable.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AppendReply {
    /// Of the request.
    pub session: ReplicationSession,
    /// Of the request.
    pub round: Round,
    /// Of the request.
    pub sent_at: Time,
    /// What came of it.
    pub result: AppendResult,
}

/// What came of an [`Append`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AppendResult {
    /// Everything up to `index` agrees with the leader's log and is on this node's disk.
    Matched {
        /// The last index that does.
        index: Index,
    },
    /// The entry at `prev` is missing or of another term.
    Conflict {
        /// The greatest entry at or before `prev` whose term is not above `prev`'s: the next place worth probing.
        hint: LogId,
        /// The last index this node has.
        last: Index,
    },
    /// The disk is full; nothing was taken in (`safety.md` 16).
    NoSpace,
}

/// A follower asks the leader for a read index (Raft thesis section 6.4).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ReadIndexRequest {
    /// Chosen by the asker, unique per boot; returned as it came.
    pub id: u64,
    /// The asker has lost entries it may have acknowledged: the quorum that confirms must not count it
    /// (`safety.md` 5).
    pub recovering: bool,
}

/// The answer to a [`ReadIndexRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ReadIndexReply {
    /// Of the request.
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
            Self::Append(a) if a.entries.is_empty() => "Heartbeat",
            Self::Append(_) => "Append",
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
            Body::Append(a) => {
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
        let append = Append { session, prev, entries, commit: Index(1), round, sent_at: Time(5) };
        let bytes = rmp_serde::to_vec_named(&append).expect("it is written");
        assert_eq!(rmp_serde::from_slice::<Append>(&bytes).expect("it is read"), append);
        let text = String::from_utf8_lossy(&bytes).replace("three", "three?");
        assert!(rmp_serde::from_slice::<Append>(text.as_bytes()).is_err(), "a run of entries that is none");
    }
}
