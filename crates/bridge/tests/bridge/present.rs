//! Who may be connected under a name, as the owner of the bridge says while it runs.

use super::common::{Log, Say, address, echo, echo_ref, options, start, until, up};
use quorate_bridge::{BridgeHandle, BridgeOptions, Identity, PeerAddress};

/// Another data directory of node b than that of [`options`], which listens at the same address.
fn other_b(listen: &str) -> BridgeOptions {
    let usual = options("b");
    let identity = Identity { incarnation: 2, ..usual.identity.clone() };
    BridgeOptions { identity, listen: Some(listen.to_owned()), ..usual }
}

fn connected(handle: &BridgeHandle) -> Vec<u64> {
    handle.sessions().iter().map(|peer| peer.incarnation).collect()
}

#[tokio::test]
async fn of_two_disks_under_a_name_only_the_one_that_is_kept_stays_connected() {
    let (a, b) = (start(options("a")).await, start(options("b")).await);
    let log = Log::default();
    a.expose("echo", echo(&log)).unwrap();
    a.add_peer(PeerAddress::new("b", address(&b))).unwrap();
    b.add_peer(PeerAddress::new("a", address(&a))).unwrap();
    up(&a, "b").await;
    up(&b, "a").await;
    let to_a = echo_ref(&b, "a");
    to_a.cast(&Say::Number(1)).unwrap();
    until("it is delivered", || log.lock().unwrap().len() == 1).await;

    a.keep_only("b", Some(2));
    // Nothing is delivered from here on, and nothing sent: not even over what is dialled again at once.
    assert!(echo_ref(&a, "b").cast(&Say::Number(7)).is_err());
    for _ in 0..200 {
        let _ = to_a.cast(&Say::Number(2));
        tokio::task::yield_now().await;
    }
    until("each new connection is closed", || a.link("b").is_some_and(|link| link.reconnects >= 3)).await;
    assert_eq!(log.lock().unwrap().len(), 1);
    let listen = address(&b);
    b.stop().await;

    let other = start(other_b(&listen)).await;
    other.add_peer(PeerAddress::new("a", address(&a))).unwrap();
    until("the kept one is connected", || connected(&a) == [2]).await;
    up(&a, "b").await;
    echo_ref(&other, "a").cast(&Say::Number(3)).unwrap();
    until("it is heard", || log.lock().unwrap().last() == Some(&Say::Number(3))).await;
    other.stop().await;
    a.stop().await;
}

/// The peer has not heard of the newer disk: it is told by that itself.
#[tokio::test]
async fn one_that_says_what_it_replaced_is_connected_where_the_other_was_kept() {
    let (a, other) = (start(options("a")).await, start(other_b("127.0.0.1:0")).await);
    a.keep_only("b", Some(1));
    other.add_peer(PeerAddress::new("a", address(&a))).unwrap();
    until("it is closed again and again", || other.link("a").is_some_and(|link| link.reconnects >= 2)).await;
    other.say_replaced(vec![(9, 1)]);
    until("it stays", || connected(&a) == [2] && other.link("a").is_some_and(|link| link.down_for.is_none()))
        .await;
    assert_eq!(a.sessions()[0].replaced, [(9, 1)]);
    other.stop().await;
    a.stop().await;
}
