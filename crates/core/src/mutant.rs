//! Known bugs, each put back behind a switch, to show that the simulation and the model check would see them.
//!
//! Only the feature `mutants` compiles the switches in, and only tests turn it on; without it [`is_on`] is the constant
//! `false`. A mutant is one place in the shipped code, so that what is proved is proved of that code. `tests/mutants.rs`
//! says which must be caught by what, and within how many seeds; those of the runtime are switched here, too, and caught by
//! the runtime simulation (`quorate-testkit`).
//!
//! It is not: a list of all bugs there can be. `docs/known-bugs.md` has the tests for those that others shipped.

macro_rules! mutants {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A rule that is broken on purpose.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Mutant { $($(#[$doc])* $name,)* }

        #[cfg(feature = "mutants")]
        impl Mutant {
            /// Every one.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Whether it breaks the runtime, and not the core.
            pub fn is_of_runtime(self) -> bool {
                self >= Self::AppliedTwice
            }
        }
    };
}

mutants! {
    /// Votes, and answers that depend on term and vote, leave before these are durable (rule 1).
    VoteBeforeSync,
    /// Acknowledges entries before they are durable.
    AckBeforeSync,
    /// A vote in a term that is on disk already is kept in memory only, so a restart forgets it.
    VoteForgotten,
    /// Votes for everyone who asks in a term.
    VoteTwice,
    /// Votes for candidates whose log is behind.
    VoteWithoutLog,
    /// Compares logs by length alone (`known-bugs.md` 4).
    LogsByLength,
    /// A vote that comes twice counts twice (`known-bugs.md` 6).
    DuplicateVote,
    /// A vote of an earlier campaign counts in this one.
    VoteOfOldCampaign,
    /// The candidate's own vote counts before it is durable.
    OwnVoteBeforeSync,
    /// A term that rises keeps the vote of the old one.
    VoteOutlivesTerm,
    /// A majority is half.
    HalfIsQuorum,
    /// Learners count towards a commit.
    LearnerCounts,
    /// Commits entries of earlier terms by counting (Raft paper, figure 8).
    CommitOldTerm,
    /// The leader counts itself before its own sync.
    LeaderBeforeSync,
    /// A follower takes the leader's commit index for entries this message did not verify (`known-bugs.md` 29).
    CommitUnverified,
    /// A follower applies what is not durable here.
    ApplyUndurable,
    /// An append that brings nothing new truncates all the same (`known-bugs.md` 24).
    StaleAppendTruncates,
    /// The entry before an append is not compared.
    NoPrevCheck,
    /// The durable index stays where it was when the log is truncated (`known-bugs.md` 35).
    DurableOverTruncation,
    /// A completion counts for entries that replaced those it was for (`known-bugs.md` 34).
    AckOverTruncation,
    /// A follower with a full disk acknowledges what it did not take in.
    FullDiskAcknowledges,
    /// What a peer acknowledged before it restarted still counts (rule 5).
    BootIgnored,
    /// Answers of an earlier term count.
    TermOfReplyIgnored,
    /// A node that lost entries stops recovering at what it has (rule 5: "at the anchor's index").
    RecoveringEndsEarly,
    /// A node that lost entries votes.
    RecoveringVotes,
    /// The quorum that confirms a recovery index counts the node that recovers.
    RecoveryCountsAsker,
    /// A read is answered without asking anyone.
    ReadUnconfirmed,
    /// A read's round has the number of an earlier one (`known-bugs.md` 55).
    ReadRoundReused,
    /// A leader answers reads before it has committed in its term (`known-bugs.md` 54).
    ReadBeforeOwnTerm,
    /// A leader that steps down answers the reads that wait.
    ReadAfterStepDown,
    /// A leader keeps its role when it sees a higher term.
    HigherTermIgnored,
    /// A new leader appends no no-op.
    NoNoop,
    /// A restarted applier is not handed the first entry that it lacks.
    ApplySkips,
    /// What was ordered from a store that restarted is not said again (rule 9).
    NotResent,
    /// Committed bytes stay counted as uncommitted (`known-bugs.md` 32).
    UncommittedLeak,
    /// The bytes under way to a peer stay counted after a session ends (`known-bugs.md` 32).
    InFlightLeak,
    /// A transfer that failed is never over (`known-bugs.md` 23).
    TransferForever,
    /// A peer that was full is never tried again.
    PausedForever,
    /// A follower remembers the leader of an earlier term.
    LeaderOfOldTerm,
    /// A leader that has lost its quorum goes on.
    NoCheckQuorum,
    /// A truncation does not bring the earlier membership back (`known-bugs.md` 48).
    MembershipKept,
    /// Runtime: a command reaches the machine twice.
    AppliedTwice,
    /// Runtime: a retry under a session's key is a new command.
    SessionsIgnored,
    /// Runtime: a confirmed read does not wait until its index is applied.
    QueryBeforeApplied,
    /// Runtime: a caller is answered with whatever was applied at its index, in any term (rule 12).
    WaiterByIndex,
    /// Runtime: what may have happened is told as refused.
    UnknownToldRefused,
    /// Runtime: a query keeps its permit.
    PermitLeak,
    /// Runtime: a write that failed is told as done.
    FailedWriteTold,
}

#[cfg(feature = "mutants")]
static ON: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(usize::MAX);

/// Switches one on, all others off, for the whole process.
#[cfg(feature = "mutants")]
pub fn switch(mutant: Option<Mutant>) {
    ON.store(mutant.map_or(usize::MAX, |mutant| mutant as usize), std::sync::atomic::Ordering::SeqCst);
}

/// Whether this one is switched on.
#[cfg(feature = "mutants")]
pub fn is_on(mutant: Mutant) -> bool {
    ON.load(std::sync::atomic::Ordering::Relaxed) == mutant as usize
}

/// Never, outside this crate's own tests.
#[cfg(not(feature = "mutants"))]
pub const fn is_on(_: Mutant) -> bool {
    false
}
