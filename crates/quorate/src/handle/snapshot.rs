//! A snapshot taken because someone asked for it.

use std::pin::Pin;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::error::SnapshotFailed;
use crate::handle::retry::HandleInner;
use crate::messages::group::GroupMessage;

/// In a box, so that it is compiled with this crate.
pub(crate) fn snapshot(
    inner: &HandleInner,
    timeout: Duration,
) -> Pin<Box<dyn Future<Output = Result<u64, SnapshotFailed>> + Send + '_>> {
    Box::pin(async move {
        let failed = |reason: &str| SnapshotFailed { reason: reason.to_owned() };
        let group = inner.route.borrow().group.clone().ok_or_else(|| failed("the group does not run"))?;
        let (reply, answer) = oneshot::channel();
        group
            .cast(GroupMessage::TakeSnapshot(reply.into()))
            .map_err(|_| failed("the group is being restarted"))?;
        match tokio::time::timeout(timeout, answer).await {
            Ok(Ok(taken)) => taken.map(|index| index.0),
            Ok(Err(_)) => Err(failed("the snapshotter was restarted")),
            Err(_) => Err(failed("it was not on disk in time; it may be later")),
        }
    })
}
