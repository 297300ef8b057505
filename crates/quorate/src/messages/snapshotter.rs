//! What a snapshotter hears.

use bytes::Bytes;
use quorate_bridge::ReplyPort;
use quorate_core::{Index, Position, SnapshotBase, SnapshotWanted};
use quorate_store::{SnapshotInfo, Written};
use ractor::{ActorRef, RpcReplyPort};
use tokio::sync::oneshot;

use crate::error::SnapshotFailed;
use crate::machine::Snapshot;
use crate::protocol::Response;

/// The address of a snapshotter.
pub(crate) type SnapshotterRef = ActorRef<SnapshotterMessage>;

/// A machine as it was after an entry.
pub(crate) struct Capture {
    pub(crate) base: SnapshotBase,
    pub(crate) state: Snapshot,
}

/// A part of a snapshot that a peer asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PartWanted {
    /// The snapshot that it has begun to fetch.
    pub(crate) at: Option<Position>,
    /// Any that reaches this far helps it, if that one is gone.
    pub(crate) least: Index,
    pub(crate) offset: u64,
}

/// A part of a snapshot file.
pub(crate) struct Part {
    pub(crate) at: Position,
    /// The mark of the file: another one of this place has another.
    pub(crate) file: Bytes,
    pub(crate) file_bytes: u64,
    pub(crate) offset: u64,
    pub(crate) bytes: Bytes,
}

/// Answers who reads a snapshot: with a part, or that there is none that helps.
pub(crate) enum PartPort {
    Peer(ReplyPort<Response>),
    Handle(oneshot::Sender<Option<Part>>),
}

impl PartPort {
    pub(crate) fn is_of_peer(&self) -> bool {
        matches!(self, Self::Peer(_))
    }

    /// Who asked may have given up.
    pub(crate) fn send(self, part: Option<Part>) {
        match self {
            Self::Handle(reply) => drop(reply.send(part)),
            Self::Peer(reply) => {
                let response =
                    part.map_or(Response::NoSnapshot, |Part { at, file, file_bytes, offset, bytes }| {
                        let (index, term, chain) =
                            (at.index.0, at.term.0, Bytes::copy_from_slice(&at.chain.0));
                        Response::SnapshotPart { index, term, chain, file, file_bytes, offset, bytes }
                    });
                drop(reply.send(&response));
            }
        }
    }
}

/// Answers who asked for a snapshot: where it ends.
pub(crate) type TakenPort = RpcReplyPort<Result<Index, SnapshotFailed>>;

/// What a snapshotter hears.
pub(crate) enum SnapshotterMessage {
    /// From the applier, through Group: the machine was captured. `Err` says why it was not.
    Captured(Result<Capture, String>),
    /// From a handle, through Group: take one now.
    Take(TakenPort),
    /// From the role: this node's log is on disk as far as the snapshot that was written.
    Publish(Index),
    /// From the role: it cannot go on without another snapshot.
    Fetch(SnapshotWanted),
    /// From the door, or from a handle: a snapshot of this node is read.
    Part { wanted: PartWanted, reply: PartPort },
    /// From Group: a role has started, and knows nothing of snapshots.
    RoleStarted,
    /// From the applier: its machine could not be made of the snapshots that end here. They count no more.
    PassedOver(Vec<Index>),
    /// From its own jobs.
    Done(Box<Done>),
    /// From its own timer: take the snapshot that was not taken, unless another one has failed since.
    TakeAgain(u64),
    /// From its own timer: look for a snapshot again.
    LookAgain(u64),
    /// From tests and `quorate actors stop --panic`: panic, as a bug would.
    Panic,
}

/// How a job of a snapshotter ended. `Err` of a file says what failed; a panic, of a machine that could not be written, too.
pub(crate) enum Done {
    /// A captured machine is written and synced.
    Written { at: Index, result: Result<Box<Written>, String> },
    /// It was published and read back; and what is there now. One that could not be read back is set aside.
    Published { at: Index, result: Result<Kept, String> },
    /// One was fetched from a peer, verified and published.
    Fetched { look: u64, result: Result<Box<SnapshotInfo>, String> },
    /// What is there after that.
    Kept(Kept),
    /// Who asked was answered, with a part of this one if there is any that helps; and one that was there and could not be read for it.
    Sent { at: Option<Position>, by_peer: bool, missed: Option<SnapshotBase> },
    /// The file of this one was looked for, and whether it is gone.
    Looked { base: SnapshotBase, is_gone: bool },
}

/// The snapshots of a group that are on disk, and can be read as far as is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) newest: Option<KeptFile>,
    pub(crate) older: Option<KeptFile>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeptFile {
    pub(crate) base: SnapshotBase,
    pub(crate) bytes: u64,
}

impl Kept {
    /// The one that ends here, if it is one of them.
    pub(crate) fn of(&self, at: Position) -> Option<&KeptFile> {
        [&self.newest, &self.older].into_iter().flatten().find(|file| file.base.at == at)
    }

    /// Forgets those that end at one of these. Whether there was one.
    pub(crate) fn forget(&mut self, gone: &[Index]) -> bool {
        let stays = |file: &KeptFile| !gone.contains(&file.base.at.index);
        let before = self.clone();
        self.older = self.older.take().filter(stays);
        self.newest = self.newest.take().filter(stays).or_else(|| self.older.take());
        *self != before
    }
}
