//! Which connections are admitted, and what the refused ones are told.

use crate::common::*;
use quorate_bridge::*;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// Admits peers by a list of names, each with the first incarnation it showed.
struct Roster(Mutex<BTreeMap<String, Option<u64>>>);

impl Roster {
    fn new(name: &str) -> Arc<Self> {
        Arc::new(Self(Mutex::new(BTreeMap::from([(name.to_owned(), None)]))))
    }

    /// Forgets the incarnation of a name: what an operator does after replacing a node.
    fn renew(&self, name: &str) {
        self.0.lock().unwrap().insert(name.to_owned(), None);
    }

    fn decide(&self, hello: &Hello) -> Result<(), Refusal> {
        let mut known = self.0.lock().unwrap();
        let Some(incarnation) = known.get_mut(&hello.node) else {
            let detail = format!("node {} is not a member known here", hello.node);
            return Err(Refusal::new(RefusalCode::UnknownPeer, detail, "add it to the cluster first"));
        };
        let first = *incarnation.get_or_insert(hello.incarnation);
        if first == hello.incarnation {
            return Ok(());
        }
        let detail =
            format!("node {} was incarnation {first:x} and is now {:x}", hello.node, hello.incarnation);
        Err(Refusal::new(RefusalCode::WrongIncarnation, detail, "remove the node and add it again"))
    }
}

impl Admission for Roster {
    fn admit<'a>(&'a self, hello: &'a Hello, _direction: Direction) -> Admitting<'a> {
        let decision = self.decide(hello);
        Box::pin(async move { decision })
    }
}

/// Dials `node` as configured; returns the refusal, which the status and the error of a call both give.
async fn refusal(dialler: BridgeOptions, acceptor: BridgeOptions, node: &str) -> String {
    let (a, b) = (start(dialler).await, start(acceptor).await);
    a.add_peer(PeerAddress::new(node, address(&b))).unwrap();
    until("the link was refused", || a.link(node).unwrap().last_error.is_some()).await;
    let error = a.link(node).unwrap().last_error.unwrap();
    let said = call(&echo_ref(&a, node), Say::Number(1)).await.unwrap_err().to_string();
    assert!(said.contains(&error), "{said} / {error}");
    assert_ne!(a.link(node).unwrap().state, LinkState::Up);
    a.stop().await;
    b.stop().await;
    error
}

#[tokio::test]
async fn another_cluster_is_refused() {
    let mut other = options("a");
    other.identity.cluster = [8; 32];
    let error = refusal(other, options("b"), "b").await;
    assert!(error.contains("refused by the other end: wrong_cluster: b was founded as 0707"), "{error}");
    assert!(error.contains("a as 0808") && error.contains("cluster token"), "{error}");
}

#[tokio::test]
async fn clusters_that_differ_are_named_by_their_lists() {
    let founded = |node: &str, id: u8, members: &str| {
        let mut options = options(node);
        (options.identity.cluster, options.identity.members) = ([id; 32], members.to_owned());
        options
    };
    let (one, other) = ("a=h:1,b=h:2", "a=h:1,b=h:3");
    let error = refusal(founded("a", 8, one), founded("b", 7, other), "b").await;
    assert!(error.contains(&format!("b was founded as {other}, a as {one}")), "{error}");
    let error = refusal(founded("a", 8, one), founded("b", 7, one), "b").await;
    let said = format!("both clusters were founded as {one}, but with different");
    assert!(error.contains(&said) && error.contains("different backups"), "{error}");
    // A list as long as a Hello may carry: the refusal of it can still be read.
    let long = "n".repeat(5_000);
    let error = refusal(founded("a", 8, &long), founded("b", 7, one), "b").await;
    assert!(error.contains("wrong_cluster") && error.contains("nnn..") && error.len() < 1_200, "{error}");
}

#[tokio::test]
async fn a_second_process_with_the_same_boot_is_refused_and_the_first_stays() {
    let run = |node: &str, run: u64| {
        let mut options = options(node);
        options.identity.process = run;
        options
    };
    let b = start(run("b", 7)).await;
    let (first, twin) = (start(run("a", 1)).await, start(run("a", 2)).await);
    first.add_peer(PeerAddress::new("b", address(&b))).unwrap();
    up(&first, "b").await;
    twin.add_peer(PeerAddress::new("b", address(&b))).unwrap();
    until("the twin was refused", || twin.link("b").unwrap().last_error.is_some()).await;
    let error = twin.link("b").unwrap().last_error.unwrap();
    let says = "of node a was used by another process, which runs or has ended";
    assert!(error.contains("twin") && error.contains(says) && !error.contains("delete"), "{error}");
    assert_eq!(first.link("b").unwrap().state, LinkState::Up);
    assert_eq!(first.link("b").unwrap().reconnects, 0);
    for bridge in [first, twin, b] {
        bridge.stop().await;
    }
}

fn at_boot(node: &str, boot: u64, process: u64) -> BridgeOptions {
    let mut options = options(node);
    (options.identity.boot, options.identity.process) = (boot, process);
    options
}

/// The copy of a running node has the next boot number: it was admitted, and the node itself refused from then on.
#[tokio::test]
async fn a_later_boot_is_refused_while_the_earlier_one_is_connected_and_the_first_stays() {
    let b = start(at_boot("b", 1, 7)).await;
    let (first, copy) = (start(at_boot("a", 4, 1)).await, start(at_boot("a", 5, 2)).await);
    first.add_peer(PeerAddress::new("b", address(&b))).unwrap();
    up(&first, "b").await;
    copy.add_peer(PeerAddress::new("b", address(&b))).unwrap();
    until("the copy was refused", || copy.link("b").unwrap().last_error.is_some()).await;
    let error = copy.link("b").unwrap().last_error.unwrap();
    let says = "twin: another process runs as node a, at boot 4 and connected from 127.0.0.1:";
    assert!(error.contains(says) && error.contains("this is boot 5"), "{error}");
    assert_eq!((first.link("b").unwrap().state, first.link("b").unwrap().reconnects), (LinkState::Up, 0));
    // Once the first has ended, the copy is what there is.
    first.stop().await;
    up(&copy, "b").await;
    for bridge in [copy, b] {
        bridge.stop().await;
    }
}

/// A machine that lost its power closes no connection. It comes back within the keepalive's timeout.
#[tokio::test]
async fn a_later_boot_is_admitted_once_nothing_is_heard_of_the_earlier_one() {
    let b = start(at_boot("b", 1, 7)).await;
    // At boot 1. It answers no ping.
    let _silent = raw_peer(&b, "a").await;
    let again = start(at_boot("a", 5, 2)).await;
    again.add_peer(PeerAddress::new("b", address(&b))).unwrap();
    up(&again, "b").await;
    for bridge in [again, b] {
        bridge.stop().await;
    }
}

#[tokio::test]
async fn another_node_at_the_address_is_refused() {
    let error = refusal(options("a"), options("node2"), "node1").await;
    assert!(error.contains("wrong_node: you dialled node1, this is node2"), "{error}");
    assert!(error.contains("correct the address"), "{error}");
}

#[tokio::test]
async fn our_own_name_is_refused() {
    let error = refusal(options("same"), options("same"), "same").await;
    assert!(error.contains("both ends call themselves same"), "{error}");
}

#[tokio::test]
async fn an_unknown_peer_is_refused() {
    let mut strict = options("b");
    strict.admission = Roster::new("c");
    let error = refusal(options("a"), strict, "b").await;
    assert!(error.contains("unknown_peer: node a is not a member known here"), "{error}");
}

#[tokio::test]
async fn the_dialler_refuses_too() {
    let mut strict = options("a");
    strict.admission = Roster::new("c");
    let error = refusal(strict, options("b"), "b").await;
    assert!(error.contains("refused here: unknown_peer: node b"), "{error}");
}

#[tokio::test]
async fn different_configurations_are_refused() {
    let mut other = options("a");
    other.identity.fingerprint = 5;
    let error = refusal(other, options("b"), "b").await;
    assert!(
        error.contains("fingerprint_mismatch: our configuration fingerprint is 0000000000000000"),
        "{error}"
    );
}

#[tokio::test]
async fn versions_without_overlap_are_refused() {
    let mut newer = options("a");
    (newer.protocol_min, newer.protocol_max) = (2, 3);
    let error = refusal(newer, options("b"), "b").await;
    assert!(error.contains("no_common_version: we speak protocol 1 to 1, you 2 to 3"), "{error}");
}

#[tokio::test]
async fn a_wiped_disk_and_a_stale_boot_are_refused_and_an_operator_can_mend_it() {
    let roster = Roster::new("a");
    let mut options_b = options("b");
    options_b.admission = roster.clone();
    let b = start(options_b).await;
    let dial = async |incarnation, boot| {
        let mut dialler = options("a");
        (dialler.identity.incarnation, dialler.identity.boot) = (incarnation, boot);
        let a = start(dialler).await;
        a.add_peer(PeerAddress::new("b", address(&b))).unwrap();
        a
    };
    let first = dial(1, 5).await;
    up(&first, "b").await;
    first.stop().await;

    let older = dial(1, 4).await;
    until("refused", || older.link("b").unwrap().last_error.is_some()).await;
    let error = older.link("b").unwrap().last_error.unwrap();
    assert!(error.contains("stale_boot: boot 5 of node a was seen, this is boot 4"), "{error}");
    older.stop().await;

    let mut dialler = options("a");
    (dialler.identity.incarnation, dialler.identity.boot) = (2, 1);
    let wiped = start(dialler).await;
    let changes = Arc::new(Mutex::new(Vec::new()));
    let seen = changes.clone();
    wiped.on_link_event(move |event| seen.lock().unwrap().push(event.change));
    wiped.add_peer(PeerAddress::new("b", address(&b))).unwrap();
    until("refused", || wiped.link("b").unwrap().last_error.is_some()).await;
    let error = wiped.link("b").unwrap().last_error.unwrap();
    assert!(error.contains("wrong_incarnation: node a was incarnation 1 and is now 2"), "{error}");
    assert!(error.contains("remove the node and add it again"), "{error}");
    until("the refusal was reported", || !changes.lock().unwrap().is_empty()).await;
    let by_peer = LinkRefusal::ByPeer(RefusalCode::WrongIncarnation);
    assert_eq!(changes.lock().unwrap()[0], LinkChange::Refused { refusal: by_peer, reason: error });
    // The operator does that; the link comes up by itself.
    roster.renew("a");
    up(&wiped, "b").await;
}

#[tokio::test]
async fn a_slow_admission_is_cut_off_and_told() {
    struct Never;
    impl Admission for Never {
        fn admit<'a>(&'a self, _hello: &'a Hello, direction: Direction) -> Admitting<'a> {
            assert_eq!(direction, Direction::Inbound);
            Box::pin(std::future::pending())
        }
    }
    let mut slow = options("b");
    (slow.admission, slow.admission_timeout_ms) = (Arc::new(Never), 20);
    let error = refusal(options("a"), slow, "b").await;
    assert!(error.contains("not_now: admission did not decide within 20 ms"), "{error}");
}

/// With writes of more than a second a peer was admitted by no node.
#[tokio::test]
async fn an_admission_that_may_take_longer_now_is_waited_for() {
    struct Slow;
    impl Admission for Slow {
        fn admit<'a>(&'a self, _hello: &'a Hello, _direction: Direction) -> Admitting<'a> {
            Box::pin(async {
                let work = std::future::pending::<()>();
                drop(tokio::time::timeout(Duration::from_millis(200), work).await);
                Ok(())
            })
        }

        fn may_take(&self) -> Duration {
            10 * SECOND
        }
    }
    let slow = |node| {
        let mut slow = options(node);
        (slow.admission, slow.admission_timeout_ms, slow.handshake_timeout_ms) = (Arc::new(Slow), 20, 100);
        slow
    };
    let (a, b) = (start(slow("a")).await, start(slow("b")).await);
    a.add_peer(PeerAddress::new("b", address(&b))).unwrap();
    up(&a, "b").await;
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn a_client_needs_no_name_and_learns_the_cluster() {
    let b = start(options("b")).await;
    b.expose("echo", echo(&Log::default())).unwrap();
    let mut client = options("client");
    (client.identity, client.listen) = (Identity::client(), None);
    let client = start(client).await;
    let at = PeerAddress::any_node(address(&b));
    let label = at.node.clone();
    client.add_peer(at).unwrap();
    up(&client, &label).await;
    let peer = client.link(&label).unwrap().peer.unwrap();
    assert_eq!((peer.cluster, peer.node.as_str(), peer.kind), (CLUSTER, "b", PeerKind::Peer));
    assert_eq!(call(&echo_ref(&client, &label), Say::Number(1)).await.unwrap(), Say::Number(1));
}

#[derive(serde::Deserialize)]
struct Hail {
    hello: Hello,
}

/// With incarnation and boot of a node, anyone could tell its peers to be a later start of it.
#[tokio::test]
async fn a_client_does_not_learn_which_start_of_which_directory_a_node_is() {
    let b = start(at_boot("b", 3, 7)).await;
    let said = async |kind: &'static str, node: &str| {
        let mut stream = TcpStream::connect(address(&b)).await.unwrap();
        let hello = RawHello { kind, ..RawHello::new(node) };
        stream.write_all(&hello.frame("quorate-bridge")).await.unwrap();
        let (kind, body) = raw_frame(&mut stream).await.unwrap();
        assert_eq!(kind, 1, "a Hello");
        let Hail { hello } = rmp_serde::from_slice(&body).unwrap();
        [hello.incarnation, hello.boot, hello.process]
    };
    assert_eq!(said("peer", "a").await, [1, 3, 7]);
    assert_eq!(said("client", "").await, [0, 0, 0]);
    assert_eq!(said("joiner", "c").await, [0, 0, 0]);
    b.stop().await;
}

/// A client outlives the nodes that it talks to: a node that comes back is no twin of itself.
#[tokio::test]
async fn a_client_meets_a_node_again_after_its_restart() {
    let b = start(at_boot("b", 3, 7)).await;
    let listen = address(&b);
    let mut client = options("client");
    (client.identity, client.listen) = (Identity::client(), None);
    let client = start(client).await;
    let at = PeerAddress::any_node(listen.clone());
    let label = at.node.clone();
    client.add_peer(at).unwrap();
    up(&client, &label).await;
    b.stop().await;
    let mut again = at_boot("b", 4, 8);
    again.listen = Some(listen);
    let b = start(again).await;
    until("it is connected again", || client.link(&label).is_some_and(|link| link.reconnects > 0)).await;
    up(&client, &label).await;
    client.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn a_boot_that_no_node_can_have_reached_is_refused_and_the_node_itself_admitted() {
    let b = start(at_boot("b", 1, 7)).await;
    let mut stream = TcpStream::connect(address(&b)).await.unwrap();
    let forged = RawHello { boot: u64::MAX, ..RawHello::new("a") };
    stream.write_all(&forged.frame("quorate-bridge")).await.unwrap();
    let (kind, body) = raw_frame(&mut stream).await.unwrap();
    assert_eq!(kind, 2, "a refusal");
    assert!(String::from_utf8_lossy(&body).contains("bad_hello"));
    let a = start(at_boot("a", 5, 1)).await;
    a.add_peer(PeerAddress::new("b", address(&b))).unwrap();
    up(&a, "b").await;
    for bridge in [a, b] {
        bridge.stop().await;
    }
}

#[tokio::test]
async fn a_joiner_becomes_a_peer() {
    let b = start(options("b")).await;
    let mut joiner = options("c");
    (joiner.identity.kind, joiner.identity.cluster) = (PeerKind::Joiner, [0; 32]);
    let joiner = start(joiner).await;
    joiner.add_peer(PeerAddress::new("b", address(&b))).unwrap();
    up(&joiner, "b").await;
    until("b sees it", || b.sessions().iter().any(|peer| peer.node == "c" && peer.kind == PeerKind::Joiner))
        .await;
    joiner.stop().await;
    // It was admitted: its next start is a peer.
    let peer = start(options("c")).await;
    peer.add_peer(PeerAddress::new("b", address(&b))).unwrap();
    until("b sees a peer", || {
        b.sessions().iter().any(|peer| peer.node == "c" && peer.kind == PeerKind::Peer)
    })
    .await;
}

#[tokio::test]
async fn the_wrong_magic_is_told_apart() {
    let b = start(options("b")).await;
    let mut stream = TcpStream::connect(address(&b)).await.unwrap();
    stream.write_all(&RawHello::new("x").frame("other-protocol")).await.unwrap();
    let (kind, body) = raw_frame(&mut stream).await.unwrap();
    assert_eq!(kind, 2);
    assert!(String::from_utf8_lossy(&body).contains("wrong_magic"));
}

#[tokio::test]
async fn options_out_of_range_are_named() {
    let mut bad = options("a");
    bad.keepalive_timeout_ms = 60;
    let error = Bridge::start(bad, None).await.err().unwrap().to_string();
    assert!(error.contains("keepalive_timeout_ms: is 60, must be at least twice"), "{error}");
    let mut bad = options("a");
    bad.identity.node = "n".repeat(65);
    let error = Bridge::start(bad, None).await.err().unwrap().to_string();
    assert!(error.contains("identity.node: has 65 bytes"), "{error}");
    let taken = start(options("a")).await;
    let mut bad = options("b");
    bad.listen = Some(address(&taken));
    let error = Bridge::start(bad, None).await.err().unwrap();
    assert!(error.to_string().contains("cannot listen on 127.0.0.1"), "{error}");
    let in_use = std::io::ErrorKind::AddrInUse;
    assert!(matches!(&error, StartError::Listen { source, .. } if source.kind() == in_use), "{error}");
}
