//! What a role asks of its shell, and the events that every role is told.

use serde::{Deserialize, Serialize};

use crate::change::ChangeRefusal;
use crate::durability::{Persist, SnapshotBase};
use crate::entry::{Entry, EntryError, LogId, Position};
use crate::ids::{Index, NodeId, ReplicationSession, Sequence, Term};
use crate::membership::Membership;
use crate::message::Message;
use crate::replicator::ReplicatorEvent;

/// The effects of one step, in the order in which they must be carried out.
pub type Effects = Vec<Effect>;

/// What the shell of a role must do. A role has no other way to act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Write this, and answer with [`RoleEvent::Persisted`] once it is on disk.
    Persist(Persist),
    /// Send this to its addressee. It may be lost.
    Send(Message),
    /// Hand these committed entries to the applier, which answers with [`RoleEvent::Applied`].
    Apply {
        /// Contiguous. The applier skips those it has applied before.
        entries: Vec<Entry>,
    },
    /// Read the log from disk and give it to `reader`.
    ReadLog {
        /// Where the entries go.
        reader: Reader,
        /// The first index wanted.
        from: Index,
        /// The last index wanted.
        through: Index,
        /// About how many bytes, at most (but at least one entry).
        bytes_max: usize,
    },
    /// The log on this node's disk now reaches as far as the snapshot that was written last, which ends here: publish it, and
    /// answer with [`RoleEvent::SnapshotReady`].
    PublishSnapshot(Index),
    /// Forget the log up to here, on disk. This replica has forgotten it.
    Compact {
        /// The last index that goes.
        through: Index,
    },
    /// Fetch a snapshot from another node, unless this node has one that helps, and answer with [`RoleEvent::SnapshotReady`].
    FetchSnapshot(SnapshotWanted),
    /// The log begins behind what the machine has applied: make the machine of the newest snapshot, and answer with
    /// [`RoleEvent::ApplierRestarted`].
    RestoreMachine,
    /// Start a replicator for this peer, in place of any earlier one.
    StartReplicator {
        /// The peer to replicate to.
        peer: NodeId,
        /// Its replication session: acknowledgements that carry another one do not count.
        session: ReplicationSession,
        /// Where it begins to probe: the last entry before the no-op of a new leader, which no peer can have yet.
        prev: LogId,
    },
    /// Stop the replicator of this peer.
    StopReplicator {
        /// The peer of the replicator.
        peer: NodeId,
    },
    /// Step the replicator of this peer.
    ToReplicator {
        /// The peer of the replicator.
        peer: NodeId,
        /// The event it is told.
        event: ReplicatorEvent,
    },
    /// The first `count` proposals that were not answered yet are appended, in order, from `first` on.
    Accepted {
        /// The index of the first.
        first: Index,
        /// The term of all.
        term: Term,
        /// The number of proposals.
        count: usize,
    },
    /// The next `count` proposals that were not answered yet are refused: none of them entered the log.
    Refused {
        /// The number of proposals.
        count: usize,
        /// Why they were refused.
        reason: Refusal,
    },
    /// A transfer of leadership that was asked for has begun.
    TransferBegun {
        /// Who is to lead.
        to: NodeId,
    },
    /// A transfer of leadership that was asked for was not begun.
    TransferRefused(TransferRefusal),
    /// A change of the members that was asked for is in this leader's log, and in force. It has ended once a membership that is not
    /// joint is committed at this index or after it; what was begun can still be lost with its leader.
    ChangeBegun {
        /// The index of its first entry.
        index: Index,
    },
    /// A change of the members that was asked for was not begun.
    ChangeRefused(ChangeRefusal),
    /// These reads may be answered once the applier has applied `index`.
    ReadReady {
        /// As given with the reads.
        reads: Vec<ReadId>,
        /// The read index.
        index: Index,
    },
    /// These reads are refused: leadership could not be confirmed.
    ReadRefused {
        /// As given with the reads.
        reads: Vec<ReadId>,
    },
    /// This replica knows another leader than before, or none.
    LeaderChanged {
        /// The leader, if one is known.
        leader: Option<NodeId>,
        /// The current term.
        term: Term,
    },
    /// Another membership is in force: appended, or brought back by a truncation (`known-bugs.md` 47, 48).
    MembershipChanged(Membership),
    /// This role has ended: take its state and start the next role with it. Always the last effect of a step.
    Become(Become),
    /// Something an operator should see.
    Notice(Notice),
}

/// A change of this node's own connection to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PeerLink {
    /// It is up.
    Up,
    /// It has ended: it was silent for too long, or this node closed it.
    Down,
    /// It has ended because the other side closed it: most likely the peer's process has ended.
    Closed,
}

/// Which snapshot a replica needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SnapshotWanted {
    /// The one that a leader offers, which has forgotten what this replica's log lacks, or a later one.
    Offered {
        /// The leader.
        from: NodeId,
        /// Where it ends.
        at: Position,
    },
    /// Any, from any node, that reaches at least this far: this node's log begins there, and its machine could not be made of a
    /// snapshot of its own.
    Reaching(Index),
}

/// The change to another role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Become {
    /// The next role.
    pub role: NextRole,
    /// The reason, for the log: one clause.
    pub reason: &'static str,
    /// The message that caused it, to be stepped by the next role first.
    pub redeliver: Option<Message>,
}

/// The role that comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextRole {
    /// Waits for a leader.
    Follower,
    /// Campaigns. `forced` (a leadership transfer) skips the pre-vote, and voters ignore leader
    /// stickiness for it.
    Candidate {
        /// The leader asked for this campaign.
        forced: bool,
    },
    /// Leads the term it was elected in.
    Leader,
}

/// Identifies a read that waits for its index; unique for a group within one run of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ReadId(pub u64);

/// For whom entries are read from disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reader {
    /// The replicator of this peer: answer with [`ReplicatorEvent::Fetched`].
    Replicator {
        /// The peer of the replicator.
        peer: NodeId,
        /// Its replication session.
        session: ReplicationSession,
    },
    /// The applier.
    Applier,
    /// A follower that needs one chain hash: answer with [`RoleEvent::Located`].
    Role,
}

/// Why a proposal never entered the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Refusal {
    /// A leadership transfer is under way.
    Transferring,
    /// Too many bytes are appended and not committed yet.
    Uncommitted,
    /// Too much is committed and not applied yet.
    Unapplied,
    /// Free disk space is below the reserve.
    NoSpace,
    /// The disks of so many peers are full that no majority can take it: [`Leader::full_voters`](crate::Leader::full_voters).
    NoSpaceAtPeers,
    /// The payload is larger than this leader takes.
    TooLarge {
        /// The payload's size.
        bytes: usize,
        /// The largest that it takes.
        bytes_max: usize,
    },
}

/// Why leadership is not handed to a node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum TransferRefusal {
    /// Another transfer is under way.
    #[error("leadership is being handed to {to}; wait until that has ended")]
    UnderWay {
        /// Its target.
        to: NodeId,
    },
    /// It is no voter.
    #[error("{node} is no voter of this group")]
    NotVoter {
        /// The target.
        node: NodeId,
    },
    /// Its connection is down, or it has not answered for an election timeout.
    #[error("{node} is not connected")]
    NotConnected {
        /// The target.
        node: NodeId,
    },
    /// It lost entries that it may have acknowledged, and takes part in no election until it has caught up.
    #[error("{node} is recovering: it lost entries and takes part in no election until it has caught up")]
    Recovering {
        /// The target.
        node: NodeId,
    },
    /// Its log went back behind what it had acknowledged.
    #[error("{node} has an old copy of its data; restart it with the newest")]
    RolledBack {
        /// The target.
        node: NodeId,
    },
    /// Its machine has faulted.
    #[error("the state machine of {node} has faulted")]
    Faulted {
        /// The target.
        node: NodeId,
    },
    /// Its disk has no room for commands.
    #[error("the disk of {node} has no room")]
    NoRoom {
        /// The target.
        node: NodeId,
    },
    /// Its machine is far behind: it would answer no write until it has applied what is committed.
    #[error("the state machine of {node} is {entries} entries behind; wait until it has applied them")]
    FarBehind {
        /// The target.
        node: NodeId,
        /// Committed entries that it has not applied.
        entries: u64,
    },
    /// None of the other voters can lead, or there is none.
    #[error("no other voter can lead now")]
    NoTarget,
}

/// Something that an operator should see. The shell logs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Another node claims to lead a term whose leader is known: election safety is broken.
    TwoLeaders {
        /// The term with two leaders.
        term: Term,
        /// The leader this replica follows.
        known: NodeId,
        /// The node that claims to lead as well.
        other: NodeId,
    },
    /// Entries from this node do not fit the hash chain; they were not appended.
    BadEntries {
        /// The sender.
        from: NodeId,
        /// What is wrong with them.
        error: EntryError,
    },
    /// An entry has the index and term of one in this log, but other bytes: one of the two logs is damaged.
    Diverged {
        /// The sender.
        from: NodeId,
        /// The index of the entry.
        at: Index,
    },
    /// A follower's log is shorter than it acknowledged in this term, without a restart: its disk was replaced by an old copy
    /// (`safety.md` 6). It does not count until it restarts.
    RolledBack {
        /// The follower.
        peer: NodeId,
        /// The last index it had acknowledged.
        acknowledged: Index,
        /// The last index it has.
        last: Index,
    },
    /// A message is of a term so far above this replica's that no elections can have led to it; it was dropped.
    TermJump {
        /// The sender.
        from: NodeId,
        /// The term of its message.
        term: Term,
    },
    /// The oldest write has waited too long for the disk: this leader gives leadership away.
    DiskStalled,
    /// A leadership transfer did not happen in time; proposals are accepted again.
    TransferFailed {
        /// The target.
        to: NodeId,
    },
    /// This leader's machine is far behind, and leadership goes to a voter whose machine keeps up.
    ApplyLag {
        /// The target.
        to: NodeId,
        /// Entries that are committed and not applied here.
        entries: u64,
    },
    /// A peer refuses the entries from this index on. What it found is in its own log.
    PeerRefuses {
        /// The peer.
        peer: NodeId,
        /// The index of the first.
        at: Index,
    },
    /// A peer's disk is full.
    PeerNoSpace {
        /// The peer.
        peer: NodeId,
    },
    /// So many disks of peers are full that this leader can commit nothing new, or no longer.
    MajorityNoSpace {
        /// The voters that are full; empty once there is room at a majority.
        full: Vec<NodeId>,
    },
    /// This replica has everything that a leader confirmed after the restart: it votes again (`safety.md` 5).
    Recovered {
        /// The read index it had to reach.
        index: Index,
    },
    /// Every founding member has admitted this node: it takes part from now on (`safety.md` 14).
    Founded,
    /// This node is no member any more: a membership without it is committed.
    Removed {
        /// The index of that membership.
        index: Index,
    },
    /// A voter whose log has all of this one's says that this node has no vote in the membership that is committed there. It
    /// stands for election again once a leader sends it another membership.
    ToldNoVoter {
        /// The voter.
        by: NodeId,
    },
    /// The time stamp of an entry is further ahead of the entry before than clocks should be apart.
    TimeJump {
        /// How far ahead of the entry before, in milliseconds.
        ahead_ms: u64,
    },
}

/// What every role is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoleEvent {
    /// A message from a peer.
    Message(Message),
    /// The role's deadline may have passed.
    Tick,
    /// From the store: every write up to this sequence is on disk.
    Persisted(Sequence),
    /// From the applier: it has applied everything up to this index.
    Applied(Index),
    /// The applier was restarted and has applied up to this index.
    ApplierRestarted(Index),
    /// The machine has faulted and stays down as long as this process runs.
    MachineDown,
    /// The store's answer to [`Reader::Role`].
    Located(Position),
    /// The store's actor is down: nothing is persisted until [`Self::StoreBack`].
    StoreAway,
    /// The store was restarted: the role resends the writes that were not completed.
    StoreBack,
    /// Free disk space fell below the reserve (true), or is above it again (false).
    DiskFull(bool),
    /// From the snapshotter: a snapshot of the machine up to this index is written and synced. It is published once this node's
    /// log is on disk that far (`safety.md` 10).
    SnapshotWritten(Index),
    /// From the snapshotter: this node has a published snapshot, its own or a fetched one, which ends here.
    SnapshotReady(SnapshotBase),
    /// From the snapshotter: those that were said before do not count. This node has none, or the newest turned out to be damaged and
    /// [`Self::SnapshotReady`] follows with an older one.
    NoSnapshot,
    /// From the snapshotter: two snapshots that were read back cover the log up to here, so it may be forgotten.
    Compact(Index),
    /// This node's own connection to this peer was made, or has ended.
    Link {
        /// The peer at the other end.
        peer: NodeId,
        /// How it changed.
        link: PeerLink,
    },
    /// This peer has admitted this node, whose incarnation is therefore on that peer's disk (`safety.md` 14).
    Admitted(NodeId),
}
