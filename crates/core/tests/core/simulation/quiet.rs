//! The last phase of a run: nothing breaks any more, but something may be slow, small or full. What is demanded is more than
//! safety: leadership stays where it is, callers are answered, and nothing is left over at the end
//! (`invariants/stability.rs`).
//!
//! Each run has one kind of quiet. It begins, gets some time to settle, and is then watched; after that it is over, callers are
//! served again within a bound, and all that was under way ends.

use quorate_core::{Index, Refusal};

use super::applier::MachineTimes;
use super::cluster::{Cluster, Event};
use super::invariants::stability::{Limits, Stability};
use super::nemesis::Undo;
use super::process::Process;
use super::storage::Writes;
use super::strain::NARROW_PAYLOAD_BYTES_MAX;

/// What is slow, small or full in the last phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quiet {
    Healthy,
    /// Every disk is below its mark.
    AllFull,
    /// One is, the leader's more often than not.
    OneFull,
    /// The space of one disk goes up and down around its mark.
    FlapOne,
    /// That of all.
    FlapAll,
    /// Every sync takes up to two and a half election timeouts, on all disks.
    SlowDisks,
    /// On one.
    SlowDisk,
    /// Callers send more than the links carry.
    SlowLinks,
    /// Some commands take longer than what counts as stuck, on every node.
    SlowMachines,
    /// One machine is slower than its callers.
    SlowMachine,
    /// The leader ends while another voter is far behind in applying.
    FarBehind,
    /// A follower starts again, and its machine is restored for a long time.
    Restart,
    /// All stores are busy at the same time, and take nothing for a while.
    StoresBusy,
    /// A follower is of a build that does not know some of the entries.
    OldBuild,
}

impl Quiet {
    /// Drawn with the builds of a run.
    pub(crate) const BUILDS: [Self; 1] = [Self::OldBuild];

    pub(crate) const ALL: [Self; 13] = [
        Self::Healthy,
        Self::AllFull,
        Self::OneFull,
        Self::FlapOne,
        Self::FlapAll,
        Self::SlowDisks,
        Self::SlowDisk,
        Self::SlowLinks,
        Self::SlowMachines,
        Self::SlowMachine,
        Self::FarBehind,
        Self::Restart,
        Self::StoresBusy,
    ];
}

/// So long a phase is watched, in election timeouts.
const WATCHED: u64 = 15;

impl Cluster {
    /// Goes through the phase; the number of events.
    pub(crate) fn stay_quiet(&mut self) -> u64 {
        let kind = self.options.quiet;
        let count = self.rng.pick(&[1, 3]);
        let election = self.options.election();
        let pause = if kind == Quiet::SlowLinks { election / 20 } else { election / 4 * count };
        self.callers.are_alone = true;
        self.options.read_every = self.options.read_every.max(election / 2);
        self.callers_come(count as usize, pause);
        self.callers.heard.longest = 0;
        let before = Stability::of(self);
        let mut events = self.run_for(3);
        before.check(
            self,
            &Limits { serves_within: Limits::SLOW_LINKS.serves_within, ..Limits::STEADY },
            "at first",
        );
        let Some(limits) = self.begin(kind, &mut events) else {
            self.coverage.note("quiet without its victim");
            return events + self.end();
        };
        self.coverage.note(&format!("quiet {kind:?}"));
        let began = Stability::of(self);
        let wrong_one_leads =
            |cluster: &Self| limits.is_passed_over.is_some_and(|at| cluster.leader() == Some(at));
        events += self.run_until(self.now + limits.settle * election, wrong_one_leads);
        assert!(
            !wrong_one_leads(self),
            "stability, {kind:?} settles: one leads that others lead better than"
        );
        began.elections(self, limits.elections_settling, &format!("{kind:?} settles"));
        self.callers.heard.longest = 0;
        let watched = Stability::of(self);
        events += self.run_for(WATCHED);
        watched.check(self, &limits, &format!("{kind:?}"));
        self.over();
        events + self.end()
    }

    /// Makes it so; `None` if this cluster has no node for it. What must hold then.
    fn begin(&mut self, kind: Quiet, events: &mut u64) -> Option<Limits> {
        let election = self.options.election();
        let voter = self.victim();
        match kind {
            Quiet::Healthy => Some(Limits::STEADY),
            Quiet::AllFull => {
                for at in self.mended() {
                    self.in_a_while(election, Undo::Fill(at));
                }
                Some(Limits::FULL)
            }
            Quiet::OneFull => {
                let at = voter?;
                self.set_full(at, true);
                Some(self.without(at, Limits::ONE_LEAVES))
            }
            Quiet::FlapOne => {
                let until = self.now + election * (Limits::ONE_LEAVES.settle + WATCHED);
                let at = voter?;
                self.undo(&Undo::FlapSpace { at, until });
                Some(self.without(at, Limits::ONE_LEAVES))
            }
            Quiet::FlapAll => {
                let until = self.now + election * (Limits::ROUND.settle + WATCHED);
                for at in self.mended() {
                    self.in_a_while(election, Undo::FlapSpace { at, until });
                }
                Some(Limits::ROUND)
            }
            Quiet::SlowDisks => {
                self.slow_disks(None);
                Some(Limits::SLOW_DISKS)
            }
            Quiet::SlowDisk => {
                let at = voter?;
                if !self.is_spare(at) {
                    self.coverage.note("the others need the slow one");
                }
                self.slow_disks(Some(at));
                Some(Limits::SLOW_DISKS)
            }
            Quiet::SlowLinks => {
                self.options.payload_max = self.rng.pick(&[16_000, NARROW_PAYLOAD_BYTES_MAX]);
                Some(Limits::SLOW_LINKS)
            }
            Quiet::SlowMachines => {
                let long = election * self.rng.pick(&[1, 4, 8]);
                let long_every = self.rng.pick(&[5, 20]);
                self.options.machine = MachineTimes { long, long_every, ..MachineTimes::default() };
                Some(Limits::SLOW_MACHINES)
            }
            Quiet::SlowMachine => {
                let at = voter?;
                self.options.machine =
                    MachineTimes { entry: 1, slow: Some((at, election * 4)), ..MachineTimes::default() };
                Some(self.without(at, Limits::SLOW_MACHINE))
            }
            Quiet::FarBehind => self.leave_one_behind(events),
            Quiet::Restart => {
                let at = self.follower()?;
                self.options.machine.restore = election * 10;
                self.crash(at);
                self.boot(at);
                Some(Limits::STEADY)
            }
            Quiet::OldBuild => {
                let at = self.follower().filter(|_| self.options.old_build.is_none())?;
                (self.options.old_build, self.options.newer_commands) = (Some(at), 300);
                Some(Limits::STEADY)
            }
            Quiet::StoresBusy => {
                let until = self.now + election * self.rng.range(3, 12);
                for node in &mut self.nodes {
                    node.store_busy_until = until;
                }
                Some(Limits::STORES_BUSY)
            }
        }
    }

    fn slow_disks(&mut self, one: Option<usize>) {
        let takes = self.options.election() * self.rng.pick(&[3, 8, 24]) / 10;
        let factor = (takes / self.options.disk_max).max(1);
        self.options.disk_min = self.options.disk_max;
        self.options.writes = Writes::Together;
        let is_slow = |at: usize| one.is_none_or(|one| one == at);
        self.options.disk_factors =
            (0..self.nodes.len()).map(|at| if is_slow(at) { factor } else { 1 }).collect();
    }

    /// A machine begins again at the first entry and takes long for it; then the leader ends. All logs are equal, so that one
    /// with a machine that is level can win.
    fn leave_one_behind(&mut self, events: &mut u64) -> Option<Limits> {
        let election = self.options.election();
        let leader = self.leader()?;
        let others: Vec<usize> = self.mended().into_iter().filter(|at| *at != leader).collect();
        let of_all = self.voters();
        let voters: Vec<usize> = others.into_iter().filter(|at| of_all.contains(at)).collect();
        let last = self.nodes[leader].state()?.tail().last().index.0;
        let window = self.options.config.apply_window_entries_max;
        if voters.len() <= of_all.len() / 2 || voters.len() < 2 || last < 4 * window + 20 {
            return None;
        }
        let behind = self.rng.pick(&voters);
        self.callers_rest();
        *events += self.run_for(3);
        self.options.machine =
            MachineTimes { entry: 1, slow: Some((behind, election * 60 / last)), ..MachineTimes::default() };
        self.restore(behind, Index::ZERO);
        *events += self.run_for(1);
        let leader = self.leader().filter(|leader| *leader != behind)?;
        self.crash(leader);
        self.callers_ask();
        Some(Limits { follows: Some(behind), is_passed_over: Some(behind), ..Limits::LEADER_ENDS })
    }

    /// A voter that must make progress; often the leader.
    fn victim(&mut self) -> Option<usize> {
        let of_all = self.voters();
        let voters: Vec<usize> = self.mended().into_iter().filter(|at| of_all.contains(at)).collect();
        let leader = self.leader().filter(|_| self.rng.chance(600));
        leader.or_else(|| (!voters.is_empty()).then(|| self.rng.pick(&voters)))
    }

    /// A node that does not lead, and that the others can do without.
    fn follower(&mut self) -> Option<usize> {
        let leader = self.leader()?;
        let others = self.mended().into_iter().filter(|at| *at != leader && self.is_spare(*at));
        let others: Vec<usize> = others.collect();
        (!others.is_empty()).then(|| self.rng.pick(&others))
    }

    /// If the others are a majority, they serve, and one of them leads; otherwise nothing is demanded of callers' commands.
    fn without(&self, at: usize, limits: Limits) -> Limits {
        if self.is_spare(at) {
            let follows = (limits.elections_settling > 0).then_some(at);
            Limits { follows, ..limits }
        } else {
            Limits { serves_within: None, refusal: Some(Refusal::NoSpace), ..limits }
        }
    }

    /// The others are a majority of the voters.
    fn is_spare(&self, at: usize) -> bool {
        let of_all = self.voters();
        let others = self.mended().into_iter().filter(|other| *other != at && of_all.contains(other));
        others.count() > of_all.len() / 2
    }

    /// The members that must make progress.
    pub(crate) fn mended(&self) -> Vec<usize> {
        let takes_part = |node: &&Process| node.frozen.is_none() && self.takes_part(node.at);
        self.nodes.iter().filter(takes_part).map(|node| node.at).collect()
    }

    fn in_a_while(&mut self, within: u64, undo: Undo) {
        let delay = self.rng.below(within);
        self.undo_after(delay, undo);
    }

    /// So many election timeouts pass.
    fn run_for(&mut self, elections: u64) -> u64 {
        let until = self.now + elections * self.options.election();
        self.run_until(until, |_| false)
    }

    /// Goes on until this moment, or until it is so.
    fn run_until(&mut self, until: u64, is_so: impl Fn(&Self) -> bool) -> u64 {
        let mut events = 0;
        self.schedule(until - self.now, Event::Nothing);
        while self.now < until && !is_so(self) {
            assert!(self.advance(), "an event ends the wait");
            events += 1;
            assert!(events < 1_000_000, "stability: it spins");
        }
        events
    }

    /// Nothing is slow, full or of an old build any more.
    fn over(&mut self) {
        self.calm_machines_and_disks();
        for at in 0..self.nodes.len() {
            self.mend(at);
        }
        if self.options.old_build.is_some_and(|at| self.nodes[at].frozen.is_none()) {
            self.options.old_build = None;
        }
    }

    /// Callers are served again, then they rest, and all that is under way ends.
    fn end(&mut self) -> u64 {
        // A transfer and an election may be under way, and a queue may be full.
        let most = 10 * self.options.election() + self.queues_take();
        let acknowledged = self.callers.heard.acknowledged;
        let is_served = |cluster: &Self| cluster.callers.heard.acknowledged > acknowledged;
        let mut events = self.run_until(self.now + most, is_served);
        assert!(is_served(self), "stability: no command acknowledged for {most} us after the quiet phase");
        self.callers_rest();
        events += self.run_until(self.now + most, Stability::nothing_is_left);
        assert!(
            Stability::nothing_is_left(self),
            "stability: after {most} us without callers something is left"
        );
        events
    }

    /// How long the links take for queues that are full.
    pub(crate) fn queues_take(&self) -> u64 {
        self.options
            .links
            .map_or(0, |limits| 2 * limits.time(limits.bulk_bytes_max + limits.control_bytes_max))
    }
}
