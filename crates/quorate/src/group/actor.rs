//! Group: the switchboard of one Raft group on one node, and the supervisor of its role and its applier.
//!
//! Owns the route (it alone publishes it), the children, and between two roles the replica's state. Hears its children,
//! Node, and what a stale route sends back. Asks the log store to load. Never touches term, vote or role: it passes the
//! state on by value. A crash loses its children with it; Node restarts it, it loads under a new epoch and its machine
//! is restored. Bound: what waits in it is Raft messages under the peers' windows and calls under permits; while no
//! role runs it drops the former (`docs/safety.md` 9) and handles do not send the latter.

use quorate_bridge::kill_below;
use quorate_core::RoleEvent;
use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};

use crate::group::state::{GroupStart, GroupState};
use crate::messages::group::GroupMessage;
use crate::messages::role::LeaderMessage;
use crate::supervision::ended;

pub(crate) struct GroupActor;

impl Actor for GroupActor {
    type Msg = GroupMessage;
    type State = GroupState;
    type Arguments = GroupStart;

    async fn pre_start(
        &self,
        _me: ActorRef<GroupMessage>,
        start: GroupStart,
    ) -> Result<GroupState, ActorProcessingErr> {
        Ok(GroupState::new(start))
    }

    async fn post_start(
        &self,
        me: ActorRef<GroupMessage>,
        state: &mut GroupState,
    ) -> Result<(), ActorProcessingErr> {
        state.begin_snapshotter(&me).await;
        state.begin_applier(&me).await;
        state.load(&me);
        state.tell_fault(&me);
        Ok(())
    }

    async fn handle(
        &self,
        me: ActorRef<GroupMessage>,
        message: GroupMessage,
        state: &mut GroupState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            GroupMessage::ForRole { epoch, event } if epoch.is_none_or(|epoch| epoch == state.epoch) => {
                state.for_role(event);
            }
            GroupMessage::MembershipChanged(membership) => {
                state.membership_changed(membership);
                state.publish(&me);
            }
            GroupMessage::MembershipCommitted(index) => state.membership_committed(&me, index),
            GroupMessage::ForgetLeft(index) => {
                state.start.cx.roster.forget_left(state.start.cx.id, index);
            }
            GroupMessage::LeaderKnown { epoch, leader, term } if epoch == state.epoch => {
                state.leader = (leader, term);
                state.log_leader(&me);
                state.publish(&me);
            }
            GroupMessage::RoleEnded(ended) if ended.epoch == state.epoch => state.next_role(&me, ended).await,
            GroupMessage::Located(Some(position)) => state.tell_role(RoleEvent::Located(position)),
            GroupMessage::Loaded { epoch, result } => state.loaded(&me, epoch, result).await,
            GroupMessage::ApplierReady { applied } => state.applier_ready(&me, applied).await,
            GroupMessage::EntriesUnreadable(reason) => state.entries_unreadable(&me, reason),
            GroupMessage::PeerFaulted { peer, index } => state.faulted(&me, peer, index),
            GroupMessage::Link { peer, link } => state.tell_role(RoleEvent::Link { peer, link }),
            GroupMessage::PeerKnown { peer, incarnation } => state.peer_known(peer, incarnation),
            GroupMessage::StoreAway => state.tell_role(RoleEvent::StoreAway),
            GroupMessage::StoreBack if state.role.is_none() => state.load(&me),
            GroupMessage::StoreBack => state.tell_role(RoleEvent::StoreBack),
            GroupMessage::Transfer { to, reply } => state.tell_leader(LeaderMessage::Transfer { to, reply }),
            GroupMessage::Inspect(reply) => state.inspect(reply),
            GroupMessage::ReadLog { from, through, reply } => state.read_log(from, through, reply),
            GroupMessage::Close { detail, reply } => state.close(&me, detail, reply),
            GroupMessage::RestartRole(epoch) if epoch == state.epoch && state.role.is_none() => {
                state.load(&me);
            }
            GroupMessage::RestartApplier(number)
                if number == state.applier_number && state.applier.is_none() =>
            {
                state.begin_applier(&me).await;
            }
            GroupMessage::Captured(captured) => state.captured(captured),
            GroupMessage::RestoreMachine => state.restore_machine(&me).await,
            GroupMessage::TakeSnapshot(port) => state.take_snapshot(port),
            GroupMessage::RestartSnapshotter(number)
                if number == state.snapshotter_number && state.snapshotter.is_none() =>
            {
                state.begin_snapshotter(&me).await;
            }
            // Of an earlier role or applier, or a read that failed.
            GroupMessage::ForRole { .. }
            | GroupMessage::LeaderKnown { .. }
            | GroupMessage::RoleEnded(_)
            | GroupMessage::Located(None)
            | GroupMessage::RestartRole(_)
            | GroupMessage::RestartApplier(_)
            | GroupMessage::RestartSnapshotter(_) => {}
            GroupMessage::LookForLeader(timer) => state.log_still_leaderless(&me, timer),
            GroupMessage::RepeatFault => state.repeat_fault(&me),
            GroupMessage::Panic => {
                kill_below(&me.get_cell());
                panic!("told to panic")
            }
        }
        Ok(())
    }

    async fn post_stop(
        &self,
        me: ActorRef<GroupMessage>,
        _: &mut GroupState,
    ) -> Result<(), ActorProcessingErr> {
        kill_below(&me.get_cell());
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        me: ActorRef<GroupMessage>,
        event: SupervisionEvent,
        state: &mut GroupState,
    ) -> Result<(), ActorProcessingErr> {
        let Some((who, reason)) = ended(event) else { return Ok(()) };
        if let Some(role) = state.role.take_if(|role| role.cell.get_id() == who.get_id()) {
            state.role_lost(&me, role, &reason).await;
        } else if let Some(applier) = state.applier.take_if(|applier| applier.cell.get_id() == who.get_id()) {
            state.applier_lost(&me, applier, &reason).await;
        } else if let Some(lost) = state.snapshotter.take_if(|own| own.cell.get_id() == who.get_id()) {
            state.snapshotter_lost(&me, lost, &reason).await;
        }
        Ok(())
    }
}
