//! A snapshot taken because someone asked for it, and the newest one read part by part.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use quorate_core::{Index, Position};
use tokio::sync::oneshot;

use crate::error::{Outcome, SnapshotFailed};

use crate::handle::retry::HandleInner;
use crate::messages::group::GroupMessage;
use crate::messages::snapshotter::{Part, PartPort, PartWanted, SnapshotterMessage};
use crate::route_watch::RouteReceiver;

/// How long one part may take.
const PART_MAX: Duration = Duration::from_secs(30);
/// A part that is not answered, as where many are read at once, is asked for again.
const ASKED_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// In a box, so that it is compiled with this crate.
pub(crate) fn snapshot(
    inner: &HandleInner,
    timeout: Duration,
) -> Pin<Box<dyn Future<Output = Result<u64, SnapshotFailed>> + Send + '_>> {
    Box::pin(async move {
        let group = inner.route.borrow().group.clone();
        let group = group.ok_or_else(|| SnapshotFailed::of("the group does not run"))?;
        let (reply, answer) = oneshot::channel();
        group
            .cast(GroupMessage::TakeSnapshot(reply.into()))
            .map_err(|_| SnapshotFailed::of("the group is being restarted"))?;
        match tokio::time::timeout(timeout, answer).await {
            Ok(Ok(taken)) => taken.map(|index| index.0),
            Ok(Err(_)) => Err(SnapshotFailed {
                reason: "the snapshotter was restarted; the snapshot may have been taken".to_owned(),
                outcome: Outcome::Unknown,
            }),
            Err(_) => Err(SnapshotFailed {
                reason: "the snapshot was not on disk in time; it may be later".to_owned(),
                outcome: Outcome::Unknown,
            }),
        }
    })
}

/// The newest snapshot of a node, as the bytes of its file. It stays on disk while it is read, for an hour at most.
pub struct SnapshotBytes {
    route: RouteReceiver,
    at: Position,
    /// The mark of the file that was begun.
    file: Bytes,
    file_bytes: u64,
    offset: u64,
    /// The part that came with the answer that there is one.
    first: Option<Bytes>,
}

impl std::fmt::Debug for SnapshotBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SnapshotBytes")
            .field("at", &self.at)
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}

impl SnapshotBytes {
    pub(crate) async fn newest(route: RouteReceiver) -> Result<Option<Self>, SnapshotFailed> {
        let wanted = PartWanted { at: None, least: Index(1), offset: 0 };
        let Some(Part { at, file, file_bytes, bytes, .. }) = ask(&route, wanted).await? else {
            return Ok(None);
        };
        Ok(Some(Self { route, at, file, file_bytes, offset: 0, first: Some(bytes) }))
    }

    /// The last entry that is in it.
    pub fn index(&self) -> u64 {
        self.at.index.0
    }

    /// Bytes of the whole file.
    pub fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// The next bytes, some 512 KiB; `None` at the end. They are as the disk gives them: who reads them verifies them, as
    /// [`inspect_snapshot`](crate::store::inspect_snapshot) does.
    pub async fn next(&mut self) -> Result<Option<Bytes>, SnapshotFailed> {
        let bytes = match self.first.take() {
            Some(first) => first,
            None if self.offset >= self.file_bytes => return Ok(None),
            None => {
                let wanted = PartWanted { at: Some(self.at), least: self.at.index, offset: self.offset };
                let part = ask(&self.route, wanted).await?;
                // Another file of the same place has other bytes.
                let part = part.filter(|part| part.at == self.at && part.file == self.file);
                part.ok_or_else(|| SnapshotFailed::of("the snapshot is gone; read the newer one"))?.bytes
            }
        };
        if bytes.is_empty() {
            return Err(SnapshotFailed::of("the snapshot ends early"));
        }
        self.offset += bytes.len() as u64;
        Ok(Some(bytes))
    }
}

async fn ask(route: &RouteReceiver, wanted: PartWanted) -> Result<Option<Part>, SnapshotFailed> {
    let answered = async {
        loop {
            let (port, answer) = oneshot::channel();
            let reply = PartPort::Handle(port);
            route.borrow().tell_snapshotter(SnapshotterMessage::Part { wanted, reply });
            if let Ok(part) = answer.await {
                return part;
            }
            tokio::time::sleep_until(tokio::time::Instant::now() + ASKED_AGAIN_AFTER).await;
        }
    };
    let part = tokio::time::timeout(PART_MAX, answered).await;
    part.map_err(|_| SnapshotFailed::of("the snapshotter does not answer"))
}
