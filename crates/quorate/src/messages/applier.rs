//! What an applier hears.

use quorate_core::{Entry, Index, Term};
use ractor::{ActorRef, RpcReplyPort};

use crate::ports::{ProposalPort, QueryPort};

/// The address of an applier.
pub(crate) type ApplierRef = ActorRef<ApplierMessage>;

/// What an applier hears.
pub(crate) enum ApplierMessage {
    /// From the role, or for it from the log store: committed entries, contiguous.
    Apply { entries: Vec<Entry> },
    /// From the leader: the ports of the entries from `first` on, which carry `term`.
    Waiters { first: Index, term: Term, ports: Vec<ProposalPort> },
    /// From the role once the read is confirmed, or from a handle with what a stale answer must show: answer once `index` is
    /// applied.
    Queries { index: Index, ports: Vec<QueryPort> },
    /// From the snapshotter: capture the machine.
    Capture,
    /// From the store: the disk has become full, so a snapshot may be due.
    DiskFull,
    /// From the task that waits for a job: it has ended.
    JobEnded,
    /// From the same, now and then while a job lasts: who waits for the next one may have given up.
    JobLasts,
    /// From Group when the node stops: answered once no proposal and no query waits.
    WhenIdle(RpcReplyPort<()>),
    /// From tests and `quorate actors stop --panic`: panic, as a bug would.
    Panic,
}
