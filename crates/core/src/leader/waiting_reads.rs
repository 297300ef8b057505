//! Reads that wait for a round of leadership confirmation.

use crate::effect::ReadId;
use crate::ids::{Index, NodeId, Round, Time};

/// Who waits for a read index.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Asker {
    /// A read on this node.
    Here(ReadId),
    /// A request of another node.
    Peer { peer: NodeId, id: u64, recovering: bool, at: Time },
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Waiting {
    pub(super) round: Round,
    pub(super) index: Index,
    pub(super) askers: Vec<Asker>,
}

/// Bound: reads of this node by the permits of its handles, those of a peer by what it asks in one election timeout.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Reads {
    /// Waiting for a round to begin.
    pub(super) gathering: Vec<Asker>,
    /// The round under way.
    pub(super) under_way: Option<Waiting>,
    /// Requests of Recovering peers, each to be confirmed by a quorum without that peer.
    pub(super) recovering: Vec<Waiting>,
}
