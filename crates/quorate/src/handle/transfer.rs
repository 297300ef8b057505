//! Leadership handed over because someone asked for it.

use std::pin::Pin;
use std::time::Duration;

use quorate_core::NodeId;
use tokio::sync::oneshot;
use tokio::time::timeout_at;

use crate::attempt::deadline_after;
use crate::error::TransferError;
use crate::handle::retry::HandleInner;
use crate::messages::group::GroupMessage;
use crate::route::{LeaderRoute, Route};

/// In a box, so that it is compiled with this crate.
pub(crate) fn transfer(
    inner: &HandleInner,
    to: Option<NodeId>,
    timeout: Duration,
) -> Pin<Box<dyn Future<Output = Result<NodeId, TransferError>> + Send + '_>> {
    let deadline = deadline_after(timeout);
    Box::pin(async move {
        let mut routes = inner.route.clone();
        let route = routes.borrow_and_update().clone();
        let (LeaderRoute::Here(_), Some(group)) = (&route.leader, &route.group) else {
            return Err(TransferError::NotLeader { node: inner.node.clone() });
        };
        if to.as_ref() == Some(&inner.node) {
            return Ok(inner.node.clone());
        }
        let (reply, answer) = oneshot::channel();
        let order = GroupMessage::Transfer { to, reply: Some(reply.into()) };
        group.cast(order).map_err(|_| TransferError::NotLeader { node: inner.node.clone() })?;
        // Who was asked may end before it answers. The order may have been carried out all the same.
        if let Ok(Ok(Err(refusal))) = timeout_at(deadline, answer).await {
            return Err(TransferError::Refused(refusal));
        }
        let moved = |route: &Route| route.leader_id.as_ref().is_some_and(|id| *id != inner.node);
        let leader = match timeout_at(deadline, routes.wait_for(moved)).await {
            Ok(Ok(route)) => route.leader_id.clone(),
            Ok(Err(_)) | Err(_) => None,
        };
        leader.ok_or(TransferError::Unfinished {
            waited_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
        })
    })
}
