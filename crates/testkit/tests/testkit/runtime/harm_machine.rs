//! Attacks on state machines: slow ones, and those that stay down on one node.

use quorate::Injury;
use quorate_testkit::sim::{MachineCall, NodeState};

use super::groups::Groups;
use super::nemesis::Nemesis;

impl Nemesis {
    fn group(&mut self) -> String {
        let names = self.opens.names();
        // Those that have most of the load.
        names[self.draw.place(2)].clone()
    }

    pub(super) async fn slow_machine(&mut self, any: usize) {
        let group = self.group();
        let nodes: Vec<usize> =
            if self.draw.chance(700) { vec![any] } else { (0..self.options.nodes).collect() };
        let (min_ms, max_ms, per_mille) =
            self.draw.pick(&[(1, 20, 1_000), (100, 2_000, 100), (3_000, 10_000, 30)]);
        let call = self.draw.pick(&[
            MachineCall::Apply,
            MachineCall::Apply,
            MachineCall::Query,
            MachineCall::Query,
            MachineCall::Restore,
        ]);
        self.cluster.note(format_args!("{group} on {nodes:?}: {call:?} takes {min_ms} to {max_ms} ms"));
        let before: u64 = nodes.iter().map(|at| self.cluster.machine(*at, &group).slow_calls(call)).sum();
        for at in &nodes {
            let faults = self.cluster.machine(*at, &group);
            // Of queries there are few, and of restores one.
            let slow_per_mille = match call {
                MachineCall::Restore => 1_000,
                MachineCall::Query => per_mille.max(300),
                MachineCall::Apply => per_mille,
            };
            faults.set_time_ms(call, min_ms, max_ms, slow_per_mille);
            if call == MachineCall::Restore {
                self.injure_kind(*at, "applier", &group, Injury::Kill).await;
            }
        }
        self.wait().await;
        for at in &nodes {
            self.cluster.machine(*at, &group).mend();
        }
        let after: u64 = nodes.iter().map(|at| self.cluster.machine(*at, &group).slow_calls(call)).sum();
        if after > before {
            self.coverage.note(format!("slow {call:?}"));
        }
    }

    /// The machine of one group stays down on one node: it says so, and the group goes on without it.
    pub(super) async fn machine_down(&mut self, at: usize, at_restore: bool) {
        if self.options.nodes < 3 || self.harm.machine.get().is_some() {
            return;
        }
        self.harm.machine.set(Some(at));
        let group = self.group();
        let faults = self.cluster.machine(at, &group);
        if at_restore {
            faults.set_fails_restore(true);
            self.injure_kind(at, "applier", &group, Injury::Kill).await;
        } else {
            faults.set_chokes(true);
        }
        let acknowledged = self.acknowledged.get();
        self.wait().await;
        let name = group.clone();
        let look = |node: quorate::Node, _: Groups| async move {
            node.groups().await.into_iter().find(|status| status.group == name)
        };
        let status = self.cluster.on(at, look).await.ok().flatten();
        if let Some(status) = status.filter(|status| status.fault_here.is_some()) {
            let index = status.fault_here.unwrap_or_default();
            let met = faults.chokes_at().unwrap_or_default();
            assert!(
                at_restore && index == 0 || index == met,
                "node{at} says that its machine is down at {index}, and it is at {met}"
            );
            assert!(status.halted.is_some(), "node{at} does not say why its machine is down");
            self.coverage.note(if at_restore {
                "machine down at restore"
            } else {
                "machine down at an entry"
            });
            if self.acknowledged.get() > acknowledged {
                self.coverage.note("acknowledged beside a machine that is down");
            }
        }
        faults.mend();
        // An operator starts the node again: a machine that was given up is not.
        if self.cluster.state(at) == NodeState::Up {
            self.crash(at).await;
            self.cluster.restart(at).await;
        }
        self.harm.machine.set(None);
    }
}
