//! What the role actors hear, what they report, and the address of the role that runs.

use quorate_core::{
    Become, Epoch, Incarnation, Index, NodeId, Proposal, ReplicaState, ReplicationSession, RoleEvent,
    Standing, TransferRefusal,
};
use ractor::{ActorCell, ActorRef, MessagingErr, RpcReplyPort};
use serde::{Deserialize, Serialize};

use crate::members::MembersCall;
use crate::messages::members::MembersPort;
use crate::no_space::full_voters;
use crate::ports::{ProposalPort, QueryPort};

/// What a follower or candidate hears.
pub(crate) enum RoleMessage {
    /// From Sessions, the log store, the applier and Group: what every role hears.
    Event(RoleEvent),
    /// From a handle or a Session: linearizable queries.
    Read(Vec<QueryPort>),
    /// From itself: ask for a read index for the queries that are queued.
    FlushReads,
    /// From its own timer, with the generation of the timer that fired.
    Tick(u64),
    /// From the node's status.
    Inspect(RpcReplyPort<RoleStatus>),
    /// From tests and `quorate actors stop --panic`: panic, as a bug would.
    Panic,
}

/// A command with the port its answer goes to.
pub(crate) struct Submission {
    pub(crate) proposal: Proposal,
    pub(crate) port: ProposalPort,
}

/// Answers an order to hand leadership over: who is to lead, or why no one is.
pub(crate) type TransferPort = RpcReplyPort<Result<NodeId, TransferRefusal>>;

/// What a leader hears.
pub(crate) enum LeaderMessage {
    /// From Sessions, the log store, the applier and Group: what every role hears.
    Event(RoleEvent),
    /// From a handle or a Session: commands to append.
    Propose(Vec<Submission>),
    /// From itself: append the proposals that are queued.
    Flush,
    /// From a handle or a Session: linearizable queries.
    Read(Vec<QueryPort>),
    /// From itself: ask for a read index for the queries that are queued.
    FlushReads,
    /// From a replicator: entries from `from` on are needed.
    Fetch { peer: NodeId, session: ReplicationSession, from: Index, bytes_max: usize },
    /// From Group: hand leadership over.
    Transfer { to: Option<NodeId>, reply: Option<TransferPort> },
    /// From handles and Sessions: about the members.
    Members(MembersCall, MembersPort),
    /// From Group: a peer's incarnation is known and durable on this node.
    PeerKnown { peer: NodeId, incarnation: Incarnation },
    /// From its own timer, with the generation of the timer that fired.
    Tick(u64),
    /// From the node's status.
    Inspect(RpcReplyPort<RoleStatus>),
    /// From tests and `quorate actors stop --panic`: panic, as a bug would.
    Panic,
}

/// The address of the role actor that runs.
#[derive(Debug, Clone)]
pub(crate) enum RoleRef {
    Follower(ActorRef<RoleMessage>),
    Candidate(ActorRef<RoleMessage>),
    Leader(ActorRef<LeaderMessage>),
}

impl RoleRef {
    /// Tells the role; gives the event back if its mailbox is closed.
    pub(crate) fn tell(&self, event: RoleEvent) -> Result<(), RoleEvent> {
        use MessagingErr::SendErr;
        match self {
            Self::Follower(actor) | Self::Candidate(actor) => match actor.cast(RoleMessage::Event(event)) {
                Err(SendErr(RoleMessage::Event(event))) => Err(event),
                _ => Ok(()),
            },
            Self::Leader(actor) => match actor.cast(LeaderMessage::Event(event)) {
                Err(SendErr(LeaderMessage::Event(event))) => Err(event),
                _ => Ok(()),
            },
        }
    }

    /// Asks the role to answer linearizable queries; gives the ports back if its mailbox is closed.
    pub(crate) fn read(&self, ports: Vec<QueryPort>) -> Result<(), Vec<QueryPort>> {
        use MessagingErr::SendErr;
        match self {
            Self::Follower(actor) | Self::Candidate(actor) => match actor.cast(RoleMessage::Read(ports)) {
                Err(SendErr(RoleMessage::Read(ports))) => Err(ports),
                _ => Ok(()),
            },
            Self::Leader(actor) => match actor.cast(LeaderMessage::Read(ports)) {
                Err(SendErr(LeaderMessage::Read(ports))) => Err(ports),
                _ => Ok(()),
            },
        }
    }

    pub(crate) fn inspect(&self, reply: RpcReplyPort<RoleStatus>) {
        // If the role ended, the port is dropped and the status has no role.
        let _ = match self {
            Self::Follower(actor) | Self::Candidate(actor) => actor.cast(RoleMessage::Inspect(reply)).is_ok(),
            Self::Leader(actor) => actor.cast(LeaderMessage::Inspect(reply)).is_ok(),
        };
    }

    pub(crate) fn cell(&self) -> ActorCell {
        match self {
            Self::Follower(actor) | Self::Candidate(actor) => actor.get_cell(),
            Self::Leader(actor) => actor.get_cell(),
        }
    }
}

/// What a role leaves behind for Group, which starts the next one with it.
#[derive(Debug)]
pub(crate) struct EndedRole {
    pub(crate) epoch: Epoch,
    /// Its name.
    pub(crate) from: &'static str,
    pub(crate) state: Box<ReplicaState>,
    pub(crate) next: Become,
}

/// What a role reports about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleStatus {
    /// `follower`, `candidate` or `leader`.
    pub role: String,
    /// Whether it may vote and campaign.
    pub standing: Standing,
    /// The current term.
    pub term: u64,
    /// The first index that the log still has, or will have.
    #[serde(default)]
    pub first: u64,
    /// Where the newest snapshot on this node's disk ends; zero if there is none.
    #[serde(default)]
    pub snapshot: u64,
    /// The last index of the log.
    pub last: u64,
    /// The last index on this node's disk.
    pub durable: u64,
    /// The commit index.
    pub commit: u64,
    /// The last index the state machine applied.
    pub applied: u64,
    /// Entries that are committed and not applied by the state machine of this node.
    #[serde(default)]
    pub apply_lag: u64,
    /// Bytes of those of them that are in memory. Entries that are only on disk are not counted.
    #[serde(default)]
    pub apply_lag_bytes: usize,
    /// The chain hash of the log's end, as hex.
    pub chain: String,
    /// The members of the membership in force, by node id.
    pub members: Vec<MemberStatus>,
    /// Every peer, as the leader sees it; empty on a follower or candidate.
    pub peers: Vec<quorate_core::PeerStatus>,
    /// The membership in force says that this node was removed.
    #[serde(default)]
    pub removed: bool,
    /// Members that this node, which has never taken part, must reach once before it does; empty unless `founding`.
    #[serde(default)]
    pub waits_for: Vec<String>,
    /// Peers that last said that they recover: they give no vote.
    #[serde(default)]
    pub recovering: Vec<String>,
    /// The voters whose full disks keep this leader from committing anything new; empty while there is room at a majority, and on a
    /// follower or candidate.
    #[serde(default)]
    pub full_voters: Vec<String>,
}

impl RoleStatus {
    /// What keeps this leader from committing although its own disk has room: which disks are full, and what to do.
    pub fn lacks_room(&self) -> Option<String> {
        (!self.full_voters.is_empty()).then(|| full_voters(&self.full_voters))
    }
}

/// A member as the membership in force has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberStatus {
    /// Its node id.
    pub id: String,
    /// The address at which its bridge listens.
    pub raft: String,
    /// The address at which its API listens, or empty.
    pub api: String,
    /// Whether it votes.
    pub voter: bool,
    /// Its incarnation; zero while the membership does not carry it.
    pub incarnation: u64,
}
