//! Kinds of attacks, and what they have in common: which node is harmed in a way that must not meet another one.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

/// A kind of attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Attack {
    /// A process is killed.
    Crash,
    CrashLeader,
    CrashAll,
    /// The machine dies inside a write.
    CrashInWrite,
    /// The power fails: its peers hear nothing of it.
    PowerCut,
    /// Stopped in order, and started again.
    Stop,
    FailSync,
    StallDisk,
    StallLeaderDisk,
    FullDisk,
    /// Equal disks are full together.
    AllDisksFull,
    /// Free space comes and goes around the mark, on some nodes or on all.
    SpaceFlaps,
    /// A disk is behind with work that it has put off.
    DiskBehind,
    /// What a node has on its disk is damaged while it is down.
    Damage,
    /// A disk is lost for good, and an empty one takes its place.
    LoseDisk,
    /// A voter is made a learner for a while.
    Demote,
    Split,
    IsolateLeader,
    /// Everyone sees a majority, no two the same.
    Majorities,
    OneWay,
    /// The leader hears no other node, or no other node hears it.
    HalfIsolateLeader,
    /// Nothing is lost, and nothing arrives.
    Hold,
    /// A host, or all of them, sends little in a second.
    Bandwidth,
    /// Clients outside reach some nodes only.
    CutClients,
    /// Hundreds of callers at one node, who give up soon.
    Crowd,
    /// More clients than there are places.
    ManyClients,
    /// Any one actor of any node.
    Injure,
    /// Any one actor of the leader's node.
    InjureLeader,
    /// Several actors, one soon after the other.
    InjureMany,
    Transfer,
    WallClock,
    /// A process is given no time, as after SIGSTOP.
    Pause,
    PauseLeader,
    /// The monotonic clock jumps ahead.
    JumpClock,
    /// The machine of one group takes seconds for some calls, on one node or on all.
    SlowMachine,
    /// One node's machine cannot take an entry.
    ChokingMachine,
    /// One node's machine panics when it is restored.
    UnrestorableMachine,
}

impl Attack {
    pub(crate) const ALL: [Self; 37] = [
        Self::Crash,
        Self::CrashLeader,
        Self::CrashAll,
        Self::CrashInWrite,
        Self::PowerCut,
        Self::Stop,
        Self::FailSync,
        Self::StallDisk,
        Self::StallLeaderDisk,
        Self::FullDisk,
        Self::AllDisksFull,
        Self::SpaceFlaps,
        Self::DiskBehind,
        Self::Damage,
        Self::LoseDisk,
        Self::Demote,
        Self::Split,
        Self::IsolateLeader,
        Self::Majorities,
        Self::OneWay,
        Self::HalfIsolateLeader,
        Self::Hold,
        Self::Bandwidth,
        Self::CutClients,
        Self::Crowd,
        Self::ManyClients,
        Self::Injure,
        Self::InjureLeader,
        Self::InjureMany,
        Self::Transfer,
        Self::WallClock,
        Self::Pause,
        Self::PauseLeader,
        Self::JumpClock,
        Self::SlowMachine,
        Self::ChokingMachine,
        Self::UnrestorableMachine,
    ];
}

/// Why a node may end by itself: words of the reason that it gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cause {
    ToldTo,
    Silent,
    FailedSync,
    StoppedInWrite,
    NoSpace,
    Damaged,
    NotReached,
}

impl Cause {
    fn words(self) -> &'static str {
        match self {
            Self::ToldTo => "it was told to",
            Self::Silent => "the disk has not answered",
            Self::FailedSync => "the simulated disk failed a sync",
            Self::StoppedInWrite => "the simulated machine has stopped",
            Self::NoSpace => "no space left for the simulated disk",
            Self::Damaged => "it did not start",
            Self::NotReached => "answers within 30000 ms",
        }
    }
}

/// What the attackers of a run know of each other's harm.
#[derive(Debug)]
pub(crate) struct Harm {
    /// Data of this node is lost: until it has all of it again, that of no other may be.
    pub(crate) damaged: Cell<Option<usize>>,
    /// It has been started on the disk that was damaged: from now on it may be whole again.
    pub(crate) recovers: Cell<bool>,
    /// The machine of this node is down: with another one the group would be faulted.
    pub(crate) machine: Cell<Option<usize>>,
    /// Why each node may end, since its disk was replaced last.
    causes: RefCell<Vec<BTreeSet<Cause>>>,
}

impl Harm {
    pub(crate) fn new(nodes: usize) -> Self {
        let causes = RefCell::new(vec![BTreeSet::new(); nodes]);
        Self { damaged: Cell::default(), recovers: Cell::default(), machine: Cell::default(), causes }
    }

    pub(crate) fn may_end(&self, at: usize, cause: Cause) {
        self.causes.borrow_mut()[at].insert(cause);
    }

    /// The disk of a node is another one, and whole.
    pub(crate) fn restarted(&self, at: usize) {
        self.causes.borrow_mut()[at].clear();
    }

    pub(crate) fn was_ordered(&self, at: usize, reason: &str) {
        let causes = self.causes.borrow();
        let ordered = causes[at].iter().chain([&Cause::ToldTo]).any(|cause| reason.contains(cause.words()));
        assert!(ordered, "node{at} ended, and no attack was to end it: {reason}");
    }
}
