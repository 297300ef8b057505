//! Attacks on disks: full ones, late ones, damaged ones.

use std::time::Duration;

use quorate::Standing;
use quorate::store::{Crash, Disk, Keyspace, Rot};
use quorate_testkit::sim::NodeState;

use super::attack::Cause;
use super::groups::Groups;
use super::nemesis::Nemesis;

/// Free space that a node keeps in reserve on a large volume.
const RESERVE_BYTES: u64 = 256 << 20;
/// Less than that, more than a run writes.
const SCARCE_BYTES: u64 = 100 << 20;
/// How long a disk may be left alone before its anchor is up to date.
const SETTLES: Duration = Duration::from_millis(200);

impl Nemesis {
    /// Others use the volume up to this: `free` bytes are left.
    fn fill(&self, at: usize, free: u64) {
        let disk = self.cluster.disk(at);
        disk.set_foreign_bytes(0);
        disk.set_foreign_bytes(disk.free_bytes().unwrap_or(0).saturating_sub(free));
    }

    pub(super) async fn fill_for(&mut self, nodes: &[usize]) {
        // With notice, or from one write to the next.
        let with_notice = nodes.len() > 1 || self.draw.chance(700);
        for at in nodes {
            if !with_notice {
                self.harm.may_end(*at, Cause::NoSpace);
            }
            self.fill(*at, if with_notice { SCARCE_BYTES } else { 0 });
        }
        self.wait().await;
        for at in nodes {
            self.cluster.disk(*at).set_foreign_bytes(0);
        }
    }

    pub(super) async fn space_flaps(&mut self, any: usize) {
        let nodes: Vec<usize> =
            if self.draw.chance(500) { vec![any] } else { (0..self.options.nodes).collect() };
        let end = self.cluster.now() + self.length();
        while self.cluster.now() < end {
            for at in &nodes {
                let around = self.draw.range(0, RESERVE_BYTES / 4);
                self.fill(*at, RESERVE_BYTES - RESERVE_BYTES / 8 + around);
            }
            let soon = self.draw.range(10, 300);
            self.cluster.pause(Duration::from_millis(soon)).await;
        }
        for at in nodes {
            self.cluster.disk(at).set_foreign_bytes(0);
        }
    }

    pub(super) async fn disk_behind(&mut self, at: usize) {
        let disk = self.cluster.disk(at);
        disk.backlog().set_waiting(true);
        self.wait().await;
        disk.backlog().set_waiting(false);
    }

    pub(super) async fn stall(&mut self, at: usize) {
        let disk = self.cluster.disk(at);
        self.harm.may_end(at, Cause::Silent);
        disk.stall(true);
        self.wait().await;
        disk.stall(false);
    }

    /// Damages what one node has on its disk. It must notice: it sets its log aside and recovers it from its peers, or refuses to start.
    pub(super) async fn damage(&mut self, at: usize) {
        if self.options.nodes < 3 || self.harm.damaged.get().is_some_and(|other| other != at) {
            return;
        }
        self.harm.recovers.set(false);
        self.harm.damaged.set(Some(at));
        // The anchor may lag behind the log for a moment: damage in that window looks like an unfinished write.
        self.cluster.isolate(at);
        self.cluster.pause(SETTLES).await;
        self.crash(at).await;
        self.cluster.heal();
        self.wait().await;
        if self.cluster.state(at) != NodeState::Down {
            // Another attack has started it: nothing is lost.
            self.harm.damaged.set(None);
            return;
        }
        let image = self.cluster.disk(at).crash(Crash::Process);
        let (batches, sectors) = (image.batches(), image.sectors());
        let byte = self.draw.place(4_096);
        let batch = self.draw.place(batches);
        let rot = match self.draw.below(3) {
            0 if !sectors.is_empty() => Rot::Sector { sector: self.draw.pick(&sectors), byte },
            1 => Rot::Value { batch, byte, keyspace: Keyspace::Log },
            _ => Rot::Batch { batch },
        };
        self.cluster.note(format_args!("node{at}: {rot:?} of {batches}"));
        self.cluster.damage(at, &rot);
        self.harm.may_end(at, Cause::Damaged);
        self.cluster.restart(at).await;
        let is_refused = |reason: &str| !reason.contains("log store failed");
        if matches!(self.cluster.state(at), NodeState::Ended { reason } if is_refused(&reason)) {
            // An operator who has a copy, and sees that nothing has run on the disk since.
            self.coverage.note("refused a damaged disk");
            self.cluster.crash(at, Crash::Process).await;
            self.cluster.replace_disk(at, image);
            self.harm.restarted(at);
            self.cluster.restart(at).await;
        }
        self.harm.recovers.set(true);
        let recovering = |status: quorate::GroupStatus| {
            status.role.is_some_and(|role| role.standing == Standing::Recovering)
        };
        let look = |_, groups: Groups| async move { groups.kv.status().await };
        if self.cluster.on(at, look).await.is_ok_and(recovering) {
            self.coverage.note("recovering after damage");
        }
    }
}
