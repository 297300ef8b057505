//! How a node is taken down in order.

use std::sync::Arc;
use std::time::Duration;

use quorate_bridge::kill_below;
use tokio::sync::oneshot;

use crate::messages::group::GroupMessage;
use crate::node::owner::Owner;
use crate::node::spec::Ending;
use crate::route::{LeaderRoute, Route};
use quorate_store::StoreHandle;

/// How long each step may take: leadership handed over, callers answered, the actors ended.
const STOP_STEP: Duration = Duration::from_secs(2);

/// Leadership first, then callers: what the next leader commits is still answered by this node.
pub(super) async fn part_in_order(owner: &Arc<Owner>, how: Ending) {
    if how == Ending::Graceful {
        hand_over(owner).await;
    }
    answer_callers(owner, "stopped in order").await;
}

/// Takes down what is left, in order: routes, roles and appliers, connections, the disk. Each step is bounded.
pub(super) async fn take_down(owner: &Arc<Owner>, how: Ending) {
    let detail = match (&*owner.failure.borrow(), how) {
        (Some(failure), _) => failure.to_string(),
        (None, Ending::Graceful | Ending::Together) => "stopped in order".to_owned(),
        (None, Ending::Killed) => "killed".to_owned(),
    };
    owner.close_routes(&detail);
    let node = owner.actor.borrow().clone();
    if let Some(node) = node {
        // Its children go with it; none of their state is needed any more, and a killed process gives no notice either.
        kill_below(&node.get_cell());
        let _ = node.get_cell().kill_and_wait(Some(STOP_STEP)).await;
    }
    owner.actor.send_replace(None);
    owner.close_routes(&detail);
    if let Some(bridge) = &owner.bridge {
        bridge.stop().await;
    }
    if let Some(store) = owner.store_route.send_replace(None) {
        let _ = store.get_cell().kill_and_wait(Some(STOP_STEP)).await;
    }
    close_store(&owner.store).await;
}

pub(super) async fn close_store(store: &StoreHandle) {
    let store = store.clone();
    if tokio::runtime::Handle::current().runtime_flavor() == tokio::runtime::RuntimeFlavor::MultiThread {
        // On the caller's runtime other tasks must go on.
        let _ = tokio::task::spawn_blocking(move || store.stop()).await;
    } else {
        store.stop();
    }
}

/// Every group this node leads is offered to another voter, all at once.
async fn hand_over(owner: &Arc<Owner>) {
    let deadline = tokio::time::Instant::now() + STOP_STEP;
    let alone = owner.founding.members.len() == 1;
    let mut waiting = Vec::new();
    for (_, route) in owner.routes() {
        let now = route.borrow().clone();
        let leads = matches!(now.leader, LeaderRoute::Here(_));
        let group = now.group.filter(|_| leads && !alone);
        if group.is_some_and(|group| group.cast(GroupMessage::Transfer { to: None, reply: None }).is_ok()) {
            waiting.push(route);
        }
    }
    let has_moved = |route: &Route| route.leader_id.as_ref().is_some_and(|leader| *leader != owner.id);
    for mut route in waiting {
        drop(tokio::time::timeout_at(deadline, route.wait_for(has_moved)).await);
    }
}

/// Refuses new callers, and waits until those under way have their answer.
async fn answer_callers(owner: &Arc<Owner>, detail: &str) {
    let deadline = tokio::time::Instant::now() + STOP_STEP;
    let mut waiting = Vec::new();
    for (_, route) in owner.routes() {
        let Some(group) = route.borrow().group.clone() else { continue };
        let (reply, idle) = oneshot::channel();
        if group.cast(GroupMessage::Close { detail: detail.to_owned(), reply: reply.into() }).is_ok() {
            waiting.push(idle);
        }
    }
    for idle in waiting {
        drop(tokio::time::timeout_at(deadline, idle).await);
    }
}
