//! What a replica must never forget, and which of two copies of it counts.
//!
//! The store keeps a hard state as a record whose bytes it does not interpret: it hands them to [`HardState::from_record`]
//! and asks here which of two copies counts ([`HardState::newer_of`]) and whether one may replace another
//! ([`HardState::check_replaces`]). A second protocol would bring a record of its own.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{NodeId, Term};

/// Term and vote in one record (Raft paper, figure 2), and whether the replica is recovering from lost entries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HardState {
    /// The newest term seen.
    pub term: Term,
    /// The candidate this node voted for in that term; `None` if it has not voted.
    pub voted_for: Option<NodeId>,
    /// Entries this node may have acknowledged are lost: it neither votes nor campaigns until it has caught up
    /// (`safety.md` 5).
    #[serde(default)]
    pub recovering: bool,
}

/// Two copies of a hard state name different votes in one term: one of them is corrupt, or a vote was given twice.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("two votes in term {term}: for {one} and for {other}")]
pub struct TwoVotes {
    /// The term of both copies.
    pub term: Term,
    /// The vote of the first copy.
    pub one: NodeId,
    /// The vote of the second copy.
    pub other: NodeId,
}

/// A hard state that would take back what was promised.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{new} cannot replace {old}")]
pub struct BrokenPromise {
    /// The hard state in force.
    pub old: HardState,
    /// The hard state that was to replace it.
    pub new: HardState,
}

/// Bytes that are not the record of a hard state.
#[derive(Debug, thiserror::Error)]
#[error("not the record of a hard state: {0}")]
pub struct HardRecordError(#[from] rmp_serde::decode::Error);

impl fmt::Display for HardState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "term {} ", self.term)?;
        match &self.voted_for {
            Some(candidate) => write!(f, "with a vote for {candidate}"),
            None => f.write_str("without a vote"),
        }
    }
}

impl HardState {
    /// The bytes the store keeps: MessagePack, a map with named fields (`docs/formats-store.md`).
    pub fn to_record(&self) -> Vec<u8> {
        rmp_serde::to_vec_named(self).expect("numbers, a name and a flag can be encoded")
    }

    /// Reads what [`Self::to_record`] wrote. Unknown fields are ignored, `recovering` is false where it is absent.
    pub fn from_record(record: &[u8]) -> Result<Self, HardRecordError> {
        Ok(rmp_serde::from_slice(record)?)
    }

    /// Which of two copies counts: the one of the later term; in one term, the one with a vote. The result is
    /// recovering if either copy is.
    pub fn newer_of(one: &Self, other: &Self) -> Result<Self, TwoVotes> {
        if one.term == other.term
            && let (Some(a), Some(b)) = (&one.voted_for, &other.voted_for)
            && a != b
        {
            return Err(TwoVotes { term: one.term, one: a.clone(), other: b.clone() });
        }
        let rank = |hard: &Self| (hard.term, hard.voted_for.is_some());
        let newer = if rank(one) >= rank(other) { one } else { other };
        Ok(Self { recovering: one.recovering || other.recovering, ..newer.clone() })
    }

    /// Whether a log may hold an entry of this term: the term is not above the hard state's.
    pub fn covers(&self, term: Term) -> bool {
        term <= self.term
    }

    /// Terms do not fall, and a vote is not changed within a term.
    pub fn check_replaces(&self, old: &Self) -> Result<(), BrokenPromise> {
        let changes_vote =
            self.term == old.term && old.voted_for.is_some() && self.voted_for != old.voted_for;
        if self.term < old.term || changes_vote {
            return Err(BrokenPromise { old: old.clone(), new: self.clone() });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hard(term: u64, vote: Option<&str>, recovering: bool) -> HardState {
        let voted_for = vote.map(|name| NodeId::new(name).expect("a legal name"));
        HardState { term: Term(term), voted_for, recovering }
    }

    #[test]
    fn a_record_comes_back_as_it_was() {
        for state in [HardState::default(), hard(7, Some("node1"), false), hard(7, None, true)] {
            assert_eq!(HardState::from_record(&state.to_record()).expect("it is one"), state);
        }
        assert!(HardState::from_record(b"\xc1").is_err());
    }

    #[test]
    fn the_copy_of_the_later_term_counts_then_the_one_with_a_vote() {
        let newer = |one, other| HardState::newer_of(one, other).expect("no conflict");
        let (early, late) = (hard(3, Some("a"), true), hard(4, None, false));
        assert_eq!(newer(&early, &late), hard(4, None, true));
        assert_eq!(newer(&late, &early), hard(4, None, true));
        assert_eq!(newer(&late, &hard(4, Some("b"), false)), hard(4, Some("b"), false));
    }

    #[test]
    fn bug_02_two_votes_in_one_term_are_a_conflict() {
        let two = HardState::newer_of(&hard(4, Some("a"), false), &hard(4, Some("b"), false));
        assert_eq!(two.map_err(|two| two.term), Err(Term(4)));
    }

    #[test]
    fn bug_02_a_promise_is_not_taken_back() {
        let old = hard(4, Some("a"), false);
        for (new, allowed) in [
            (hard(4, Some("a"), true), true),
            (hard(5, None, false), true),
            (hard(4, None, false), false),
            (hard(4, Some("b"), false), false),
            (hard(3, Some("a"), false), false),
        ] {
            assert_eq!(new.check_replaces(&old).is_ok(), allowed, "{new:?}");
        }
        assert!(old.check_replaces(&hard(4, None, false)).is_ok(), "a vote may follow");
    }
}
