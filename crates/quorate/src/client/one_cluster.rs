//! Which cluster a client talks to: the one whose node answered it first. An address that comes to belong to another cluster (a
//! container's is used again) then leads nowhere, and no write lands in a cluster that it was not meant for.
//!
//! Owns the id of that cluster, once it is known. Asked by the bridge before a link comes up, so that what is sent over a link is
//! sent to that cluster; links that were up before are named, so that the client drops them. Never forgets it: a client that is to talk to another
//! cluster is a new client. Cannot tell two clusters that were founded from the same list with the same token: they have one id.

use std::sync::OnceLock;

use quorate_bridge::{Admission, Admitting, Direction, Hello, LinkStatus, Refusal, RefusalCode};
use quorate_core::Hash;

/// The cluster, once one has answered.
#[derive(Debug, Default)]
pub(super) struct OneCluster(OnceLock<[u8; 32]>);

impl OneCluster {
    /// A node of this cluster has answered. True if it is the first that did.
    pub(super) fn answered(&self, cluster: [u8; 32]) -> bool {
        self.0.set(cluster).is_ok()
    }

    /// Whether one has answered.
    pub(super) fn is_known(&self) -> bool {
        self.0.get().is_some()
    }

    /// Whether this link leads to another cluster than the one that answered.
    pub(super) fn is_other(&self, link: &LinkStatus) -> bool {
        self.0.get().zip(link.peer.as_ref()).is_some_and(|(known, peer)| *known != peer.cluster)
    }
}

impl Admission for OneCluster {
    fn admit<'a>(&'a self, hello: &'a Hello, _direction: Direction) -> Admitting<'a> {
        Box::pin(async move {
            let Some(known) = self.0.get().filter(|known| **known != hello.cluster) else { return Ok(()) };
            let detail = format!(
                "node {} is of cluster {}, and this client talks to cluster {}",
                hello.node,
                Hash(hello.cluster),
                Hash(*known)
            );
            let remedy = "the address has come to belong to another cluster: correct it, or make a new client for that cluster";
            Err(Refusal::new(RefusalCode::WrongCluster, detail, remedy))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use quorate_bridge::{
        Bridge, BridgeHandle, BridgeOptions, Exposed, Identity, Inbound, LinkChange, LinkRefusal, LinkState,
        RefusalCode,
    };
    use quorate_core::{GroupId, Hash};
    use tokio::sync::mpsc;
    use tokio::time::Instant;

    use crate::client::{Client, ClientOptions};
    use crate::error::{Outcome, ProposeError, QueryError};
    use crate::instance;
    use crate::machine::{self, Add, Counter, Total};
    use crate::protocol::{self, Consistency, GroupProtocol, Request, Response};

    /// How long a link may take to change.
    const WITHIN: Duration = Duration::from_secs(20);

    /// The changes of the client's links from here on.
    fn changes_of_links(client: &Client) -> mpsc::Receiver<LinkChange> {
        let (heard, changes) = mpsc::channel(1_000);
        client.inner.bridge.on_link_event(move |event| drop(heard.try_send(event.change)));
        changes
    }

    /// A node that answers every query, and counts the writes that it gets.
    async fn node_of(cluster: u8, address: &str, writes: Arc<AtomicU32>) -> BridgeHandle {
        let mut options =
            BridgeOptions::new(instance::unique_name("node0"), Identity::peer([cluster; 32], "node0", 1, 1));
        options.listen = Some(address.to_owned());
        let node = Bridge::start(options, None).await.expect("a free port");
        let group = Exposed::sink::<GroupProtocol>(move |batch| {
            for Inbound { message, reply, .. } in batch {
                let Some(reply) = reply else { continue };
                let answer = match message {
                    Request::Propose { .. } => {
                        writes.fetch_add(1, Ordering::Relaxed);
                        Response::NotApplied(ProposeError::Stopped { detail: "it was told to".to_owned() })
                    }
                    Request::Query { .. } => {
                        let answer = machine::encode(&7_i64, usize::MAX).expect("a number");
                        Response::Answered { answer, applied: 1 }
                    }
                    Request::Consensus { .. }
                    | Request::Members
                    | Request::Membership(_)
                    | Request::SnapshotPart { .. }
                    | Request::Faulted { .. } => Response::NotAnswered(QueryError::NoLeader { waited_ms: 0 }),
                };
                drop(reply.send(&answer));
            }
            Ok(())
        });
        node.expose(&protocol::exposed_name(GroupId::of_name("counter")), group).expect("a free name");
        node
    }

    /// Its next write was applied in the other cluster, and acknowledged.
    #[tokio::test]
    async fn a_client_sends_nothing_to_another_cluster_at_an_address_that_it_knows() {
        let (ours, others) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let first = node_of(7, "127.0.0.1:0", ours).await;
        let address = first.local_addr().expect("it listens").to_string();
        let options = ClientOptions { timeout: Duration::from_secs(20), ..ClientOptions::default() };
        let client = Client::connect([address.clone()], options).await.expect("an address");
        let count = client.group::<Counter>("counter");
        assert_eq!(count.query(Total, Consistency::Linearizable).await, Ok(7));
        let mut changes = changes_of_links(&client);
        first.stop().await;
        let other = node_of(8, &address, others.clone()).await;
        // Until the client has heard that its node has ended, has dialled again, and has refused the node that it found.
        let (deadline, mut is_refused) = (Instant::now() + WITHIN, false);
        while !is_refused {
            assert!(Instant::now() < deadline, "the client refused no link within {WITHIN:?}");
            let _ = count.propose_by(Add(1), Duration::from_millis(300)).await.expect_err("no node");
            assert_eq!(others.load(Ordering::Relaxed), 0, "a write of the client is in another cluster");
            while let Ok(change) = changes.try_recv() {
                let by_us = LinkRefusal::ByUs(RefusalCode::WrongCluster);
                is_refused |= matches!(change, LinkChange::Refused { refusal, .. } if refusal == by_us);
            }
        }
        let refused = count.propose_by(Add(1), Duration::from_millis(300)).await.expect_err("no node");
        assert_eq!(others.load(Ordering::Relaxed), 0, "a write of the client is in another cluster");
        assert_eq!(refused.outcome(), Outcome::Refused, "{refused}");
        let said = refused.to_string();
        assert!([7, 8].iter().all(|cluster| said.contains(&Hash([*cluster; 32]).to_string())), "{said}");
        client.close().await;
        other.stop().await;
    }

    /// Two addresses of two clusters were given: who answers first is the one, and the other link is dropped.
    #[tokio::test]
    async fn of_two_clusters_the_first_that_answers_is_the_only_one() {
        let (one, two) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let first = node_of(7, "127.0.0.1:0", one.clone()).await;
        let second = node_of(8, "127.0.0.1:0", two.clone()).await;
        let addresses = [&first, &second].map(|node| node.local_addr().expect("it listens").to_string());
        let client = Client::connect(addresses.clone(), ClientOptions::default()).await.expect("addresses");
        let mut changes = changes_of_links(&client);
        let up = || client.inner.bridge.links().iter().filter(|link| link.state == LinkState::Up).count();
        let both = async { while up() < 2 && changes.recv().await.is_some() {} };
        tokio::time::timeout(WITHIN, both).await.expect("both links come up");
        let count = client.group::<Counter>("counter");
        assert_eq!(count.query(Total, Consistency::Linearizable).await, Ok(7), "the first that was given");
        // It is stopped: each attempt goes on to the next node.
        let _ = count.propose_by(Add(1), Duration::from_millis(300)).await.expect_err("it is stopped");
        assert!(one.load(Ordering::Relaxed) > 0);
        assert_eq!(two.load(Ordering::Relaxed), 0, "a write of the client is in another cluster");
        client.close().await;
        first.stop().await;
        second.stop().await;
    }
}
