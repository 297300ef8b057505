//! What a replica must never forget, and which of two copies of it counts.
//!
//! The store keeps a hard state as a [`HardRecord`], whose fields it does not know: it asks here which of two copies counts
//! ([`HardRecord::newer_of`]) and whether one may replace another ([`HardRecord::check_replaces`]). A second protocol would
//! bring a record of its own.

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

/// A hard state as the store keeps it: only core reads its fields. It is written as the hard state itself, a map with named
/// fields (`docs/formats-store.md`). The default is that of a group for which nothing was promised.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HardRecord(HardState);

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

impl fmt::Display for HardState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "term {} ", self.term)?;
        match &self.voted_for {
            Some(candidate) => write!(f, "with a vote for {candidate}"),
            None => f.write_str("without a vote"),
        }
    }
}

impl From<HardState> for HardRecord {
    fn from(state: HardState) -> Self {
        Self(state)
    }
}

impl From<HardRecord> for HardState {
    fn from(record: HardRecord) -> Self {
        record.0
    }
}

impl HardRecord {
    /// Of a node of a new cluster, whose log begins where a snapshot of this term ends: it has voted for no one.
    pub fn of_new_cluster(term: Term) -> Self {
        Self(HardState { term, ..HardState::default() })
    }

    /// The fields, for a report. The store does not call this.
    pub fn as_hard_state(&self) -> &HardState {
        &self.0
    }

    /// Which of two copies counts: the one of the later term; in one term, the one with a vote. The result is
    /// recovering if either copy is.
    pub fn newer_of(one: &Self, other: &Self) -> Result<Self, TwoVotes> {
        let (one, other) = (&one.0, &other.0);
        if one.term == other.term
            && let (Some(a), Some(b)) = (&one.voted_for, &other.voted_for)
            && a != b
        {
            return Err(TwoVotes { term: one.term, one: a.clone(), other: b.clone() });
        }
        let rank = |hard: &HardState| (hard.term, hard.voted_for.is_some());
        let newer = if rank(one) >= rank(other) { one } else { other };
        Ok(Self(HardState { recovering: one.recovering || other.recovering, ..newer.clone() }))
    }

    /// Whether a log may hold an entry of this term: the term is not above the hard state's.
    pub fn covers(&self, term: Term) -> bool {
        term <= self.0.term
    }

    /// Terms do not fall, and a vote is not changed within a term.
    pub fn check_replaces(&self, old: &Self) -> Result<(), BrokenPromise> {
        let (new, old) = (&self.0, &old.0);
        let changes_vote = new.term == old.term && old.voted_for.is_some() && new.voted_for != old.voted_for;
        if new.term < old.term || changes_vote {
            return Err(BrokenPromise { old: old.clone(), new: new.clone() });
        }
        Ok(())
    }

    /// Whether nothing was promised: no term, no vote, nothing lost.
    pub fn is_initial(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the replica neither votes nor campaigns until it has caught up (`safety.md` 5).
    pub fn is_recovering(&self) -> bool {
        self.0.recovering
    }

    /// The same term and vote, of a replica that is recovering.
    #[must_use]
    pub fn marked_recovering(&self) -> Self {
        Self(HardState { recovering: true, ..self.0.clone() })
    }

    /// The same term and vote, without the mark: only for a log that is proven to hold all it ever held.
    #[must_use]
    pub fn unmarked(&self) -> Self {
        Self(HardState { recovering: false, ..self.0.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hard(term: u64, vote: Option<&str>, recovering: bool) -> HardRecord {
        let voted_for = vote.map(|name| NodeId::new(name).expect("a legal name"));
        HardState { term: Term(term), voted_for, recovering }.into()
    }

    #[test]
    fn a_record_is_written_as_the_hard_state_and_comes_back() {
        for record in [HardRecord::default(), hard(7, Some("node1"), false), hard(7, None, true)] {
            let bytes = rmp_serde::to_vec_named(&record).expect("numbers, a name and a flag can be encoded");
            let of_state = rmp_serde::to_vec_named(record.as_hard_state()).expect("so can its fields");
            assert_eq!(bytes, of_state);
            assert_eq!(rmp_serde::from_slice::<HardRecord>(&bytes).expect("it is one"), record);
        }
        assert!(rmp_serde::from_slice::<HardRecord>(b"\xc1").is_err());
    }

    #[test]
    fn a_mark_changes_neither_term_nor_vote() {
        let marked = hard(7, Some("node1"), false).marked_recovering();
        assert_eq!(marked, hard(7, Some("node1"), true));
        assert!(marked.is_recovering() && !marked.is_initial());
        assert_eq!(marked.unmarked(), hard(7, Some("node1"), false));
        assert!(
            HardRecord::default().is_initial() && !HardRecord::default().marked_recovering().is_initial()
        );
    }

    #[test]
    fn the_copy_of_the_later_term_counts_then_the_one_with_a_vote() {
        let newer = |one, other| HardRecord::newer_of(one, other).expect("no conflict");
        let (early, late) = (hard(3, Some("a"), true), hard(4, None, false));
        assert_eq!(newer(&early, &late), hard(4, None, true));
        assert_eq!(newer(&late, &early), hard(4, None, true));
        assert_eq!(newer(&late, &hard(4, Some("b"), false)), hard(4, Some("b"), false));
    }

    #[test]
    fn bug_02_two_votes_in_one_term_are_a_conflict() {
        let two = HardRecord::newer_of(&hard(4, Some("a"), false), &hard(4, Some("b"), false));
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
