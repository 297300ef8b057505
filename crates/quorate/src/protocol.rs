//! The protocol between the nodes of a group over the bridge (`docs/formats.md`).

use bytes::Bytes;
use quorate_bridge::{Encoding, Protocol};
use quorate_core::{GroupId, NodeId};
use serde::{Deserialize, Serialize};

use crate::error::{ProposeError, QueryError};
use crate::members::{MembersAnswer, MembersCall};

/// How fresh an answer must be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Consistency {
    /// Reflects everything that was acknowledged before the query was asked: the leader confirms that it leads
    /// (ReadIndex, Raft thesis section 6.4).
    #[default]
    Linearizable,
    /// The present state of the machine of the node that answers. It may be old, and is never older than what that node has
    /// known to be committed, also before it was last stopped. The next answer may be older if another node gives it.
    Stale,
}

/// What this build takes part in, as peers are told. 1: it ends a change of the members that it finds half done.
pub(crate) const LEVEL: u16 = 1;

/// The protocol of one group. Bodies are maps with named fields; entries travel as one byte string.
#[derive(Debug)]
pub(crate) struct GroupProtocol;

impl Protocol for GroupProtocol {
    type Message = Request;
    type Reply = Response;
    const NAME: &'static str = "quorate.group";
    const VERSION: u16 = 2;
    const ENCODING: Encoding = Encoding::Named;
}

/// From one node, or a client, to a group on another node.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Cast: a message of the protocol by which the group agrees. Only the roles read it (`role/codec.rs`).
    Consensus { protocol: u8, message: Bytes },
    /// Call: a proposal from a node that does not lead, one hop; never forwarded again.
    Propose { payload: Bytes },
    /// Call: a query from a client.
    Query { query: Bytes, consistency: Consistency },
    /// Call: who are the members? From a client, of any node.
    Members,
    /// Call: what only a leader answers about the members. A build that does not take part in changes cannot read it.
    Membership(MembersCall),
    /// Call: a part of a snapshot from `offset` on; of the one that ends at this place, or, where that is gone or not known (zero, no
    /// chain hash), of the newest if it reaches `least`. A build without snapshots cannot read it, and has no log that lacks anything.
    SnapshotPart { index: u64, term: u64, chain: Bytes, least: u64, offset: u64 },
    /// Cast: the machine of `node`, the sender, faulted at this index and stays down.
    Faulted { node: NodeId, index: u64 },
}

/// The answer to a call.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Response {
    Applied {
        reply: Bytes,
        index: u64,
        term: u64,
    },
    /// `applied` is zero from a node of an earlier build.
    Answered {
        answer: Bytes,
        #[serde(default)]
        applied: u64,
    },
    /// A part of the file of the snapshot that ends at this place, as it is on disk.
    SnapshotPart {
        index: u64,
        term: u64,
        chain: Bytes,
        /// Tells this file from another one of the same place; empty from a node of an earlier build.
        #[serde(default)]
        file: Bytes,
        file_bytes: u64,
        offset: u64,
        bytes: Bytes,
    },
    /// This node has none that helps.
    NoSnapshot,
    NotApplied(ProposeError),
    NotAnswered(QueryError),
    Members {
        leader: Option<NodeId>,
        members: Vec<MemberAddress>,
    },
    Membership(MembersAnswer),
}

/// A member, and where its bridge is dialled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MemberAddress {
    pub(crate) id: NodeId,
    pub(crate) raft: String,
}

/// The name under which a group is exposed.
pub(crate) fn exposed_name(group: GroupId) -> String {
    format!("group/{group}")
}
