//! The committed log, as first reported by any node.

use quorate_core::{Index, Position, Term};

/// The entry committed at each index, and the term of the leader that committed it.
#[derive(Debug, Clone, Default, Hash)]
pub(crate) struct Committed(Vec<(Position, Term)>);

impl Committed {
    pub(crate) fn last(&self) -> Index {
        Index(self.0.len() as u64)
    }

    pub(crate) fn at(&self, index: Index) -> Option<Position> {
        if index == Index::ZERO {
            return Some(Position::ORIGIN);
        }
        self.0.get(index.prev().0 as usize).map(|(at, _)| *at)
    }

    /// The last entry that was committed in a term before `term`.
    pub(crate) fn last_before(&self, term: Term) -> Option<Position> {
        self.0.iter().rev().find(|(_, by)| *by < term).map(|(at, _)| *at)
    }

    /// Adds the next entry, committed by the leader of `term`.
    pub(crate) fn push(&mut self, place: Position, term: Term) {
        assert_eq!(place.index, self.last().next(), "committed in order");
        self.0.push((place, term));
    }
}
