//! The messages between replicas of a group: who sends each, and what the receiver may conclude.
//!
//! [`Message::encode`] is the form they travel in. A transport carries these bytes and does not look inside.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::entries::Entries;
use crate::entry::{Entry, EntryError, Hash, LogId};
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
    /// In a pre-vote: how far the candidate's machine has come, for voters whose machine has come much further and who could
    /// lead as well. Absent in what a node says that insists, and in a vote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<MachineProgress>,
}

/// How far the state machine of a node has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MachineProgress {
    /// The last index that it applied.
    pub index: Index,
    /// It has been given entries and has applied none of them for several election timeouts, or it is down.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stuck: bool,
}

/// The answer to a [`VoteRequest`].
#[expect(
    clippy::struct_excessive_bools,
    reason = "a map on the wire, in which a flag is only said when it is so"
)]
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct VoteReply {
    /// Copied from the request.
    pub kind: VoteKind,
    /// Copied from the request: a reply to an earlier campaign does not count in a later one.
    pub campaign: Term,
    /// Whether the vote is given (or, in a pre-vote, would be).
    pub granted: bool,
    /// In a pre-vote: refused because the sender's machine has come much further, and it could lead as well.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leads_better: bool,
    /// Refused because the sender lost entries and takes part in no election (`safety.md` 5). For who looks for the reason why there is
    /// no leader: nothing is decided by it. Only said when it is so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recovering: bool,
    /// Refused because the candidate has no vote in the membership that is committed at the sender, whose log has all of the
    /// candidate's. Only said when it is so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_voter: bool,
}

/// AppendEntries of the paper: entries from the leader, or without any its heartbeat.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AppendEntries {
    /// The replication session: which run of the replicator sends it.
    pub session: ReplicationSession,
    /// The entry before the first one sent (prevLogIndex and prevLogTerm of the paper).
    pub prev: LogId,
    /// Contiguous, from `prev.index + 1`. They travel behind the rest of the message, in the form they have on disk.
    #[serde(skip)]
    pub entries: Entries,
    /// The leader's commit index (leaderCommit).
    pub commit: Index,
    /// The newest round of leadership confirmation the leader had begun when it sent this.
    pub round: Round,
    /// The leader's clock when it sent this. The reply returns it unchanged.
    pub sent_at: Time,
    /// The leader's log no longer has what this peer lacks: `prev` is where its newest snapshot ends, and this is the chain hash
    /// there. A peer that does not have `prev` fetches that snapshot. A build without snapshots does not read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<Hash>,
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
    /// Its disk has no room for commands: it is no one to hand leadership to for the sake of room (`safety.md` 16). Only said
    /// when it is so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disk_full: bool,
    /// It lost entries and takes part in no election (`safety.md` 5). Only said when it is so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recovering: bool,
    /// Its machine has faulted and stays down. Only said when it is so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub machine_down: bool,
    /// The last index that its machine had applied; absent in a refusal, and from a build that does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<Index>,
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
    /// The entries do not fit the log here, by bytes that should be the same: one side is damaged, or a bug wrote them. Nothing
    /// was appended, and the same entries will be refused again.
    Refused {
        /// The index of the first entry that does not fit.
        at: Index,
    },
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
            Body::VoteReply(v) => {
                write!(f, " campaign={} granted={}", v.campaign, v.granted)?;
                write!(f, "{}", if v.leads_better { " leads_better" } else { "" })?;
                write!(f, "{}", if v.no_voter { " no_voter" } else { "" })?;
                if v.recovering { write!(f, " recovering") } else { Ok(()) }
            }
            Body::AppendEntries(a) => {
                write!(f, " prev={} commit={} round={}", a.prev, a.commit, a.round)?;
                match (a.entries.first(), a.entries.last()) {
                    (Some(first), Some(last)) => write!(f, " entries={}..{}", first.log_id(), last.log_id()),
                    _ if a.snapshot.is_some() => write!(f, " snapshot"),
                    _ => Ok(()),
                }
            }
            Body::AppendReply(a) => {
                match &a.result {
                    AppendResult::Matched { index } => write!(f, " matched={index}")?,
                    AppendResult::Conflict { hint, last } => write!(f, " conflict hint={hint} last={last}")?,
                    AppendResult::NoSpace => write!(f, " no_space")?,
                    AppendResult::Refused { at } => write!(f, " refused at={at}")?,
                }
                write!(f, " round={}{}", a.round, if a.disk_full { " disk_full" } else { "" })?;
                if a.machine_down {
                    write!(f, " machine_down")?;
                }
                if a.recovering { write!(f, " recovering") } else { Ok(()) }
            }
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

/// Why bytes are not a message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// The bytes end before the head does.
    #[error("message cut short: {bytes} bytes")]
    Short {
        /// How many there are.
        bytes: usize,
    },
    /// The head is longer than a head of any kind can be.
    #[error("the head of a message claims {bytes} bytes, at most {HEAD_BYTES_MAX} are read")]
    LongHead {
        /// What it claims.
        bytes: usize,
    },
    /// The head is not a message of this build.
    #[error("message cannot be decoded: {0}")]
    Head(#[from] rmp_serde::decode::Error),
    /// More bytes in the head than the message in it.
    #[error("bytes behind the message in its head")]
    LooseHead,
    /// An entry is damaged, or of a build that knows more.
    #[error("the entry at index {index} cannot be read: {error}")]
    Entries {
        /// Its index.
        index: Index,
        /// What is wrong with it.
        error: EntryError,
    },
    /// Only an [`AppendEntries`] carries entries.
    #[error("{bytes} bytes of entries behind a message that carries none")]
    Trailing {
        /// How many bytes follow the head.
        bytes: usize,
    },
}

/// Bytes of a head, about: the capacity to begin with.
const HEAD_BYTES: usize = 192;

/// The longest head that is read. A head has two node names and numbers, no list and no payload: under 600 bytes today. The
/// bound keeps short what an error repeats of it.
const HEAD_BYTES_MAX: usize = 2048;

/// How deep maps are nested in a head that is read: today's have five levels.
const HEAD_DEPTH_MAX: usize = 32;

impl Message {
    /// Whether its sender recovers from lost entries, as far as the message says: where it refuses a vote, where it answers a leader, and
    /// where it asks for the index that would end it.
    /// One that campaigns or leads does not.
    pub fn says_recovering(&self) -> Option<bool> {
        match &self.body {
            Body::VoteReply(reply) => Some(reply.recovering),
            Body::AppendReply(reply) => Some(reply.recovering),
            Body::VoteRequest(_) | Body::AppendEntries(_) => Some(false),
            Body::ReadIndexRequest(request) => request.recovering.then_some(true),
            Body::TimeoutNow | Body::ReadIndexReply(_) => None,
        }
    }

    /// Whether entries came with it.
    pub fn has_entries(&self) -> bool {
        matches!(&self.body, Body::AppendEntries(append) if !append.entries.is_empty())
    }

    /// The length of the head (four bytes, big-endian), the head in MessagePack with named fields, and behind it the
    /// entries of an [`AppendEntries`], as they were made where they were appended.
    pub fn encode(&self) -> Bytes {
        let entries: &[u8] = match &self.body {
            Body::AppendEntries(append) => append.entries.bytes(),
            Body::VoteRequest(_)
            | Body::VoteReply(_)
            | Body::AppendReply(_)
            | Body::TimeoutNow
            | Body::ReadIndexRequest(_)
            | Body::ReadIndexReply(_) => &[],
        };
        let mut out = BytesMut::with_capacity(HEAD_BYTES + entries.len());
        out.put_u32(0);
        let head = rmp_serde::encode::write_named(&mut (&mut out).writer(), self);
        head.expect("a message has only maps, strings and numbers");
        let length = u32::try_from(out.len() - 4).expect("a head has no list and no payload");
        out[..4].copy_from_slice(&length.to_be_bytes());
        out.put_slice(entries);
        out.freeze()
    }

    /// Reads what [`encode`](Self::encode) wrote. The entries' payloads are slices of `bytes`; their chain is not checked.
    pub fn decode(bytes: &Bytes) -> Result<Self, MessageError> {
        let short = MessageError::Short { bytes: bytes.len() };
        let Some((length, rest)) = bytes.split_first_chunk::<4>() else { return Err(short) };
        let length = u32::from_be_bytes(*length) as usize;
        if length > HEAD_BYTES_MAX {
            return Err(MessageError::LongHead { bytes: length });
        }
        let Some(head) = rest.get(..length) else { return Err(short) };
        let mut message = decode_head(head)?;
        let entries = bytes.slice(4 + length..);
        if let Body::AppendEntries(append) = &mut message.body {
            append.entries = Entries::decode(entries.clone()).map_err(|error| MessageError::Entries {
                index: Index(append.prev.index.0.saturating_add(1 + entries_before_error(&entries))),
                error,
            })?;
        } else if !entries.is_empty() {
            return Err(MessageError::Trailing { bytes: entries.len() });
        }
        Ok(message)
    }
}

/// How many entries at the beginning of `run` can be read.
fn entries_before_error(run: &Bytes) -> u64 {
    let (mut offset, mut count) = (0, 0);
    while let Ok((_, end)) = Entry::decode(run, offset) {
        (offset, count) = (end, count + 1);
    }
    count
}

/// `rmp_serde::from_slice` would take what follows the value and nest 1,024 levels deep.
fn decode_head(head: &[u8]) -> Result<Message, MessageError> {
    let mut decoder = rmp_serde::Deserializer::from_read_ref(head);
    decoder.set_max_depth(HEAD_DEPTH_MAX);
    let message = Message::deserialize(&mut decoder)?;
    // The decoder does not say where it stopped, but reading a further value fails at its marker only at the end.
    match bool::deserialize(&mut decoder) {
        Err(rmp_serde::decode::Error::InvalidMarkerRead(_)) => Ok(message),
        Ok(_) | Err(_) => Err(MessageError::LooseHead),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{EntryKind, Position};

    /// A head of `head`, and nothing behind it.
    fn with_head(head: &[u8]) -> Bytes {
        let length = u32::try_from(head.len()).expect("short");
        Bytes::from([&length.to_be_bytes()[..], head].concat())
    }

    #[test]
    fn a_head_is_bounded_in_length_depth_and_by_its_end() {
        let node = |name| NodeId::new(name).expect("a name");
        let (from, to) = (node("a"), node("b"));
        let beat = Message { from, to, boot: Boot(6), term: Term(2), body: Body::TimeoutNow };
        let head = beat.encode()[4..].to_vec();
        assert_eq!(Message::decode(&with_head(&head)).expect("it is read"), beat);

        let junk = [&head[..], &[0xc0]].concat();
        assert!(matches!(Message::decode(&with_head(&junk)), Err(MessageError::LooseHead)));

        // A map whose one key is a name that serde would repeat in its error.
        let name = "x".repeat(HEAD_BYTES_MAX);
        let long =
            rmp_serde::to_vec_named(&std::collections::BTreeMap::from([("body", name)])).expect("bytes");
        let error = Message::decode(&with_head(&long)).expect_err("too long");
        assert!(matches!(error, MessageError::LongHead { .. }), "{error}");
        assert!(Message::decode(&with_head(&long[..64])).expect_err("cut").to_string().len() < 4096);

        // A field that no build knows, nested as deep as the head has bytes.
        let mut deep = vec![0x81, 0xa1, b'z'];
        deep.resize(HEAD_BYTES_MAX, 0x91);
        let error = Message::decode(&with_head(&deep)).expect_err("too deep");
        let is_depth = matches!(error, MessageError::Head(rmp_serde::decode::Error::DepthLimitExceeded));
        assert!(is_depth, "{error}");
    }

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
        let entries = entries.into();
        let append = AppendEntries {
            session,
            prev,
            entries,
            commit: Index(1),
            round,
            sent_at: Time(5),
            snapshot: None,
        };
        let node = |name| NodeId::new(name).expect("a name");
        let (from, to, body) = (node("a"), node("b"), Body::AppendEntries(append));
        let message = Message { from, to, boot: Boot(6), term: Term(2), body };
        let bytes = message.encode();
        assert_eq!(Message::decode(&bytes).expect("it is read"), message);
        for cut in 0..bytes.len() {
            // A cut between two entries leaves an AppendEntries with fewer of them; the transport checks the length.
            if let Ok(shorter) = Message::decode(&bytes.slice(..cut)) {
                assert_ne!(shorter, message, "cut at {cut}");
            }
        }
        let beat = Message { body: Body::TimeoutNow, ..message };
        let longer = Bytes::from([&beat.encode()[..], &bytes[bytes.len() - 64..]].concat());
        assert!(matches!(Message::decode(&longer), Err(MessageError::Trailing { bytes: 64 })));
    }
}
