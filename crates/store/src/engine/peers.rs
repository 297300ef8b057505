//! The incarnations of peers (`safety.md` 14).

use quorate_core::{Incarnation, NodeId};

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
                && (*known == incarnation || !replace)
            {
                return Ok(*known);
            }
            let mut batch = Batch::new();
            put(&mut batch, peer_key(peer), &PeerRecord { incarnation });
            store.disk.commit(&batch)?;
            store.peers.insert(peer.clone(), incarnation);
            Ok(incarnation)
        })
    }
}
