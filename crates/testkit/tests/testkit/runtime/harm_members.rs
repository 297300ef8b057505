//! Attacks on who the members are: a disk is lost and another one takes its place, a member is removed, a voter loses its vote for a while.
//! An operator sees to it that every node votes again in the end.

use std::time::Duration;

use quorate::store::{Crash, SimDisk};
use quorate::{ChangeError, Injury, MemberKind, MembersView, NodeId};
use quorate_testkit::sim::NodeState;

use super::attack::{Cause, Harm};
use super::coverage::Coverage;
use super::groups::{Groups, Kvs, Opens};
use super::nemesis::Nemesis;

/// How long a change may take before an attacker or operator looks again.
const CHANGE_MAX: Duration = Duration::from_secs(2);

/// A change of one member.
#[derive(Debug, Clone, Copy)]
enum Order {
    Replace,
    Remove,
    Demote,
    Promote,
}

fn id(at: usize) -> NodeId {
    NodeId::new(&format!("node{at}")).expect("a name")
}

impl Nemesis {
    /// A node loses its disk for good. It comes back with an empty one that joins, and takes the place of the old one once it is told to;
    /// or it was removed before that and is new.
    pub(super) async fn lose_disk(&mut self, at: usize) {
        if self.options.nodes < 3 || self.harm.damaged.get().is_some() {
            return;
        }
        self.harm.recovers.set(false);
        self.harm.damaged.set(Some(at));
        if self.draw.chance(400) {
            for group in self.opens.names() {
                let by = self.draw.place(self.options.nodes);
                order(&self.cluster, by, &group, Order::Remove, at, &self.coverage).await;
            }
            self.wait().await;
        }
        self.crash(at).await;
        self.wait().await;
        if self.cluster.state(at) != NodeState::Down {
            // Another attack has started it: nothing is lost. Where it was removed it must lose its disk, or it never comes back.
            self.crash(at).await;
        }
        self.harm.may_end(at, Cause::NotReached);
        self.cluster.replace_disk(at, SimDisk::new().crash(Crash::Process));
        self.cluster.joins(at);
        self.coverage.note("disk lost");
        self.cluster.restart(at).await;
        self.harm.recovers.set(true);
        self.wait().await;
        let actors = self.cluster.actors(at).await;
        if let Some(joiner) = actors.iter().find(|actor| actor.kind == "joiner") {
            let injury = self.draw.pick(&[Injury::Panic, Injury::Stop, Injury::Kill]);
            if self.cluster.injure(at, &joiner.name, injury).await {
                self.coverage.note(format!("{injury:?} joiner"));
            }
        }
        restore_votes(&self.cluster, &self.opens, &self.harm, &self.coverage).await;
    }

    /// A voter is a learner for a while.
    pub(super) async fn demote(&mut self, at: usize) {
        let (names, by) = (self.opens.names(), self.draw.place(self.options.nodes));
        let group = names[self.draw.place(names.len())].clone();
        order(&self.cluster, by, &group, Order::Demote, at, &self.coverage).await;
        self.wait().await;
        order(&self.cluster, by, &group, Order::Promote, at, &self.coverage).await;
    }
}

async fn list(cluster: &Kvs, by: usize, group: &str) -> Option<MembersView> {
    let group = group.to_owned();
    let look = |_, groups: Groups| async move { groups.members(&group).within(CHANGE_MAX).list().await };
    cluster.on(by, look).await.ok()?.ok()
}

/// Orders a change, and counts how it ended.
async fn order(cluster: &Kvs, by: usize, group: &str, order: Order, at: usize, coverage: &Coverage) {
    let group = group.to_owned();
    let change = move |_, groups: Groups| async move {
        let members = groups.members(&group).within(CHANGE_MAX);
        match order {
            Order::Replace => members.replace(id(at)).await,
            Order::Remove => members.remove(id(at)).await,
            Order::Demote => members.demote(id(at)).await,
            Order::Promote => members.promote(id(at)).await,
        }
    };
    match cluster.on(by, change).await {
        Ok(Ok(_)) => coverage.note(format!("member: {order:?}")),
        Ok(Err(ChangeError::Unknown { .. })) => coverage.note("member: unknown"),
        Ok(Err(_)) => coverage.note("member: refused"),
        Err(_) => {}
    }
}

/// What an operator does who wants every node to vote in every group: takes the disk that waits in the place of the lost one, and gives learners
/// their vote back.
pub(crate) async fn restore_votes(cluster: &Kvs, opens: &Opens, harm: &Harm, coverage: &Coverage) {
    for group in opens.names() {
        for by in 0..cluster.nodes() {
            let Some(view) = list(cluster, by, &group).await else { continue };
            let wiped = harm.damaged.get();
            let waits = |at: &usize| view.waiting.iter().any(|joiner| joiner.id == id(*at));
            if let Some(at) = wiped.filter(waits) {
                order(cluster, by, &group, Order::Replace, at, coverage).await;
            }
            let learners = view.members.iter().filter(|member| member.kind == MemberKind::Learner);
            for at in (0..cluster.nodes()).filter(|at| learners.clone().any(|member| member.id == id(*at))) {
                order(cluster, by, &group, Order::Promote, at, coverage).await;
            }
            break;
        }
    }
}
