//! How Group starts, loses and restarts the applier, with the pauses of the table, or leaves it down
//! (`docs/safety.md` 11). Which nodes' machines faulted, and what follows from it, is `faults`.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use quorate_core::{Index, NodeId, RoleEvent};
use ractor::{ActorRef, RpcReplyPort};

use crate::applier::actor::{ApplierStart, NOT_RESTORED, start as start_applier};
use crate::gauge::Gauge;
use crate::group::faults::REPEAT;
use crate::group::state::{Child, GroupState, JOIN_MAX};
use crate::messages::applier::{ApplierMessage, ApplierRef};
use crate::messages::group::GroupMessage;
use crate::messages::role::LeaderMessage;
use crate::protocol::Request;
use crate::route::Condition;

impl GroupState {
    pub(super) async fn begin_applier(&mut self, me: &ActorRef<GroupMessage>) {
        if self.fault_here.is_some() {
            return;
        }
        self.applier_ready = false;
        let cx = &self.start.cx;
        let name =
            format!("{}/group/{}/applier/{}.{}", cx.name_prefix, cx.name, self.epoch, self.applier_number);
        (self.poison, self.gauge) = (Arc::default(), Arc::new(Gauge::new(cx.clock.clone())));
        let (machine, poison, gauge) = (self.start.machine.clone(), self.poison.clone(), self.gauge.clone());
        let start = ApplierStart { cx: cx.clone(), group: me.clone(), machine, poison, gauge };
        match start_applier(name, start, me.get_cell()).await {
            Ok((actor, join)) => {
                self.applier = Some(Child { cell: actor.get_cell(), actor, join });
                self.publish(me);
            }
            Err(error) => {
                self.applier_not_started(me, &error.to_string()).await;
            }
        }
    }

    /// The applier has restored its machine, or asks for the entries after this one once more.
    pub(super) async fn applier_ready(&mut self, me: &ActorRef<GroupMessage>, applied: Index) {
        self.failed_starts = 0;
        if !std::mem::replace(&mut self.applier_ready, true) {
            self.publish(me);
        }
        self.tell_role(RoleEvent::ApplierRestarted(applied));
        self.start_follower(me).await;
    }

    async fn applier_not_started(&mut self, me: &ActorRef<GroupMessage>, error: &str) {
        let cx = &self.start.cx;
        tracing::error!(node = %cx.node, group = %cx.name, %error, "applier did not start");
        self.failed_starts += 1;
        if self.failed_starts > self.start.machine_restarts_max {
            // The machine cannot even be restored: this replica goes on without it (index zero: no entry).
            self.halted = Some(error.into());
            self.stays_down(me, 0).await;
        } else {
            self.restart_applier_later(me);
        }
    }

    pub(super) async fn applier_lost(
        &mut self,
        me: &ActorRef<GroupMessage>,
        applier: Child<ApplierRef>,
        reason: &str,
    ) {
        let _ = tokio::time::timeout(JOIN_MAX, applier.join).await;
        self.applier_ready = false;
        // It has answered callers up to here; the next machine answers none before it is as far.
        self.start.cx.replay.applied(self.gauge.applied());
        self.captured(Err("the state machine was restarted".to_owned()));
        let (node, group) = (&self.start.cx.node, &self.start.cx.name);
        let poison = self.poison.load(Ordering::Acquire);
        if poison == NOT_RESTORED {
            let reason = format!("its state machine cannot be restored from its first state: {reason}");
            return self.applier_not_started(me, &reason).await;
        }
        let restarts_max = if self.gauge.has_halted() { 0 } else { self.start.machine_restarts_max };
        if poison != 0 && self.faults.machine_ended(poison, restarts_max) {
            self.halted = Some(reason.into());
            self.stays_down(me, poison).await;
            return;
        }
        tracing::warn!(%node, %group, reason, "restarting applier");
        self.restart_applier_later(me);
    }

    /// The machine of this replica is not started again. The replica gives leadership away, and goes on replicating and
    /// voting.
    async fn stays_down(&mut self, me: &ActorRef<GroupMessage>, index: u64) {
        let node = self.start.cx.node.clone();
        let reason = self.halted.as_deref().unwrap_or_default();
        tracing::error!(%node, group = %self.start.cx.name, index, reason, "state machine stays down on this node");
        self.fault_here = Some(index);
        self.tell_role(RoleEvent::MachineDown);
        self.publish(me);
        self.tell_fault(me);
        self.faulted(me, node, index);
        self.start_follower(me).await;
    }

    /// A peer sends entries that this build cannot read, or, with `None`, entries that it can read again.
    pub(super) fn entries_unreadable(&mut self, me: &ActorRef<GroupMessage>, reason: Option<String>) {
        if self.fault_here.is_some() || self.halted.as_deref() == reason.as_deref() {
            return;
        }
        let (node, group) = (&self.start.cx.node, &self.start.cx.name);
        if let Some(reason) = &reason {
            tracing::error!(%node, %group, reason, "this replica takes no more entries");
        } else {
            tracing::info!(%node, %group, "this replica takes entries again");
        }
        self.halted = reason.map(Into::into);
        self.publish(me);
    }

    fn restart_applier_later(&mut self, me: &ActorRef<GroupMessage>) {
        self.applier_number += 1;
        self.publish(me);
        let pause = self.applier_restarts.pause(self.start.cx.clock.now());
        let number = self.applier_number;
        drop(me.send_after(pause, move || GroupMessage::RestartApplier(number)));
    }

    /// The machine of a node stays down. On a majority, at one entry, the group is faulted; short of that, a leader without
    /// a machine gives leadership to a node that has one.
    pub(super) fn faulted(&mut self, me: &ActorRef<GroupMessage>, node: NodeId, index: u64) {
        let now = self.start.cx.clock.now();
        self.faults.faulted(node, index, now);
        let of_majority = self.faulted_on_majority();
        match of_majority {
            Some(index) if self.condition == Condition::Open => {
                tracing::error!(node = %self.start.cx.node, group = %self.start.cx.name, index, "group faulted");
                self.condition = Condition::Faulted(index);
                self.publish(me);
                self.repeat_fault_later(me);
            }
            None if self.fault_here.is_some() => {
                self.tell_leader(LeaderMessage::Transfer { to: None, reply: None });
            }
            Some(_) | None => {}
        }
    }

    fn faulted_on_majority(&mut self) -> Option<u64> {
        let now = self.start.cx.clock.now();
        self.membership.as_ref().and_then(|m| self.faults.of_majority(m, now))
    }

    /// Tells the peers that the machine of this node is down, if it is, now and every second.
    pub(super) fn tell_fault(&mut self, me: &ActorRef<GroupMessage>) {
        // Membership is unknown until the log is loaded; keep the timer running so the fault is still announced.
        if let Some((index, membership)) = self.fault_here.zip(self.membership.as_ref()) {
            let cx = &self.start.cx;
            for remote in membership.peers_of(&cx.node).filter_map(|peer| cx.remote(peer)) {
                let _ = remote.cast(&Request::Faulted { node: cx.node.clone(), index });
            }
            self.faulted(me, self.start.cx.node.clone(), index);
        }
        self.repeat_fault_later(me);
    }

    pub(super) fn repeat_fault(&mut self, me: &ActorRef<GroupMessage>) {
        self.repeats_fault = false;
        if let Condition::Faulted(index) = self.condition
            && self.faults.are_over(self.membership.as_ref(), self.start.cx.clock.now())
        {
            tracing::info!(node = %self.start.cx.node, group = %self.start.cx.name, index, "group takes commands again");
            self.condition = Condition::Open;
            self.publish(me);
        }
        self.tell_fault(me);
    }

    fn repeat_fault_later(&mut self, me: &ActorRef<GroupMessage>) {
        let is_needed = self.fault_here.is_some() || matches!(self.condition, Condition::Faulted(_));
        if is_needed && !std::mem::replace(&mut self.repeats_fault, true) {
            drop(me.send_after(REPEAT, || GroupMessage::RepeatFault));
        }
    }

    /// Takes no more proposals. The applier answers once no caller waits in it.
    pub(super) fn close(&mut self, me: &ActorRef<GroupMessage>, detail: String, reply: RpcReplyPort<()>) {
        self.condition = Condition::Stopped(detail);
        self.publish(me);
        if let Some(applier) = &self.applier {
            let _ = applier.actor.cast(ApplierMessage::WhenIdle(reply));
        }
    }
}
