//! How Node opens a group: the log store makes or finds its record, then its door is exposed and its actor started.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use quorate_core::GroupId;
use quorate_store::{GroupError as StoreGroupError, StoreRequest};
use ractor::ActorRef;

use crate::context::{GroupContext, SnapshotContext};
use crate::failure::GroupError;
use crate::group::door::open_door;
use crate::group::state::GroupStart;
use crate::messages::node::{NodeMessage, OpenGroup};
use crate::messages::store::port_answer;
use crate::node::actor::NodeState;
use crate::protocol::exposed_name;
use crate::recovering::RecoveringPeers;
use crate::route_watch::RouteSender;

impl NodeState {
    pub(super) fn open_group(&mut self, me: &ActorRef<NodeMessage>, open: OpenGroup) {
        let name = open.name.clone();
        if self.owner.groups().contains_key(&name) {
            // The caller may have stopped waiting.
            let _ = open.reply.send(Err(GroupError::AlreadyOpen { name }));
            return;
        }
        let Some(store) = self.owner.store_route.borrow().clone() else {
            let detail = "the log store is being restarted; try again".to_owned();
            let _ = open.reply.send(Err(GroupError::Store { name, detail }));
            return;
        };
        let founding = self.owner.founding.clone();
        let ask = move |reply| StoreRequest::OpenGroup { name, founding, reply: port_answer(reply) }.into();
        drop(store.call_and_forward(ask, me, move |result| NodeMessage::Opened { open, result }, None));
    }

    pub(super) async fn group_opened(
        &mut self,
        me: &ActorRef<NodeMessage>,
        open: OpenGroup,
        result: Result<GroupId, StoreGroupError>,
    ) {
        let OpenGroup { name, machine, reply } = open;
        let id = match result {
            Ok(id) => id,
            Err(error) => {
                let _ = reply.send(Err(GroupError::Store { name, detail: error.to_string() }));
                return;
            }
        };
        if self.owner.groups().contains_key(&name) {
            let _ = reply.send(Err(GroupError::AlreadyOpen { name }));
            return;
        }
        let route = RouteSender::new();
        let (routes, door) = (
            route.subscribe(),
            open_door(route.subscribe(), (id, self.owner.roster.clone()), machine.clone()),
        );
        let owner = &self.owner;
        let cx = Arc::new(GroupContext {
            id,
            workers: owner.workers.of_group(&name),
            snapshot: SnapshotContext::new(&owner.store, owner.snapshot_workers.clone(), &owner.config.node),
            name,
            node: owner.id.clone(),
            name_prefix: owner.name_prefix.clone(),
            clock: owner.clock.clone(),
            core: owner.config.core(),
            store: owner.store_route.subscribe(),
            disk: owner.store.clone(),
            roster: owner.roster.clone(),
            bridge: owner.bridge.clone(),
            replay: Arc::default(),
            recovering: RecoveringPeers::new(),
            route,
        });
        let start = GroupStart {
            cx,
            boot: owner.boot,
            epoch: Arc::new(AtomicU64::new(0)),
            entropy: owner.entropy ^ id.0,
            machine,
            machine_restarts_max: owner.config.node.machine_restarts_max,
            known: Vec::new(),
        };
        owner.add_group(start.clone());
        if let Some(bridge) = &owner.bridge {
            bridge.expose(&exposed_name(id), door).expect("the name of a group's number is short");
        }
        self.start_group_or_retry(me, start).await;
        let _ = reply.send(Ok(routes));
    }
}
