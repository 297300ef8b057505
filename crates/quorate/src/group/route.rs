//! The route: where the messages of a group go right now. The group's actor publishes it on every change; handles and
//! Sessions send along it without a hop through the group. A stale route loses nothing that may not be lost: what is
//! sent to a role that ended comes back to the group, and a role that is gone is an error to the sender.
//!
//! The channel is owned above the group's actor, so handles live through its restarts.

use std::sync::Arc;

use quorate_bridge::RemoteRef;
use quorate_core::{Common, Epoch, NodeId, Term};
use ractor::ActorRef;
use tokio::sync::{Notify, watch};

use crate::applier::ApplierMessage;
use crate::group::GroupMessage;
use crate::role::{LeaderMessage, RoleMessage};
use crate::wire::GroupProtocol;

/// The role actor of the moment.
#[derive(Debug, Clone)]
pub(crate) enum RoleRef {
    Follower(ActorRef<RoleMessage>),
    Candidate(ActorRef<RoleMessage>),
    Leader(ActorRef<LeaderMessage>),
}

impl RoleRef {
    /// Tells the role; gives the event back if its mailbox is closed.
    pub(crate) fn tell(&self, common: Common) -> Result<(), Common> {
        use ractor::MessagingErr::SendErr;
        match self {
            Self::Follower(actor) | Self::Candidate(actor) => match actor.cast(RoleMessage::Common(common)) {
                Err(SendErr(RoleMessage::Common(common))) => Err(common),
                _ => Ok(()),
            },
            Self::Leader(actor) => match actor.cast(LeaderMessage::Common(common)) {
                Err(SendErr(LeaderMessage::Common(common))) => Err(common),
                _ => Ok(()),
            },
        }
    }

    pub(crate) fn cell(&self) -> ractor::ActorCell {
        match self {
            Self::Follower(actor) | Self::Candidate(actor) => actor.get_cell(),
            Self::Leader(actor) => actor.get_cell(),
        }
    }
}

/// Who takes proposals.
#[derive(Debug, Clone)]
pub(crate) enum LeaderRoute {
    /// The leader is here.
    Here(ActorRef<LeaderMessage>),
    /// The leader is on another node.
    There(RemoteRef<GroupProtocol>),
    /// None is known.
    Nobody,
}

/// Whether the group takes anything at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Condition {
    /// It does.
    Open,
    /// The machine faulted at this index on a majority of the nodes.
    Faulted(u64),
    /// The node is stopping, or has stopped.
    Stopped(String),
}

/// Where messages go. Cheap to clone: handles do so for every call.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    pub(crate) condition: Condition,
    pub(crate) epoch: Epoch,
    pub(crate) group: Option<ActorRef<GroupMessage>>,
    pub(crate) role: Option<RoleRef>,
    pub(crate) applier: Option<ActorRef<ApplierMessage>>,
    /// The index at which this node's own machine faulted.
    pub(crate) fault_here: Option<u64>,
    pub(crate) leader: LeaderRoute,
    pub(crate) leader_id: Option<NodeId>,
    pub(crate) term: Term,
    pub(crate) role_restarts: u64,
    pub(crate) applier_restarts: u64,
}

impl Route {
    pub(crate) fn nowhere() -> Self {
        Self {
            condition: Condition::Open,
            epoch: Epoch::ZERO,
            group: None,
            role: None,
            applier: None,
            fault_here: None,
            leader: LeaderRoute::Nobody,
            leader_id: None,
            term: Term::ZERO,
            role_restarts: 0,
            applier_restarts: 0,
        }
    }

    /// Tells the role, or the group where the route is stale. What reaches neither is lost with the actor it was for.
    pub(crate) fn tell_role(&self, common: Common) {
        self.tell_role_of(None, common);
    }

    /// The same, for what counts in one epoch only.
    pub(crate) fn tell_role_of(&self, epoch: Option<Epoch>, common: Common) {
        if epoch.is_some_and(|epoch| epoch != self.epoch) {
            return;
        }
        let left = match &self.role {
            Some(role) => role.tell(common),
            None => Err(common),
        };
        if let (Err(common), Some(group)) = (left, &self.group) {
            let _ = group.cast(GroupMessage::ForRole { epoch, common });
        }
    }
}

/// The newest route, and those who wait for the next one: woken in the order in which they began to wait. (The wakers of a
/// `watch` alone are spread at random: callers who waited for a leader would overtake each other, and one seed of a
/// simulation would have many traces.)
#[derive(Debug, Clone)]
pub(crate) struct RouteReceiver {
    newest: watch::Receiver<Route>,
    turn: Arc<Notify>,
}

/// Publishes the route; everyone who waits hears of its end.
#[derive(Debug)]
pub(crate) struct RouteSender {
    newest: watch::Sender<Route>,
    turn: Arc<Notify>,
}

/// There is nobody who could publish another route.
#[derive(Debug)]
pub(crate) struct RouteOver;

impl RouteReceiver {
    pub(crate) fn borrow(&self) -> watch::Ref<'_, Route> {
        self.newest.borrow()
    }

    pub(crate) fn borrow_and_update(&mut self) -> watch::Ref<'_, Route> {
        self.newest.borrow_and_update()
    }

    /// Waits for a route that was not seen here yet.
    pub(crate) async fn changed(&mut self) -> Result<(), RouteOver> {
        loop {
            let mut turn = std::pin::pin!(self.turn.notified());
            // In line first, so that nothing is missed between a look and the wait.
            turn.as_mut().enable();
            if self.newest.has_changed().map_err(|_| RouteOver)? {
                self.newest.mark_unchanged();
                return Ok(());
            }
            turn.await;
        }
    }

    pub(crate) async fn wait_for(&mut self, holds: impl Fn(&Route) -> bool) -> Result<Route, RouteOver> {
        loop {
            let route = self.borrow_and_update().clone();
            if holds(&route) {
                return Ok(route);
            }
            self.changed().await?;
        }
    }
}

impl RouteSender {
    /// With a route that leads nowhere.
    pub(crate) fn new() -> Self {
        Self { newest: watch::channel(Route::nowhere()).0, turn: Arc::default() }
    }

    pub(crate) fn subscribe(&self) -> RouteReceiver {
        RouteReceiver { newest: self.newest.subscribe(), turn: self.turn.clone() }
    }

    pub(crate) fn borrow(&self) -> watch::Ref<'_, Route> {
        self.newest.borrow()
    }

    pub(crate) fn send_replace(&self, route: Route) {
        self.newest.send_replace(route);
        self.turn.notify_waiters();
    }

    pub(crate) fn send_modify(&self, change: impl FnOnce(&mut Route)) {
        self.newest.send_modify(change);
        self.turn.notify_waiters();
    }
}

impl Drop for RouteSender {
    fn drop(&mut self) {
        // The channel must be over before anyone looks.
        self.newest = watch::channel(Route::nowhere()).0;
        self.turn.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;

    /// Who waits longest goes first: with the wakers of a watch, eight of them in order would be a rare chance.
    #[tokio::test]
    async fn those_who_wait_for_a_route_go_on_in_order_and_hear_of_its_end() {
        let sender = RouteSender::new();
        let woken = Rc::new(RefCell::new(Vec::new()));
        let waiter = |n: u32| {
            let (mut routes, woken) = (sender.subscribe(), woken.clone());
            async move {
                routes.changed().await.expect("one is published");
                woken.borrow_mut().push(n);
                routes.changed().await.expect_err("there is no other");
            }
        };
        let local = tokio::task::LocalSet::new();
        let all: Vec<_> = (0..8).map(|n| local.spawn_local(waiter(n))).collect();
        let publish = async {
            tokio::task::yield_now().await;
            sender.send_replace(Route::nowhere());
            tokio::task::yield_now().await;
            drop(sender);
            for one in all {
                one.await.expect("it ends");
            }
        };
        local.run_until(publish).await;
        assert_eq!(*woken.borrow(), [0, 1, 2, 3, 4, 5, 6, 7]);
    }
}
