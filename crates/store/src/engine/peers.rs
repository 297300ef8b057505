//! The incarnations of peers (`safety.md` 14).

use std::collections::BTreeSet;

use quorate_core::{Incarnation, Membership, NodeId};

use crate::disk::Batch;
use crate::error::StoreError;
use crate::log::{PeerRecord, peer_key, put};
use crate::store::Store;

impl Store {
    /// Records a peer's incarnation, durably, before its first vote or ack counts (`safety.md` 14). A known peer keeps
    /// its first incarnation unless `replace`. Returns the one now on record.
    pub fn record_peer(
        &mut self,
        peer: &NodeId,
        incarnation: Incarnation,
        replace: bool,
    ) -> Result<Incarnation, StoreError> {
        self.change(|store| {
            if let Some(known) = store.peers.get(peer)
                && (known.incarnation == incarnation || !replace)
            {
                return Ok(known.incarnation);
            }
            store.put_peer(peer, PeerRecord { incarnation, has_admitted_this_node: false })?;
            Ok(incarnation)
        })
    }

    /// As [`record_peer`](Self::record_peer) of a peer that has admitted this node, and so has this node's incarnation on its
    /// disk: that is kept, too.
    pub fn record_admission(
        &mut self,
        peer: &NodeId,
        incarnation: Incarnation,
    ) -> Result<Incarnation, StoreError> {
        self.change(|store| match store.peers.get(peer) {
            Some(known) if known.incarnation != incarnation || known.has_admitted_this_node => {
                Ok(known.incarnation)
            }
            Some(_) | None => {
                store.put_peer(peer, PeerRecord { incarnation, has_admitted_this_node: true })?;
                Ok(incarnation)
            }
        })
    }

    /// The members of a group that have not admitted this node yet.
    pub(crate) fn unmet(&self, members: &Membership) -> BTreeSet<NodeId> {
        let has_not =
            |peer: &&NodeId| self.peers.get(*peer).is_none_or(|known| !known.has_admitted_this_node);
        members.peers_of(&self.identity.node).filter(has_not).cloned().collect()
    }

    /// The incarnations of members that are on record. One that was removed may have left its name to another disk.
    pub(crate) fn recorded(&self, members: &Membership) -> Vec<(NodeId, Incarnation)> {
        let of = |peer: &NodeId| Some((peer.clone(), self.peers.get(peer)?.incarnation));
        let known = members.peers_of(&self.identity.node).filter_map(of);
        known.filter(|(peer, incarnation)| !members.has_removed(peer, *incarnation)).collect()
    }

    fn put_peer(&mut self, peer: &NodeId, record: PeerRecord) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        put(&mut batch, peer_key(peer), &record);
        self.disk.commit(&batch)?;
        self.peers.insert(peer.clone(), record);
        Ok(())
    }
}
