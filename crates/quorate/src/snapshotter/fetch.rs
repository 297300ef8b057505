//! How a snapshot comes from a peer: part after part, each asked for, into a file that is verified whole before it is used.
//!
//! The peer keeps nothing but the file, so a link that breaks or a peer that restarts costs the part under way. Bound: one part in
//! memory, and `snapshot_bytes_per_s_max` on the link.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use quorate_core::{Hash, Index, NodeId, Position, SnapshotWanted, Term};
use quorate_store::{Incoming, SnapshotInfo, Snapshots};
use tokio::time::{Instant, sleep_until};

use crate::context::GroupContext;
use crate::protocol::{Request, Response};

/// How long one part may take. At 1 Mbit/s it takes 4 s; a peer that writes a snapshot of its own answers later.
const PART_MAX: Duration = Duration::from_secs(15);
/// Parts in a row that may fail before the peer is given up.
const FAILURES_MAX: u32 = 3;
const BETWEEN_FAILURES: Duration = Duration::from_millis(500);

/// A fetch on its way.
pub(super) struct Fetch {
    pub(super) cx: Arc<GroupContext>,
    pub(super) files: Snapshots,
    pub(super) wanted: SnapshotWanted,
    /// Whom to ask, in this order.
    pub(super) peers: Vec<NodeId>,
    /// When something was received last, by the node's clock.
    pub(super) progress: Arc<AtomicU64>,
}

struct Part {
    at: Position,
    file_bytes: u64,
    offset: u64,
    bytes: Bytes,
}

impl Fetch {
    /// What was fetched and published, or why no peer could give it.
    pub(super) async fn run(self) -> Result<Box<SnapshotInfo>, String> {
        let mut last = "no peer is known".to_owned();
        for peer in &self.peers {
            match self.from(peer).await {
                Ok(info) => return Ok(Box::new(info)),
                Err(reason) => last = format!("{peer}: {reason}"),
            }
        }
        Err(last)
    }

    fn least(&self) -> Index {
        match &self.wanted {
            SnapshotWanted::Offered { at, .. } => at.index,
            SnapshotWanted::Reaching(index) => *index,
        }
    }

    fn offered(&self) -> Option<Position> {
        match &self.wanted {
            SnapshotWanted::Offered { at, .. } => Some(*at),
            SnapshotWanted::Reaching(_) => None,
        }
    }

    async fn from(&self, peer: &NodeId) -> Result<SnapshotInfo, String> {
        let first = self.ask(peer, self.offered(), 0).await?;
        let mut incoming = self.receive(first.at, first.file_bytes).await?;
        let (began, rate) = (Instant::now(), self.cx.snapshot.bytes_per_s_max);
        let (mut received, mut failures) = (0, 0);
        while !incoming.is_complete() {
            let at = incoming.at();
            match self.ask(peer, Some(at), incoming.offset()).await {
                Ok(part) if part.at != at => {
                    // What was begun is gone there.
                    incoming = self.receive(part.at, part.file_bytes).await?;
                }
                Ok(part) => {
                    if part.bytes.is_empty() || part.offset != incoming.offset() {
                        return Err("it sent another part than it was asked for".to_owned());
                    }
                    (received, failures) = (received + part.bytes.len() as u64, 0);
                    incoming = self.append(incoming, part).await?;
                    self.progress.store(self.cx.clock.now().0, Ordering::Relaxed);
                    // At no more than the rate, over all of it.
                    let due = Duration::from_secs_f64(received as f64 / rate as f64);
                    sleep_until(began + due).await;
                }
                Err(reason) if failures == FAILURES_MAX => return Err(reason),
                Err(_) => {
                    failures += 1;
                    sleep_until(Instant::now() + BETWEEN_FAILURES).await;
                }
            }
        }
        let finished = self.cx.snapshot.workers.run(move || incoming.finish()).await?;
        finished.map_err(|error| error.to_string())
    }

    async fn ask(&self, peer: &NodeId, at: Option<Position>, offset: u64) -> Result<Part, String> {
        let remote = self.cx.remote(peer).ok_or("it is no peer of this node")?;
        let (index, term) = at.map_or((0, 0), |at| (at.index.0, at.term.0));
        let chain = at.map_or(Bytes::new(), |at| Bytes::copy_from_slice(&at.chain.0));
        let least = self.least().0;
        let request = Request::SnapshotPart { index, term, chain, least, offset };
        match remote.call(&request, PART_MAX).await {
            Ok(Response::SnapshotPart { index, term, chain, file_bytes, offset, bytes }) => {
                let chain = chain.as_ref().try_into().map(Hash).map_err(|_| "its chain hash is malformed")?;
                let at = Position { index: Index(index), term: Term(term), chain };
                if at.index < self.least() {
                    return Err("it sent an older snapshot than helps".to_owned());
                }
                Ok(Part { at, file_bytes, offset, bytes })
            }
            Ok(Response::NoSnapshot) => Err("it has no snapshot that reaches far enough".to_owned()),
            Ok(_) => Err("it answered something else".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn receive(&self, at: Position, file_bytes: u64) -> Result<Incoming, String> {
        let (files, group) = (self.files.clone(), self.cx.id);
        let begun = self.cx.snapshot.workers.run(move || files.receive(group, at, file_bytes)).await?;
        begun.map_err(|error| error.to_string())
    }

    async fn append(&self, mut incoming: Incoming, part: Part) -> Result<Incoming, String> {
        let append = move || incoming.append(part.offset, &part.bytes).map(|()| incoming);
        let appended = self.cx.snapshot.workers.run(append).await?;
        appended.map_err(|error| error.to_string())
    }
}
