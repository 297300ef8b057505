//! What machines do, in time: apply, answer queries, and be restored after a start, one job at a time on each node.

use quorate_core::{Entry, Index, RoleEvent};

use super::applier::Job;
use super::cluster::{Cluster, Event};
use super::healing::Frozen;
use super::storage::Syncs;

impl Cluster {
    pub(crate) fn hand_to_applier(&mut self, at: usize, entries: Vec<Entry>) {
        self.add_job(at, Job::Apply(entries));
    }

    fn add_job(&mut self, at: usize, job: Job) {
        if self.nodes[at].applier.is_away {
            self.coverage.note("entries for a machine that is restored");
            return;
        }
        self.nodes[at].applier.queue.push_back(job);
        self.begin_job(at);
    }

    fn begin_job(&mut self, at: usize) {
        let applier = &mut self.nodes[at].applier;
        let Some(front) = applier.queue.front().filter(|_| applier.works.is_none()) else { return };
        applier.jobs += 1;
        applier.works = Some(applier.jobs);
        let (life, job, any_max) = (applier.life, applier.jobs, self.options.apply_max);
        let took = self.options.machine.of(at, front, any_max, &mut self.rng);
        if took >= self.options.election() {
            self.coverage.note("a machine took an election timeout");
        }
        self.trace(|| format!("n{at} machine begins job {job}, which takes {took}"));
        self.schedule(took, Event::JobDone { at, life, job });
    }

    pub(crate) fn job_done(&mut self, at: usize, life: u64, job: u64) {
        let applier = &self.nodes[at].applier;
        let is_void = applier.life != life || applier.works != Some(job);
        if is_void || self.paused(at, || Event::JobDone { at, life, job }) {
            return;
        }
        self.nodes[at].applier.works = None;
        match self.nodes[at].applier.queue.pop_front() {
            Some(Job::Apply(entries)) => self.apply(at, entries),
            Some(Job::Answer(queries)) => self.answer_queries(at, &queries),
            None => {}
        }
        if self.nodes[at].applier.life == life {
            self.begin_job(at);
        }
    }

    fn apply(&mut self, at: usize, entries: Vec<Entry>) {
        let new = self.nodes[at].applier.apply(entries);
        for entry in &new {
            self.invariants.state_machine_safety.applied(&self.nodes[at], entry);
        }
        self.answer_applied(at, &new);
        self.queue_queries(at);
        let applied = self.nodes[at].applier.applied;
        self.trace(|| format!("n{at} applied {applied}"));
        self.capture(at);
        self.say(at, RoleEvent::Applied(applied));
    }

    /// Queries whose read index is applied go to the machine; where they take no time, they are answered at once.
    pub(crate) fn queue_queries(&mut self, at: usize) {
        if self.nodes[at].applier.is_away {
            return;
        }
        let applied = self.nodes[at].applier.applied;
        let ready = std::mem::take(&mut self.nodes[at].ready);
        let (due, rest): (Vec<_>, Vec<_>) = ready.into_iter().partition(|(index, _)| *index <= applied);
        self.nodes[at].ready = rest;
        let queries: Vec<u64> = due.into_iter().map(|(_, id)| id).collect();
        if queries.is_empty() {
            return;
        }
        if self.options.machine.query == 0 {
            self.answer_queries(at, &queries);
        } else {
            self.coverage.note("queries that take time");
            self.add_job(at, Job::Answer(queries));
        }
    }

    /// The machine is restored to its state after `keep`, which takes a while.
    pub(crate) fn restore(&mut self, at: usize, keep: Index) {
        for job in std::mem::take(&mut self.nodes[at].applier.queue) {
            if let Job::Answer(queries) = job {
                self.clients.lose(&queries);
            }
        }
        let newest = self.nodes[at].disk.snapshots.newest().cloned();
        self.nodes[at].applier.restart(keep, newest.as_ref());
        self.callers_jumped_over(at);
        let (life, takes) = (self.nodes[at].applier.life, self.options.machine.restore);
        if takes == 0 {
            self.machine_is_back(at);
            return;
        }
        self.coverage.note("a machine is restored for a while");
        self.trace(|| format!("n{at} machine is restored for {takes}"));
        self.nodes[at].applier.is_away = true;
        self.schedule(takes, Event::Restored { at, life });
    }

    pub(crate) fn restored(&mut self, at: usize, life: u64) {
        let applier = &self.nodes[at].applier;
        let is_void = applier.life != life || !applier.is_away;
        if is_void || self.paused(at, || Event::Restored { at, life }) {
            return;
        }
        self.nodes[at].applier.is_away = false;
        self.machine_is_back(at);
    }

    /// What a machine or a disk was at ends soon: both are quick from here on.
    pub(crate) fn hasten(&mut self, at: usize) {
        if self.nodes[at].is_up() && !self.nodes[at].disk_stalled {
            (self.nodes[at].disk_due, self.nodes[at].syncs) = (0, Syncs::default());
            for _ in 0..self.nodes[at].disk.pending.len() {
                self.schedule_disk(at);
            }
        }
        let applier = &self.nodes[at].applier;
        let life = applier.life;
        if let Some(job) = applier.works {
            self.schedule(1, Event::JobDone { at, life, job });
        } else if applier.is_away {
            self.schedule(1, Event::Restored { at, life });
        }
    }

    /// A process that starts has no role before its machine is there.
    fn machine_is_back(&mut self, at: usize) {
        let applied = self.nodes[at].applier.applied;
        if self.nodes[at].is_up() {
            self.say(at, RoleEvent::ApplierRestarted(applied));
            self.queue_queries(at);
        } else if self.nodes[at].frozen != Some(Frozen::Down) {
            self.start_role(at);
        }
    }
}
