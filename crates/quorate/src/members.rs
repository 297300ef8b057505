//! What a leader is asked of the members, and what it answers; as it travels between nodes, too.

use quorate_core::{Change, Hash, Incarnation, Member, NodeId};
use serde::{Deserialize, Serialize};

use crate::error::ChangeError;

/// What a leader is asked of the members. Only a leader answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum MembersCall {
    /// Who are they?
    View,
    /// Change them; only if the membership in force is of index `expected`, where one is given.
    Change {
        /// The change.
        order: MembersOrder,
        /// The index of the membership that it is meant for.
        expected: Option<u64>,
    },
    /// From a process that is to join: take it in, or say how far it is.
    Join(JoinRequest),
}

/// A change that a leader is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum MembersOrder {
    /// This one.
    Change(Change),
    /// The process that waits under the name of this member takes its place.
    ReplaceByJoiner(NodeId),
}

/// What a process that is to join says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JoinRequest {
    /// The cluster that its data directory is of.
    pub(crate) cluster: Hash,
    pub(crate) node: NodeId,
    pub(crate) raft: String,
    pub(crate) api: String,
    pub(crate) incarnation: Incarnation,
    /// Its data directory began as that of a node that joins: it has founded no group.
    pub(crate) has_joined: bool,
    /// It wants to be a voter once it has caught up.
    pub(crate) votes: bool,
}

impl JoinRequest {
    pub(crate) fn member(&self) -> Member {
        Member {
            raft: self.raft.clone(),
            api: self.api.clone(),
            incarnation: self.incarnation,
            ..Member::default()
        }
    }
}

/// How far a process that joins is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum JoinAnswer {
    /// It is not taken in yet; it asks again.
    Waits(String),
    /// It cannot be taken in as it is.
    Never(String),
    /// It is a learner, and lacks so many entries.
    Learner { lag: Option<u64> },
    /// It is a learner that lost its vote by command.
    Demoted,
    /// It is a voter.
    Voter,
}

/// What a leader answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum MembersAnswer {
    View(MembersView),
    /// The change has ended: the membership of this index is committed.
    Changed {
        index: u64,
    },
    NotChanged(ChangeError),
    Join(JoinAnswer),
}

impl MembersAnswer {
    /// Without incarnations.
    pub(crate) fn for_clients(mut self) -> Self {
        if let Self::View(view) = &mut self {
            view.members.iter_mut().for_each(|member| member.incarnation = Incarnation::default());
            view.waiting.iter_mut().for_each(|joiner| joiner.incarnation = Incarnation::default());
        }
        self
    }
}

/// The members of a group as its leader has them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MembersView {
    /// The leader, which answered.
    pub leader: NodeId,
    /// Its term.
    pub term: u64,
    /// The index of the membership in force: what a change may name as the one it is meant for.
    pub index: u64,
    /// A change is under way: it is not committed yet, or only its first half is.
    pub under_way: bool,
    /// Every member, by id.
    pub members: Vec<MemberView>,
    /// Processes that ask to be taken in and are not, by id.
    pub waiting: Vec<JoinerView>,
}

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum MemberKind {
    /// It votes.
    Voter,
    /// It receives the log and has no vote.
    Learner,
    /// It votes, and has no vote once the change under way has ended.
    Outgoing,
}

/// A member as the leader sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberView {
    /// Its node id.
    pub id: NodeId,
    /// Where its bridge is dialled, `host:port`.
    pub raft: String,
    /// Where its API listens, `host:port`; empty if it has none.
    pub api: String,
    /// What it is.
    pub kind: MemberKind,
    /// The incarnation of its data directory; zero until it is known.
    pub incarnation: Incarnation,
    /// Entries of the leader's log that it is not known to have on disk; zero for the leader. `None` before it has answered this leader.
    pub lag: Option<u64>,
    /// The leader's link to it is up. True for the leader.
    pub connected: bool,
}

/// A process that waits to be taken in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinerView {
    /// Its node id.
    pub id: NodeId,
    /// Where its bridge is dialled, `host:port`.
    pub raft: String,
    /// The incarnation of its data directory.
    pub incarnation: Incarnation,
    /// Why it was not taken in when it last asked.
    pub reason: String,
}
