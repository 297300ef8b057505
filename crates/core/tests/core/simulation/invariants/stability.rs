//! Stability: where nothing breaks, leadership stays, callers are answered, reads too, and nothing is left over at the end.
//! A cluster may be safe and of no use: these are the demands of the quiet phase (`quiet.rs`). Times in election timeouts.

use quorate_core::{Refusal, ReplicaState, Term};

use crate::simulation::callers::Outcomes;
use crate::simulation::cluster::Cluster;
use crate::world::Role;

/// What is demanded of a quiet phase.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// How long it gets to settle, and how often another leader may be elected meanwhile.
    pub(crate) settle: u64,
    pub(crate) elections_settling: u64,
    /// And while it is watched.
    pub(crate) elections: u64,
    /// Commands are acknowledged, each within so long.
    pub(crate) serves_within: Option<u64>,
    /// More commands than a few may be refused as busy: what is slow takes fewer than are asked.
    pub(crate) may_be_busy: bool,
    /// Commands may be refused for this.
    pub(crate) refusal: Option<Refusal>,
    /// This node does not lead when the phase is over.
    pub(crate) follows: Option<usize>,
    /// And this one does not lead while it settles: another one is elected in the first place.
    pub(crate) is_passed_over: Option<usize>,
}

impl Limits {
    /// A command takes a round trip and a sync, far less than an election timeout.
    pub(crate) const STEADY: Self = Self {
        settle: 0,
        elections_settling: 0,
        elections: 0,
        serves_within: Some(1),
        may_be_busy: false,
        refusal: None,
        follows: None,
        is_passed_over: None,
    };
    /// While disks fill one after the other, leadership may be handed once to one that has room.
    pub(crate) const FULL: Self = Self {
        settle: 8,
        elections_settling: 1,
        serves_within: None,
        refusal: Some(Refusal::NoSpace),
        ..Self::STEADY
    };
    /// Leadership leaves one node and does not return; a transfer that fails is tried again after three election timeouts.
    pub(crate) const ONE_LEAVES: Self = Self { settle: 8, elections_settling: 1, ..Self::STEADY };
    /// It goes round, but stays for three election timeouts each time: fifteen are watched.
    pub(crate) const ROUND: Self =
        Self { settle: 3, elections: 6, refusal: Some(Refusal::NoSpace), ..Self::FULL };
    /// Elections until each node knows how long a sync takes; then a command takes one sync under way and its own, here and
    /// there, of two and a half election timeouts at most.
    pub(crate) const SLOW_DISKS: Self =
        Self { settle: 40, elections_settling: 4, serves_within: Some(15), ..Self::STEADY };
    /// Links were as slow before.
    pub(crate) const SLOW_LINKS: Self =
        Self { settle: 25, serves_within: Some(40), may_be_busy: true, ..Self::STEADY };
    /// A command may take eight election timeouts, on every node.
    pub(crate) const SLOW_MACHINES: Self =
        Self { serves_within: Some(40), may_be_busy: true, ..Self::STEADY };
    /// A leader whose machine is stuck gives way after three election timeouts, and not within three of its election.
    pub(crate) const SLOW_MACHINE: Self =
        Self { settle: 15, elections_settling: 1, serves_within: Some(1), ..Self::STEADY };
    pub(crate) const LEADER_ENDS: Self = Self { settle: 10, elections_settling: 3, ..Self::STEADY };
    /// As long as stores take nothing, leaders give way and candidates wait for their votes to be written.
    pub(crate) const STORES_BUSY: Self = Self { settle: 35, elections_settling: 4, ..Self::STEADY };
}

/// What was so at a moment.
#[derive(Debug)]
pub(crate) struct Stability {
    at: u64,
    term: Term,
    reads: u64,
    heard: Outcomes,
}

impl Stability {
    pub(crate) fn of(cluster: &Cluster) -> Self {
        // A node that was removed raises no term either.
        let running = cluster.nodes.iter().filter(|node| node.frozen.is_none());
        let terms = running.filter_map(|node| node.state());
        let term = terms.map(ReplicaState::term).max().unwrap_or_default();
        let (reads, heard) = (cluster.clients.reads_answered, cluster.callers.heard.clone());
        Self { at: cluster.now, term, reads, heard }
    }

    /// Every election raises the term.
    pub(crate) fn elections(&self, cluster: &Cluster, most: u64, when: &str) {
        let elections = Self::of(cluster).term.0 - self.term.0;
        assert!(elections <= most, "stability, {when}: {elections} elections, {most} at most");
    }

    pub(crate) fn check(&self, cluster: &Cluster, limits: &Limits, when: &str) {
        self.elections(cluster, limits.elections, when);
        let (now, election) = (Self::of(cluster), cluster.options.election());
        let took = (cluster.now - self.at) / election;
        for (reason, count) in &now.heard.refused {
            let more = count - self.heard.refused_for(*reason);
            let moves = *reason == Refusal::Transferring && limits.elections > 0;
            let is_busy = matches!(reason, Refusal::Uncommitted | Refusal::Unapplied);
            let is_full = *reason == Refusal::NoSpaceAtPeers && limits.refusal == Some(Refusal::NoSpace);
            let may = moves || is_busy || is_full || Some(*reason) == limits.refusal;
            assert!(may || more == 0, "stability, {when}: {more} commands refused, {reason:?}");
        }
        if limits.elections == 0 {
            let lost = now.heard.superseded + now.heard.unknown + now.heard.without_leader
                - (self.heard.superseded + self.heard.unknown + self.heard.without_leader);
            assert_eq!(lost, 0, "stability, {when}: commands superseded, unknown or without a leader");
        }
        if let Some(within) = limits.serves_within {
            let acknowledged = now.heard.acknowledged - self.heard.acknowledged;
            let refused = now.heard.refusals() - self.heard.refusals();
            let longest = now.heard.longest.max(cluster.callers.oldest(cluster.now));
            assert!(
                longest <= within * election,
                "stability, {when}: a command took {longest} us, {within} of {election} at most"
            );
            assert!(acknowledged > 0 || took < within, "stability, {when}: nothing acknowledged");
            assert!(
                limits.may_be_busy || refused <= acknowledged / 4 + 3,
                "stability, {when}: {refused} refused, {acknowledged} acknowledged"
            );
        }
        assert!(now.reads > self.reads || took < 10, "stability, {when}: no read is answered");
        assert!(
            limits.follows.is_none() || cluster.leader() != limits.follows,
            "stability, {when}: a node leads that is to leave that to others"
        );
    }

    /// Permits are back, queues are empty, and a leader counts nothing.
    pub(crate) fn nothing_is_left(cluster: &Cluster) -> bool {
        let is_idle = |at: usize| {
            let node = &cluster.nodes[at];
            let Some(state) = node.state() else { return false };
            let last = state.tail().last().index;
            let done = state.durable() == last && state.commit() == last && node.applier.applied == last;
            let leads_idle = match node.role() {
                Some(Role::Leader(leader)) => leader.uncommitted_bytes() == 0,
                Some(Role::Follower(_) | Role::Candidate(_)) | None => true,
            };
            done && state.apply_lag() == (0, 0) && leads_idle && node.waiting.is_empty()
        };
        cluster.callers.all_are_answered() && cluster.mended().into_iter().all(is_idle)
    }
}
