//! How a snapshot comes from a peer: part after part, each asked for, into a file that is verified whole before it is used.
//!
//! The peer keeps nothing but the file, so a link that breaks or a peer that restarts costs the part under way. Bound: one part in
//! memory, and `snapshot_bytes_per_s_max` on the link.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use quorate_core::{GroupId, Hash, Index, NodeId, Position, SnapshotWanted, Term};
use quorate_store::{Incoming, SnapshotError, SnapshotInfo, Snapshots};
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
    /// The mark of the file; empty from a node of an earlier build.
    file: Bytes,
    file_bytes: u64,
    offset: u64,
    bytes: Bytes,
}

/// What is there of the file that a peer sends.
struct Begun {
    incoming: Incoming,
    file: Bytes,
}

impl Begun {
    /// Continues what is there, if it is of this file.
    fn of(files: &Snapshots, group: GroupId, part: &Part) -> Result<Self, SnapshotError> {
        let mut incoming = files.receive(group, part.at, part.file_bytes)?;
        if !part.file.is_empty() && !incoming.is_of(&part.file)? {
            incoming.abandon();
            incoming = files.receive(group, part.at, part.file_bytes)?;
        }
        Ok(Self { incoming, file: part.file.clone() })
    }

    /// Whether a part is of the file that was begun: another one of the same place has other bytes.
    fn is_of(&self, part: &Part) -> bool {
        let file = (self.incoming.at(), self.incoming.file_bytes(), &self.file);
        (part.at, part.file_bytes, &part.file) == file
    }
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
        let mut partial = self.receive(first).await?;
        let (began, rate) = (Instant::now(), self.cx.snapshot.bytes_per_s_max);
        let (mut received, mut failures) = (0, 0);
        while !partial.incoming.is_complete() {
            match self.ask(peer, Some(partial.incoming.at()), partial.incoming.offset()).await {
                // What was begun is gone there.
                Ok(part) if !partial.is_of(&part) => partial = self.receive(part).await?,
                Ok(part) => {
                    if part.bytes.is_empty() || part.offset != partial.incoming.offset() {
                        return Err("it sent another part than it was asked for".to_owned());
                    }
                    (received, failures) = (received + part.bytes.len() as u64, 0);
                    partial.incoming = self.append(partial.incoming, part).await?;
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
        let finished = self.cx.snapshot.workers.run(move || partial.incoming.finish()).await?;
        finished.map_err(|error| error.to_string())
    }

    async fn ask(&self, peer: &NodeId, at: Option<Position>, offset: u64) -> Result<Part, String> {
        let remote = self.cx.remote(peer).ok_or("it is no peer of this node")?;
        let (index, term) = at.map_or((0, 0), |at| (at.index.0, at.term.0));
        let chain = at.map_or(Bytes::new(), |at| Bytes::copy_from_slice(&at.chain.0));
        let least = self.least().0;
        let request = Request::SnapshotPart { index, term, chain, least, offset };
        match remote.call(&request, PART_MAX).await {
            Ok(Response::SnapshotPart { index, term, chain, file, file_bytes, offset, bytes }) => {
                let chain = chain.as_ref().try_into().map(Hash).map_err(|_| "its chain hash is malformed")?;
                let at = Position { index: Index(index), term: Term(term), chain };
                if at.index < self.least() {
                    return Err("it sent an older snapshot than helps".to_owned());
                }
                Ok(Part { at, file, file_bytes, offset, bytes })
            }
            Ok(Response::NoSnapshot) => Err("it has no snapshot that reaches far enough".to_owned()),
            Ok(_) => Err("it answered something else".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn receive(&self, part: Part) -> Result<Begun, String> {
        let (files, group) = (self.files.clone(), self.cx.id);
        let begun = self.cx.snapshot.workers.run(move || Begun::of(&files, group, &part)).await?;
        begun.map_err(|error| error.to_string())
    }

    async fn append(&self, mut incoming: Incoming, part: Part) -> Result<Incoming, String> {
        let append = move || incoming.append(part.offset, &part.bytes).map(|()| incoming);
        let appended = self.cx.snapshot.workers.run(append).await?;
        appended.map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use quorate_core::{Membership, SnapshotBase};
    use quorate_store::{Disk, SimDisk};

    use super::super::files;
    use super::*;
    use crate::machine::Snapshot;
    use crate::messages::snapshotter::{Capture, PartWanted};

    const GROUP: GroupId = GroupId(7);
    const AT: Position = Position { index: Index(3), term: Term(1), chain: Hash([5; 32]) };

    /// A node with a snapshot of more than one part, taken at this time.
    fn node(made_ms: u64) -> Snapshots {
        let files = Snapshots::new(SimDisk::new().snapshots());
        let base = SnapshotBase { at: AT, time_ms: 3, membership: Membership::default() };
        let head = files::head_of(GROUP, &base, made_ms);
        let state = Snapshot::from_bytes(vec![3; files::PART_BYTES + 100]);
        let written = files::write(&files, head, Capture { base, state }).expect("it is written");
        files::publish(&files, GROUP, *written, &[]).expect("it is published");
        files
    }

    fn part(files: &Snapshots, offset: u64) -> Part {
        let wanted = PartWanted { at: Some(AT), least: AT.index, offset };
        let part = files::part(files, GROUP, wanted).expect("there is one");
        Part { at: part.at, file: part.file, file_bytes: part.file_bytes, offset, bytes: part.bytes }
    }

    /// Two peers have taken a snapshot of the same place, or one has taken it twice: equal in length, and each a file of its own.
    #[test]
    fn what_was_begun_of_one_file_is_not_continued_with_another() {
        let (one, other) = (node(4), node(5));
        let own = Snapshots::new(SimDisk::new().snapshots());
        let first = part(&one, 0);
        let mut begun = Begun::of(&own, GROUP, &first).expect("it begins");
        begun.incoming.append(0, &first.bytes).expect("it is added");
        let offset = begun.incoming.offset();
        assert!(begun.is_of(&part(&one, offset)) && !begun.is_of(&part(&other, offset)));
        let again = Begun::of(&own, GROUP, &first).expect("it goes on");
        assert!(again.incoming.offset() > 0, "of the same file nothing is fetched twice");
        let mut fresh = Begun::of(&own, GROUP, &part(&other, offset)).expect("it begins");
        assert_eq!(fresh.incoming.offset(), 0, "of another one everything is");
        while !fresh.incoming.is_complete() {
            let next = part(&other, fresh.incoming.offset());
            assert!(fresh.is_of(&next));
            fresh.incoming.append(next.offset, &next.bytes).expect("it is added");
        }
        assert_eq!(fresh.incoming.finish().expect("it is whole").head.made_ms, 5);
    }
}
