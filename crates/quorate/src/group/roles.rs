//! How Group loads, starts, replaces and restarts its role (`docs/safety.md` 9, 10).

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use quorate_core::{
    Entry, Epoch, Incarnation, Index, Loaded, LogId, Member, Membership, NextRole, NodeId, ReplicaState,
    RoleEvent,
};
use quorate_store::{Answer, LoadedGroup, PeerSource, StoreError, StoreRequest};
use ractor::{ActorRef, RpcReplyPort};

use crate::group::completion::completion_sink;
use crate::group::state::{Child, GroupState, JOIN_MAX};
use crate::messages::group::GroupMessage;
use crate::messages::role::{EndedRole, LeaderMessage, RoleRef, RoleStatus};
use crate::messages::snapshotter::SnapshotterMessage;
use crate::messages::store::{AnswerPort, port_answer};
use crate::protocol::MemberAddress;
use crate::role::start::{RoleStart, role_name, start_role};

/// How long after the commit of its removal a former member is still a peer: as long as a leader sends it the log.
const LINGER_ELECTION_TIMEOUTS: u32 = 10;

/// Bytes of entries that one read for people returns, about.
const READ_LOG_BYTES_MAX: usize = 4 << 20;

impl GroupState {
    /// Handles what came back from a stale route, or found no role.
    pub(super) fn for_role(&mut self, event: RoleEvent) {
        match event {
            // An event that came through Group may be stale; send the current value.
            RoleEvent::DiskFull(_) => self.tell_disk_full(),
            RoleEvent::StoreAway if self.start.cx.store().is_some() => {}
            // May come from a previous applier; the current one shows where it is.
            RoleEvent::Applied(_) if self.applier_ready => {
                self.tell_role(RoleEvent::Applied(self.gauge.applied()));
            }
            RoleEvent::Applied(_) => {}
            other => self.tell_role(other),
        }
    }

    /// The incarnations in the membership replace those met on links (`docs/safety.md` 14). They are made durable on this
    /// node, where admission finds them.
    pub(super) fn membership_changed(&mut self, membership: Membership) {
        if let Some(store) = self.start.cx.store() {
            let known = membership.members.iter().filter(|(_, member)| member.incarnation.0 != 0);
            for (peer, member) in known.filter(|(peer, _)| **peer != self.start.cx.node) {
                let (peer, incarnation) = (peer.clone(), member.incarnation);
                // If it is lost with the store's actor, it is sent again when the next role is loaded.
                let (source, reply) = (PeerSource::Membership, Answer::new(drop));
                let record = StoreRequest::RecordPeer { peer, incarnation, source, reply };
                let _ = store.cast(record.into());
            }
        }
        let address =
            |(id, member): (&NodeId, &Member)| MemberAddress { id: id.clone(), raft: member.raft.clone() };
        self.members = membership.members.iter().map(address).collect();
        // Under the name of one that has left another disk may come.
        let (known, me) = (&mut self.start.known, &self.start.cx.node);
        known.retain(|(peer, _)| peer == me || membership.members.contains_key(peer));
        self.recorded.retain(|(peer, _)| membership.members.contains_key(peer));
        self.membership = Some(membership);
    }

    /// Who has left stays a peer a little longer: it is told, and who asked for it is answered.
    pub(super) fn membership_committed(&self, me: &ActorRef<GroupMessage>, index: Index) {
        let linger = self.start.cx.core.election_timeout * LINGER_ELECTION_TIMEOUTS;
        drop(me.send_after(linger, move || GroupMessage::ForgetLeft(index)));
    }

    /// Passes a read for people on to the store. While the store is restarted the port is dropped, and the asker told so.
    pub(super) fn read_log(&self, from: Index, through: Index, reply: AnswerPort<Vec<Entry>>) {
        let (group, epoch) = (self.start.cx.id, self.epoch);
        if let Some(store) = self.start.cx.store() {
            let (bytes_max, reply) = (READ_LOG_BYTES_MAX, port_answer(reply));
            let read = StoreRequest::Read { group, epoch, from, through, bytes_max, reply };
            let _ = store.cast(read.into());
        }
    }

    /// Tells the role whether the disk is full, and again if that has changed meanwhile, for the store may have told it first.
    fn tell_disk_full(&self) {
        loop {
            let full = self.start.cx.disk.is_full();
            self.tell_role(RoleEvent::DiskFull(full));
            if self.start.cx.disk.is_full() == full {
                return;
            }
        }
    }

    /// Begins a new epoch: the store drops what an older role ordered and is not yet under way.
    pub(super) fn load(&mut self, me: &ActorRef<GroupMessage>) {
        self.epoch = Epoch(self.start.epoch.fetch_add(1, Ordering::Relaxed) + 1);
        self.loaded = None;
        self.leader.0 = None;
        self.publish(me);
        let (group, epoch) = (self.start.cx.id, self.epoch);
        // Without a store the load begins when it is back.
        let Some(store) = self.start.cx.store() else { return };
        let sink = completion_sink(self.start.cx.routes());
        let tail_bytes_max = self.start.cx.core.tail_bytes_max;
        let ask = move |reply| {
            StoreRequest::Load { group, epoch, tail_bytes_max, sink, reply: port_answer(reply) }.into()
        };
        drop(store.call_and_forward(ask, me, move |result| GroupMessage::Loaded { epoch, result }, None));
    }

    pub(super) async fn loaded(
        &mut self,
        me: &ActorRef<GroupMessage>,
        epoch: Epoch,
        result: Result<LoadedGroup, StoreError>,
    ) {
        if epoch != self.epoch || self.role.is_some() {
            return;
        }
        match result {
            Ok(loaded) => {
                self.loaded = Some(loaded);
                self.start_follower(me).await;
            }
            Err(error) => {
                // A fatal error stops the node; any other, such as an epoch that is no longer the newest, is retried.
                let (node, group) = (&self.start.cx.node, &self.start.cx.name);
                tracing::error!(%node, %group, %error, "cannot load the group");
                self.restart_role_later(me);
            }
        }
    }

    /// Starts a follower once the disk's state is known and the applier has restored its machine (`docs/safety.md` 10). The
    /// applier's position is read from its gauge; later progress reaches the role as usual.
    pub(super) async fn start_follower(&mut self, me: &ActorRef<GroupMessage>) {
        let applied = match (self.applier_ready, self.fault_here) {
            (true, _) => self.gauge.applied_entry(),
            (false, Some(_)) => LogId::default(),
            (false, None) => return,
        };
        if self.role.is_some() {
            return;
        }
        let Some(loaded) = self.loaded.take() else { return };
        let (cx, membership) = (&self.start.cx, loaded.memberships.current().clone());
        // No role runs, so there is no replicator.
        cx.roster.in_force(cx.id, (loaded.memberships.current_index(), &membership), &BTreeSet::new());
        self.membership_changed(membership);
        if loaded.start.index == Index::ZERO {
            self.founding = Some(loaded.memberships.at(Index::ZERO).clone());
        }
        self.start.cx.replay.found(loaded.tail.last().index);
        let mut unmet = loaded.unmet;
        // Admissions that came after the load.
        unmet.retain(|peer| self.start.known.iter().all(|(known, _)| known != peer));
        self.recorded = loaded.recorded;
        let entropy = self.start.entropy ^ self.epoch.0.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let loaded = Loaded {
            me: self.start.cx.node.clone(),
            boot: self.start.boot,
            hard_state: loaded.hard_state.into(),
            tail: loaded.tail,
            memberships: loaded.memberships,
            commit: loaded.start.index.max(applied.index),
            applied,
            unmet,
            entropy,
        };
        let state = Box::new(ReplicaState::new(loaded, self.start.cx.core.clone()));
        let waits_for: Vec<&str> = state.unmet().map(NodeId::as_str).collect();
        if !waits_for.is_empty() {
            let (node, group, waits_for) = (&self.start.cx.node, &self.start.cx.name, waits_for.join(","));
            tracing::info!(%node, %group, waits_for, "founding, every member must be reached once");
        }
        self.begin_role(me, NextRole::Follower, state).await;
        if self.fault_here.is_some() {
            self.tell_role(RoleEvent::MachineDown);
        }
    }

    async fn begin_role(&mut self, me: &ActorRef<GroupMessage>, role: NextRole, state: Box<ReplicaState>) {
        self.roles_started += 1;
        let (cx, epoch, count) = (self.start.cx.clone(), self.epoch, self.roles_started);
        let name = format!("{}/group/{}/{}/{epoch}.{count}", cx.name_prefix, cx.name, role_name(role));
        let start = RoleStart { cx: cx.clone(), group: me.clone(), epoch, state };
        match start_role(role, name, start, me.get_cell()).await {
            Ok((actor, join)) => {
                let cell = actor.cell();
                self.role = Some(Child { actor, cell, join });
                self.publish(me);
                // After the route is published: the store tells the role itself of any later change.
                if cx.disk.is_full() {
                    self.tell_disk_full();
                }
                self.tell_snapshotter(SnapshotterMessage::RoleStarted);
                // A member that is lost before a leader had a link to it is known by what is on record of it.
                let is_linked = |peer: &NodeId| self.start.known.iter().any(|(known, _)| known == peer);
                let recorded = self.recorded.iter().filter(|(peer, _)| !is_linked(peer));
                for (peer, incarnation) in recorded.chain(&self.start.known).cloned() {
                    self.tell_leader(LeaderMessage::PeerKnown { peer, incarnation });
                }
            }
            Err(error) => {
                let (node, group, role) = (&cx.node, &cx.name, role_name(role));
                tracing::error!(%node, %group, role, %error, "role did not start");
                self.restart_role_later(me);
            }
        }
    }

    /// The role that ended stays until its mailbox is empty: what still reaches it comes back to Group.
    pub(super) async fn next_role(&mut self, me: &ActorRef<GroupMessage>, ended: EndedRole) {
        self.log_role(&ended);
        let old = self.role.take();
        self.begin_role(me, ended.next.role, ended.state).await;
        if let Some(old) = old {
            let _ = old.cell.drain();
        }
        if let Some(message) = ended.next.redeliver {
            self.tell_role(RoleEvent::Message(message));
        }
    }

    pub(super) async fn role_lost(
        &mut self,
        me: &ActorRef<GroupMessage>,
        role: Child<RoleRef>,
        reason: &str,
    ) {
        // Its state may outlive the event that reports its end.
        let _ = tokio::time::timeout(JOIN_MAX, role.join).await;
        let (node, group) = (&self.start.cx.node, &self.start.cx.name);
        tracing::warn!(%node, %group, reason, "restarting role from disk");
        self.restart_role_later(me);
    }

    fn restart_role_later(&mut self, me: &ActorRef<GroupMessage>) {
        self.leader.0 = None;
        self.publish(me);
        let pause = self.role_restarts.pause(self.start.cx.clock.now());
        let epoch = self.epoch;
        drop(me.send_after(pause, move || GroupMessage::RestartRole(epoch)));
    }

    pub(super) fn peer_known(&mut self, peer: NodeId, incarnation: Incarnation) {
        self.start.known.retain(|(known, _)| *known != peer);
        self.start.known.push((peer.clone(), incarnation));
        self.tell_role(RoleEvent::Admitted(peer.clone()));
        self.tell_leader(LeaderMessage::PeerKnown { peer, incarnation });
    }

    pub(super) fn inspect(&self, reply: RpcReplyPort<RoleStatus>) {
        if let Some(role) = &self.role {
            role.actor.inspect(reply);
        }
    }
}

#[cfg(test)]
mod tests {
    use quorate_core::RoleEvent;

    use crate::Node;
    use crate::machine::{Add, Counter};
    use crate::messages::group::GroupMessage;

    /// What the store said to a role that has ended comes back to Group, which looks at what holds by then.
    #[tokio::test]
    async fn rule_16_a_late_word_of_the_store_is_not_taken_for_how_it_is() {
        let count = Node::single_memory(Counter::default()).await.expect("it starts");
        assert_eq!(count.propose(Add(1)).await.expect("it leads"), 1);
        let route = count.routes().borrow().clone();
        for event in [RoleEvent::DiskFull(true), RoleEvent::StoreAway] {
            route.tell_group(GroupMessage::ForRole { epoch: None, event });
        }
        // Group has handled both before it answers.
        let role = count.status().await.role.expect("it answers");
        assert_eq!((role.role.as_str(), role.standing), ("leader", quorate_core::Standing::Voter));
        assert_eq!(count.propose(Add(1)).await.expect("the disk has room, and the store is there"), 2);
    }
}
