//! Who may connect (`docs/safety.md` 14, 15): members of the cluster, in the incarnation they are known by, with the
//! settings safety needs.
//!
//! A peer's incarnation is durable on this node before the link to it is used, and so before any vote or acknowledgement
//! of it is counted. From then on another incarnation under its name (a wiped disk) is refused. That a peer has admitted
//! this node is kept as well: a node that never took part takes part only when every founding member has.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quorate_bridge::{Admission, Admitting, Direction, Hello, PeerKind, Refusal, RefusalCode};
use quorate_core::{Incarnation, NodeId};
use quorate_store::{PeerSource, StoreHandle, StoreRequest};

use crate::context::StoreRoute;
use crate::lock::lock;
use crate::messages::store::port_answer;
use crate::roster::{Known, Roster};

/// An admission waits for the job in progress and is in the next one; both may have become twice as slow.
const JOBS_PER_ADMISSION: u32 = 4;

pub(crate) struct Gate {
    me: NodeId,
    fingerprint: u64,
    roster: Arc<Roster>,
    store: StoreRoute,
    disk: StoreHandle,
    /// The newest boot heard of each incarnation. The lock is never held across an await.
    boots: Mutex<BTreeMap<(NodeId, Incarnation), u64>>,
}

impl Gate {
    pub(crate) fn new(
        me: NodeId,
        fingerprint: u64,
        roster: Arc<Roster>,
        store: StoreRoute,
        disk: StoreHandle,
    ) -> Self {
        Self { me, fingerprint, roster, store, disk, boots: Mutex::new(BTreeMap::new()) }
    }

    async fn decide(&self, hello: &Hello, direction: Direction) -> Result<(), Refusal> {
        match hello.kind {
            PeerKind::Client => return Ok(()),
            PeerKind::Joiner => {
                let what = "this cluster takes no joiners yet".to_owned();
                return Err(Refusal::new(
                    RefusalCode::NotNow,
                    what,
                    "start it with the cluster's initial members",
                ));
            }
            PeerKind::Peer => {}
        }
        let peer = NodeId::new(&hello.node).ok().filter(|peer| *peer != self.me);
        let known = peer.map(|peer| (self.roster.knows(&peer), peer));
        let Some((known, peer)) = known.filter(|(known, _)| *known != Known::Stranger) else {
            let what = format!("node {} is not a member known to {}", hello.node, self.me);
            let remedy = "if it was removed, end it; if it is new, it joins with an empty data directory (`--join`); otherwise correct its id";
            return Err(Refusal::new(RefusalCode::UnknownPeer, what, remedy));
        };
        if hello.fingerprint != self.fingerprint {
            let what = format!("node {peer} has other cluster settings than {}", self.me);
            let remedy =
                "give every node the same election_timeout_ms and clock_drift_ppm_max, and the same version";
            return Err(Refusal::new(RefusalCode::FingerprintMismatch, what, remedy));
        }
        let source = match direction {
            // What is dialled answers only after it has admitted: this node's incarnation is on its disk.
            Direction::Outbound => PeerSource::ItAdmitted,
            Direction::Inbound => PeerSource::ItDialled,
        };
        self.check_incarnation(&peer, hello, known, source).await?;
        self.check_boot(&peer, hello)
    }

    /// The incarnation that the members agreed on counts, or one that says that it replaced that: this node may not have heard of it yet.
    /// While none is agreed on, the first that was heard of.
    async fn check_incarnation(
        &self,
        peer: &NodeId,
        hello: &Hello,
        known: Known,
        source: PeerSource,
    ) -> Result<(), Refusal> {
        let theirs = Incarnation(hello.incarnation);
        let has_replaced =
            |agreed: Incarnation| hello.replaced.iter().any(|(_, replaced)| *replaced == agreed.0);
        let is_theirs = |agreed: Incarnation| agreed == theirs || has_replaced(agreed);
        let source = match known {
            Known::Peer(agreed) if agreed.0 != 0 && !is_theirs(agreed) => {
                return Err(self.other_incarnation(peer, theirs));
            }
            // What is on record may be of before.
            Known::Peer(agreed) if agreed.0 != 0 => {
                let recorded = self.record(peer, theirs, source).await?;
                if recorded == theirs {
                    return Ok(());
                }
                PeerSource::Membership
            }
            // It has promised nothing to this node, nor this node to it.
            Known::Anyone => PeerSource::Membership,
            Known::Peer(_) | Known::Stranger => source,
        };
        let recorded = self.record(peer, theirs, source).await?;
        if recorded == theirs {
            return Ok(());
        }
        // One that was removed: its name was given to whichever disk comes first.
        if is_theirs(recorded) || self.roster.was_removed(peer, recorded) {
            self.record(peer, theirs, PeerSource::Membership).await?;
            return Ok(());
        }
        Err(self.other_incarnation(peer, theirs))
    }

    /// The incarnation that is on this node's disk for the peer, durably.
    async fn record(
        &self,
        peer: &NodeId,
        incarnation: Incarnation,
        source: PeerSource,
    ) -> Result<Incarnation, Refusal> {
        let store = self.store.borrow().clone().ok_or_else(|| not_now("the log store is being restarted"))?;
        let asked = ractor::call!(store, |reply| StoreRequest::RecordPeer {
            peer: peer.clone(),
            incarnation,
            source,
            reply: port_answer(reply),
        }
        .into());
        asked
            .map_err(|_| not_now("the log store did not answer"))?
            .map_err(|error| not_now(&format!("the log store cannot keep the incarnation: {error}")))
    }

    fn other_incarnation(&self, peer: &NodeId, incarnation: Incarnation) -> Refusal {
        // The wiped node reads this: see `NodeFailure::Replaced`.
        // Not which incarnation is known: with that, any node that reads the refusal could claim it.
        let what = format!(
            "node {peer} is known to {} with another data directory than that of incarnation {incarnation}",
            self.me
        );
        let remedy = "its data directory was wiped or replaced: put the old one back. If it is lost, start the node with an empty directory and \
                      `--join`, and run `quorate member replace` for it; that needs a majority of the others. If this cluster never had a \
                      leader, nothing is stored in it: delete the data directories of all its nodes and start them again";
        Refusal::new(RefusalCode::WrongIncarnation, what, remedy)
    }

    fn check_boot(&self, peer: &NodeId, hello: &Hello) -> Result<(), Refusal> {
        let mut boots = lock(&self.boots);
        let newest = boots.entry((peer.clone(), Incarnation(hello.incarnation))).or_default();
        if hello.boot < *newest {
            let what = format!("node {peer} was at boot {newest} and is now at {}", hello.boot);
            let remedy = "either this data directory is an older copy, or an older copy was started in its place: keep both, and go \
                          on with the newest alone";
            return Err(Refusal::new(RefusalCode::StaleBoot, what, remedy));
        }
        *newest = hello.boot;
        Ok(())
    }
}

fn not_now(what: &str) -> Refusal {
    Refusal::new(RefusalCode::NotNow, what.to_owned(), "it will be tried again")
}

impl Admission for Gate {
    fn admit<'a>(&'a self, hello: &'a Hello, direction: Direction) -> Admitting<'a> {
        Box::pin(self.decide(hello, direction))
    }

    fn may_take(&self) -> Duration {
        let job = Duration::from_micros(self.disk.stats().job_us.load(Ordering::Relaxed));
        job * JOBS_PER_ADMISSION
    }
}
