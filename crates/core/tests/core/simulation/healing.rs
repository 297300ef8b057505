//! The end of all attacks, before progress is demanded: of every node, or of a majority while the rest stays broken until the
//! end. Otherwise a fault that only the whole cluster can repair would go unseen.

use super::applier::MachineTimes;
use super::cluster::Cluster;
use super::process::Process;
use crate::world::{Node, shuffled};

/// What stays wrong with a node outside the majority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Frozen {
    /// Its process does not run.
    Down,
    /// Nothing reaches it or comes from it.
    Cut,
    /// Its messages arrive, but it receives none.
    Deaf,
    /// It receives every message, but its own do not arrive.
    Mute,
    /// Its disk completes no write.
    Stalled,
    /// Its build does not know the newest kind of entries.
    Old,
}

impl Frozen {
    /// Those that are drawn; an old build is one from the beginning.
    const ALL: [Self; 5] = [Self::Down, Self::Cut, Self::Deaf, Self::Mute, Self::Stalled];
}

impl Cluster {
    /// Ends all attacks. Everything runs and no message is lost any more, except at frozen nodes.
    pub(crate) fn heal(&mut self) {
        if !self.options.heals_all {
            self.freeze_a_minority();
        }
        self.upgrade();
        self.trace(|| "heal".to_owned());
        self.network.heal();
        self.network.calm = true;
        self.options.attacks.clear();
        self.options.change_every = 0;
        self.options.torn_step = 0;
        self.options.clock_rates = vec![4];
        // Every node is asked, not the leader alone.
        self.options.stray_reads = self.options.stray_reads.max(500);
        self.options.read_every = self.options.read_every.max(self.options.election() / 5);
        // A load that the slowest drawn window can carry: progress is asked for, not throughput.
        self.options.propose_every = self.options.propose_every.max(200_000);
        self.options.batch_max = 1;
        self.options.payload_max = self.options.payload_max.min(200);
        self.options.disk_max = self.options.disk_min + 500;
        self.options.read_max = 500;
        self.calm_machines_and_disks();
        for at in 0..self.nodes.len() {
            self.mend(at);
        }
    }

    pub(crate) fn calm_machines_and_disks(&mut self) {
        self.options.apply_max = 100;
        self.options.machine = MachineTimes::default();
        self.options.disk_factors.clear();
    }

    pub(crate) fn mend(&mut self, at: usize) {
        let frozen = self.nodes[at].frozen;
        self.nodes[at].sync_fails = false;
        if frozen == Some(Frozen::Down) {
            return;
        }
        self.nodes[at].paused_until = 0;
        self.nodes[at].mend_clock(self.now);
        self.nodes[at].store_busy_until = 0;
        if self.may_boot(at) {
            self.boot(at);
        }
        self.unstall(at);
        self.store_back(at);
        self.hasten(at);
        // Links come up by themselves. A link event here would reset the replicators and hide what they had lost before.
        self.set_full(at, false);
    }

    /// Freezes a minority, chosen so that a majority of the voters has lost nothing: beyond that a group stays unavailable
    /// by design (`safety.md` 5).
    fn freeze_a_minority(&mut self) {
        for at in shuffled(&mut self.rng, self.nodes.len()) {
            if self.may_freeze(at) && self.rng.chance(700) {
                let frozen = self.rng.pick(&Frozen::ALL);
                self.freeze(at, frozen);
            }
        }
    }

    pub(crate) fn may_freeze(&self, at: usize) -> bool {
        let counts = |node: &Process| node.at != at && node.frozen.is_none() && !is_recovering(node);
        self.are_majority(|other| counts(&self.nodes[other]))
    }

    pub(crate) fn freeze(&mut self, at: usize, frozen: Frozen) {
        self.trace(|| format!("n{at} is {frozen:?} for good"));
        self.coverage.note(&format!("for good {frozen:?}"));
        self.nodes[at].frozen = Some(frozen);
        for other in (0..self.nodes.len()).filter(|other| *other != at) {
            match frozen {
                Frozen::Down | Frozen::Stalled | Frozen::Old => {}
                Frozen::Cut => {
                    self.network.sever(at, other);
                    self.network.sever(other, at);
                }
                Frozen::Deaf => self.network.sever(other, at),
                Frozen::Mute => self.network.sever(at, other),
            }
        }
        match frozen {
            Frozen::Down if self.nodes[at].is_up() => self.crash(at),
            Frozen::Stalled => self.nodes[at].disk_stalled = true,
            Frozen::Down | Frozen::Cut | Frozen::Deaf | Frozen::Mute | Frozen::Old => {}
        }
    }
}

fn is_recovering(node: &Node) -> bool {
    node.disk.hard_state.recovering || node.state().is_some_and(|state| state.hard_state().recovering)
}
