//! What has happened and must be remembered to judge what happens next.

use std::collections::BTreeMap;

use quorate_core::{Index, Position, Term};

use super::identity::identity;

/// A read that was not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Read {
    pub(crate) id: u64,
    pub(crate) at: usize,
    /// What any caller had been told before it began.
    pub(crate) floor: Index,
}

#[derive(Debug, Clone, Default, Hash)]
pub(crate) struct History {
    /// Who led each term.
    pub(crate) leaders: BTreeMap<Term, usize>,
    /// For whom a node voted in a term.
    pub(crate) votes: BTreeMap<(usize, Term), usize>,
    /// What is committed anywhere, and the term of the leader that committed it.
    pub(crate) committed: Vec<(Position, Term)>,
    /// The greatest index a caller knows of.
    pub(crate) acknowledged: Index,
    pub(crate) reads: Vec<Read>,
}

impl History {
    pub(crate) fn committed_at(&self, index: Index) -> Option<Position> {
        if index == Index::ZERO {
            return Some(Position::ORIGIN);
        }
        self.committed.get(index.prev().0 as usize).map(|(at, _)| *at)
    }

    pub(crate) fn last_committed(&self) -> Index {
        Index(self.committed.len() as u64)
    }

    /// The last entry that was committed in a term before `term`.
    pub(crate) fn committed_before(&self, term: Term) -> Option<Position> {
        self.committed.iter().rev().find(|(_, by)| *by < term).map(|(at, _)| *at)
    }

    pub(crate) fn identity(&self) -> u64 {
        identity(self)
    }
}
