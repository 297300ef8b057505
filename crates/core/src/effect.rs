//! What a role asks of its shell, and the events that every role hears.

use serde::{Deserialize, Serialize};

use crate::durability::Persist;
use crate::entry::{Entry, EntryError, LogId, Position};
use crate::ids::{Index, NodeId, ReplicationSession, Sequence, Term};
use crate::membership::Membership;
use crate::message::Message;
use crate::replicator::ReplicatorEvent;

/// The answer of one step, in the order in which it must be carried out.
pub type Effects = Vec<Effect>;

/// What the shell of a role must do. Nothing else happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Write this and say [`Common::Persisted`] once it is on disk.
    Persist(Persist),
    /// Send this to its addressee; losing it is allowed.
    Send(Message),
    /// Hand these committed entries to the applier; it answers [`Common::Applied`].
    Apply {
        /// Contiguous; the applier skips what it has applied before.
        entries: Vec<Entry>,
    },
    /// Read the log from disk and give it to `reader`.
    ReadLog {
        /// Who waits for it.
        reader: Reader,
        /// The first index wanted.
        from: Index,
        /// The last index wanted.
        through: Index,
        /// About how many bytes, at most (at least one entry).
        bytes_max: usize,
    },
    /// Start a replicator for this peer, in place of any earlier one.
    StartReplicator {
        /// Whom it serves.
        peer: NodeId,
        /// Its number: acknowledgements to another one are not counted.
        session: ReplicationSession,
        /// Where it begins to probe: a new leader's last entry before its no-op, which no peer can have yet.
        prev: LogId,
    },
    /// Stop the replicator of this peer.
    StopReplicator {
        /// Whom it served.
        peer: NodeId,
    },
    /// Tell the replicator of this peer.
    ToReplicator {
        /// Whom it serves.
        peer: NodeId,
        /// What to tell it.
        event: ReplicatorEvent,
    },
    /// The first `count` proposals that have not been answered yet were appended, in order, from `first`.
    Accepted {
        /// The index of the first.
        first: Index,
        /// The term of all.
        term: Term,
        /// How many.
        count: usize,
    },
    /// The next `count` proposals that have not been answered yet were refused; nothing of them entered the log.
    Refused {
        /// How many.
        count: usize,
        /// Why.
        reason: Refusal,
    },
    /// These reads may be answered once the applier has applied `index`.
    ReadReady {
        /// As given with the reads.
        reads: Vec<ReadId>,
        /// The read index.
        index: Index,
    },
    /// Leadership could not be confirmed: these reads are refused.
    ReadRefused {
        /// As given with the reads.
        reads: Vec<ReadId>,
        /// Why.
        reason: Refusal,
    },
    /// The leader this replica knows has changed.
    LeaderChanged {
        /// The leader, if one is known.
        leader: Option<NodeId>,
        /// The term.
        term: Term,
    },
    /// Another membership is in force: appended, or brought back by a truncation (`known-bugs.md` 47, 48).
    MembershipChanged(Membership),
    /// This role is over: take its state and start the next with it. Always the last effect of a step.
    Become(Become),
    /// Something an operator should see.
    Notice(Notice),
}

/// The change to another role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Become {
    /// Which.
    pub role: NextRole,
    /// Why, for the log: one clause.
    pub reason: &'static str,
    /// The message that caused it, to be stepped by the next role first.
    pub redeliver: Option<Message>,
}

/// The role that comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextRole {
    /// Wait for a leader.
    Follower,
    /// Stand for election; `forced` skips the pre-vote and the stickiness of others (leadership transfer).
    Candidate {
        /// The leader asked for it.
        forced: bool,
    },
    /// Lead.
    Leader,
}

/// Names a read that waits for its index; unique in one process run of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ReadId(pub u64);

/// Who wants entries from disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reader {
    /// The replicator of this peer; answer with [`ReplicatorEvent::Fetched`].
    Replicator {
        /// Whom it serves.
        peer: NodeId,
        /// Its number.
        session: ReplicationSession,
    },
    /// The applier.
    Applier,
    /// The follower itself, which lacks a chain hash: answer with [`Common::Located`].
    Role,
}

/// Why a proposal or read never entered the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Refusal {
    /// This replica does not lead.
    NotLeader,
    /// Leadership is being handed over.
    Transferring,
    /// Too much is appended and not yet committed.
    Busy,
    /// The disk is below its reserve.
    NoSpace,
    /// The payload is larger than an entry may be.
    TooLarge,
    /// A membership change is under way, or this leader has not committed in its term yet.
    ChangeInProgress,
}

/// What an operator should see; the shell writes it to the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Another node says it leads the term this node knows a leader of. One of the two broke election safety.
    TwoLeaders {
        /// The term.
        term: Term,
        /// Whom this replica follows.
        known: NodeId,
        /// Who else claims it.
        other: NodeId,
    },
    /// Entries from this node do not fit the hash chain; they were not taken in.
    BadEntries {
        /// Who sent them.
        from: NodeId,
        /// What is wrong.
        error: EntryError,
    },
    /// The entry at this index has the term of ours and other bytes: one of the two logs is damaged.
    Diverged {
        /// Who sent it.
        from: NodeId,
        /// Where.
        at: Index,
    },
    /// A follower's log became shorter than it acknowledged in this term, without a restart: an old copy of its disk
    /// (`safety.md` 6). It is not counted until it restarts.
    RolledBack {
        /// Who.
        peer: NodeId,
        /// What it had acknowledged.
        acknowledged: Index,
        /// What it has now.
        last: Index,
    },
    /// The oldest write has waited too long; leadership is given away.
    DiskStalled,
    /// A transfer of leadership did not happen in time; proposals are accepted again.
    TransferFailed {
        /// To whom.
        to: NodeId,
    },
    /// A peer's disk is full.
    PeerNoSpace {
        /// Who.
        peer: NodeId,
    },
    /// This replica held all a leader confirmed after the restart: it votes again.
    Recovered {
        /// The read index it had to reach.
        index: Index,
    },
    /// The entry's time stamp was kept from falling, or jumps further ahead than clocks should.
    TimeJump {
        /// How far ahead of the entry before, in milliseconds.
        ahead_ms: u64,
    },
}

/// What every role hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Common {
    /// A message of a peer.
    Message(Message),
    /// The deadline passed, or might have.
    Tick,
    /// Everything up to this sequence is on disk.
    Persisted(Sequence),
    /// The applier applied everything up to this index.
    Applied(Index),
    /// The applier began anew and has applied up to this index.
    ApplierRestarted(Index),
    /// The place a follower asked the store for.
    Located(Position),
    /// The store is away: nothing can be persisted until it is back.
    StoreAway,
    /// The store is back: what it had not completed is said again.
    StoreBack,
    /// Free space fell below the reserve, or came back.
    DiskFull(bool),
}
