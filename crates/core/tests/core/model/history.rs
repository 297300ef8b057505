//! The part of the past that is needed to judge what happens next.

use std::collections::BTreeMap;

use quorate_core::{Index, Term};

use super::identity::identity;
use crate::world::Committed;

/// A read that was not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Read {
    pub(crate) id: u64,
    pub(crate) at: usize,
    /// The greatest index that any caller had been told of before the read began.
    pub(crate) floor: Index,
}

#[derive(Debug, Clone, Default, Hash)]
pub(crate) struct History {
    /// The leader of each term.
    pub(crate) leaders: BTreeMap<Term, usize>,
    /// The candidate that a node voted for in a term.
    pub(crate) votes: BTreeMap<(usize, Term), usize>,
    pub(crate) committed: Committed,
    /// The greatest index that a caller was told of.
    pub(crate) acknowledged: Index,
    pub(crate) reads: Vec<Read>,
}

impl History {
    pub(crate) fn identity(&self) -> u64 {
        identity(self)
    }
}
