//! What Group hears.

use quorate_core::{
    Entry, Epoch, Incarnation, Index, Membership, NodeId, PeerLink, Position, RoleEvent, Term,
};
use quorate_store::{LoadedGroup, StoreError};
use ractor::{ActorRef, RpcReplyPort};

use crate::machine::Snapshot;
use crate::messages::role::{EndedRole, RoleStatus, TransferPort};
use crate::messages::snapshotter::TakenPort;
use crate::messages::store::AnswerPort;

/// The address of a group's actor.
pub(crate) type GroupRef = ActorRef<GroupMessage>;

/// A captured machine.
pub(crate) struct Captured {
    pub(crate) at: Position,
    pub(crate) time_ms: u64,
    pub(crate) membership: Option<Membership>,
    pub(crate) state: Snapshot,
}

/// What Group hears.
pub(crate) enum GroupMessage {
    /// From a sender with a stale route, or a role that ended: for the current role. With `epoch`, only if that is the
    /// current one.
    ForRole { epoch: Option<Epoch>, event: RoleEvent },
    /// From the role: the leader it follows, or itself.
    LeaderKnown { epoch: Epoch, leader: Option<NodeId>, term: Term },
    /// From the role: it ended.
    RoleEnded(EndedRole),
    /// From the role: another membership is in force.
    MembershipChanged(Membership),
    /// From the role: the membership in force, of this index, is committed.
    MembershipCommitted(Index),
    /// From its own timer: who left with the membership of this index is no peer any more.
    ForgetLeft(Index),
    /// From the log store: the position the role asked for; `None` if the read failed.
    Located(Option<Position>),
    /// From the log store: what is on disk.
    Loaded { epoch: Epoch, result: Result<LoadedGroup, StoreError> },
    /// From the applier: it runs, and this is the last index it applied.
    ApplierReady { applied: Index },
    /// From the applier: its machine after an entry, or why it could not be captured. The membership is `None` where no entry has changed
    /// the founding one.
    Captured(Result<Captured, String>),
    /// From the role: the log no longer has what the machine lacks.
    RestoreMachine,
    /// From a handle: take a snapshot now.
    TakeSnapshot(TakenPort),
    /// From its own timer: start the snapshotter again.
    RestartSnapshotter(u64),
    /// From the group on another node: its machine faulted and stays down.
    PeerFaulted { peer: NodeId, index: u64 },
    /// From the door: a peer sends entries that this build cannot read; `None` when it can read some again.
    EntriesUnreadable(Option<String>),
    /// From Node: the link to this peer rose or fell.
    Link { peer: NodeId, link: PeerLink },
    /// From Node: the link to this peer is up, so each of the two has the other's incarnation on its disk.
    PeerKnown { peer: NodeId, incarnation: Incarnation },
    /// From Node: the log store is being restarted.
    StoreAway,
    /// From Node: the log store is back.
    StoreBack,
    /// From handles, and from Node when it stops: hand leadership over.
    Transfer { to: Option<NodeId>, reply: Option<TransferPort> },
    /// From handles and the node's status.
    Inspect(RpcReplyPort<RoleStatus>),
    /// From a handle: entries of the log, for people to look at.
    ReadLog { from: Index, through: Index, reply: AnswerPort<Vec<Entry>> },
    /// From Node when it stops: take no more proposals; answered once every waiting caller was answered, or cannot be.
    Close { detail: String, reply: RpcReplyPort<()> },
    /// From its own timer: start the role again.
    RestartRole(Epoch),
    /// From its own timer: start the applier with this number.
    RestartApplier(u64),
    /// From its own timer: if there is still no leader, say so.
    LookForLeader(u64),
    /// From its own timer: tell the peers again that the machine of this node faulted, and see whether the group still is.
    RepeatFault,
    /// From tests and `quorate actors stop --panic`: panic, as a bug would.
    Panic,
}
