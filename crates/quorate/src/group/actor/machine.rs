//! The life of the applier, as Group sees it: started, lost, started again with the pauses of the table, or down for good
//! (`docs/safety.md` 11). Which nodes' machines faulted, and what follows from it, is `faults`.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use quorate_core::NodeId;
use ractor::ActorRef;

use super::{Child, GroupMessage, GroupState, JOIN_MAX};
use crate::applier::{ApplierMessage, ApplierStart};
use crate::group::Condition;
use crate::role::LeaderMessage;
use crate::wire::Request;

/// How often a node whose machine faulted says so.
const FAULT_REPEAT: Duration = Duration::from_secs(1);

impl GroupState {
    pub(super) async fn start_applier(&mut self, me: &ActorRef<GroupMessage>) {
        if self.fault_here.is_some() {
            return;
        }
        self.applier_at = None;
        let cx = &self.start.cx;
        let name =
            format!("{}/group/{}/applier/{}.{}", cx.name_prefix, cx.name, self.epoch, self.applier_life);
        self.poison = Arc::default();
        let start = ApplierStart { cx: cx.clone(), group: me.clone(), poison: self.poison.clone() };
        match self.start.machine.spawn(name, start, me.get_cell()).await {
            Ok((actor, join)) => {
                self.failed_starts = 0;
                self.applier = Some(Child { cell: actor.get_cell(), actor, join });
                self.publish(me);
            }
            Err(error) => {
                tracing::error!(node = %cx.node, group = %cx.name, %error, "applier did not start");
                self.failed_starts += 1;
                if self.failed_starts > self.start.machine_restarts_max {
                    // A machine that cannot even be restored is one this replica does without (index zero: no entry).
                    self.stays_down(me, 0).await;
                } else {
                    self.restart_applier_later(me);
                }
            }
        }
    }

    pub(super) async fn applier_lost(
        &mut self,
        me: &ActorRef<GroupMessage>,
        applier: Child<ActorRef<ApplierMessage>>,
        why: &str,
    ) {
        let _ = tokio::time::timeout(JOIN_MAX, applier.join).await;
        self.applier_at = None;
        let (node, group) = (&self.start.cx.node, &self.start.cx.name);
        let poison = self.poison.load(Ordering::Acquire);
        if poison != 0 && self.faults.machine_ended(poison, self.start.machine_restarts_max) {
            self.stays_down(me, poison).await;
            return;
        }
        tracing::warn!(%node, %group, why, "applier restarts");
        self.restart_applier_later(me);
    }

    /// The machine of this replica is not started again: it gives leadership away, and goes on replicating and voting.
    async fn stays_down(&mut self, me: &ActorRef<GroupMessage>, index: u64) {
        let node = self.start.cx.node.clone();
        tracing::error!(%node, group = %self.start.cx.name, index, "the state machine of this replica stays down");
        self.fault_here = Some(index);
        self.publish(me);
        self.repeat_fault(me);
        self.faulted(me, node, index);
        self.start_follower(me).await;
    }

    fn restart_applier_later(&mut self, me: &ActorRef<GroupMessage>) {
        self.applier_life += 1;
        self.publish(me);
        let pause = self.applier_restarts.pause(self.start.cx.clock.now());
        let life = self.applier_life;
        drop(me.send_after(pause, move || GroupMessage::RestartApplier(life)));
    }

    /// A machine is down for good, here or there. On a majority, at one entry, the group is faulted; short of that a
    /// leader without a machine gives leadership to someone who has one.
    pub(super) fn faulted(&mut self, me: &ActorRef<GroupMessage>, node: NodeId, index: u64) {
        self.faults.faulted(node, index);
        let of_majority = self.membership.as_ref().and_then(|m| self.faults.of_majority(m));
        match of_majority {
            Some(index) if self.condition == Condition::Open => {
                tracing::error!(node = %self.start.cx.node, group = %self.start.cx.name, index, "the group is faulted");
                self.condition = Condition::Faulted(index);
                self.publish(me);
            }
            None if self.fault_here.is_some() => self.tell_leader(|| LeaderMessage::Transfer { to: None }),
            Some(_) | None => {}
        }
    }

    pub(super) fn repeat_fault(&mut self, me: &ActorRef<GroupMessage>) {
        let Some(index) = self.fault_here else { return };
        // Until the log is loaded nobody is known to be told; it goes on all the same, or nobody ever would be.
        if let Some(membership) = &self.membership {
            let cx = &self.start.cx;
            for remote in membership.peers_of(&cx.node).filter_map(|peer| cx.remote(peer)) {
                let _ = remote.cast(&Request::Faulted { node: cx.node.clone(), index });
            }
            self.faulted(me, self.start.cx.node.clone(), index);
        }
        drop(me.send_after(FAULT_REPEAT, || GroupMessage::RepeatFault));
    }
}
