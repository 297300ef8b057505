//! Connections that break or stall; actors that crash or are killed.

use crate::common::*;
use quorate_bridge::*;
use ractor::ActorCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn child(handle: &BridgeHandle, role: &str) -> Option<ActorCell> {
    let of_role = |cell: &ActorCell| cell.get_name().is_some_and(|name| name.contains(role));
    handle.actor().get_children().into_iter().find(of_role)
}

/// Waits for a child of this role other than `old`.
async fn successor(handle: &BridgeHandle, role: &str, old: &ActorCell) {
    let is_new = || child(handle, role).is_some_and(|cell| cell.get_id() != old.get_id());
    until("the child was started again", is_new).await;
}

async fn answers(remote: &RemoteRef<Echo>) {
    for _ in 0..5_000 {
        match call(remote, Say::Number(1)).await {
            Ok(_) => return,
            Err(
                CallError::NotQueued(CastError::NotConnected { .. })
                | CallError::LinkLost { .. }
                | CallError::Died { .. },
            ) => {
                tokio::time::timeout(SECOND / 500, std::future::pending::<()>()).await.unwrap_err();
            }
            Err(error) => panic!("{error}"),
        }
    }
    panic!("no answer in ten seconds");
}

/// Forwards to `to` while `open`, discards everything otherwise: a network that is cut without a reset.
async fn proxy(to: String, open: Arc<AtomicBool>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        loop {
            let (inbound, _) = listener.accept().await.unwrap();
            let outbound = TcpStream::connect(&to).await.unwrap();
            let ((ir, iw), (or, ow)) = (inbound.into_split(), outbound.into_split());
            for (mut reader, mut writer) in [(ir, ow), (or, iw)] {
                let open = open.clone();
                tokio::spawn(async move {
                    let mut buffer = vec![0; 64 * 1024];
                    while let Ok(count @ 1..) = reader.read(&mut buffer).await {
                        if open.load(Ordering::SeqCst) && writer.write_all(&buffer[..count]).await.is_err() {
                            break;
                        }
                    }
                });
            }
        }
    });
    at
}

#[tokio::test]
async fn a_half_open_link_is_found_though_tcp_says_nothing() {
    // The acceptor is more patient, or its closing could reach the dialler before the dialler notices by itself.
    let mut patient = options("b");
    patient.keepalive_timeout_ms = 5_000;
    let (a, b) = (start(options("a")).await, start(patient).await);
    b.expose("echo", echo(&Log::default())).unwrap();
    let open = Arc::new(AtomicBool::new(true));
    a.add_peer(PeerAddress::new("b", proxy(address(&b), open.clone()).await)).unwrap();
    up(&a, "b").await;
    let remote = echo_ref(&a, "b");
    answers(&remote).await;
    let events = Arc::new(Mutex::new(Vec::new()));
    let told = events.clone();
    a.on_link_event(move |event| told.lock().unwrap().push(event.change));

    open.store(false, Ordering::SeqCst);
    remote.cast(&Say::Number(9)).unwrap();
    let error = call(&remote, Say::Number(2)).await.unwrap_err();
    assert!(matches!(error, CallError::LinkLost { sent: Sent::Unknown, .. }), "{error}");
    assert!(error.to_string().contains("nothing heard for"), "{error}");
    until("b noticed too", || b.sessions().is_empty()).await;
    open.store(true, Ordering::SeqCst);
    up(&a, "b").await;
    answers(&remote).await;
    let events = events.lock().unwrap();
    let gap = Gap { casts_unsent: 0, casts_unknown: 1 };
    let is_silent = |down: &LinkChange| matches!(down, LinkChange::Down { gap: told, by_peer: false, .. } if *told == gap);
    assert!(is_silent(&events[0]), "silence is not the other end's doing: {events:?}");
    let ups: Vec<_> = events.iter().filter(|change| matches!(change, LinkChange::Up { .. })).collect();
    assert_eq!(ups, [&LinkChange::Up { gap: Some(gap) }], "the gap is told, not hidden");
}

/// A node that was started again led, and a peer that still paused before it dialled it could answer it nothing.
#[tokio::test]
async fn a_peer_that_dials_is_dialled_at_once() {
    let (mut pauses, hour_ms) = (options("a"), 3_600_000);
    (pauses.backoff_min_ms, pauses.backoff_max_ms) = (hour_ms, hour_ms);
    let (a, b) = (start(pauses).await, start(options("b")).await);
    let at = address(&b);
    b.stop().await;
    a.add_peer(PeerAddress::new("b", &at)).unwrap();
    until("an attempt of a failed", || a.link("b").unwrap().state == LinkState::Backoff).await;
    let mut again = options("b");
    again.listen = Some(at);
    let b = start(again).await;
    b.add_peer(PeerAddress::new("a", address(&a))).unwrap();
    up(&b, "a").await;
    up(&a, "b").await;
}

#[tokio::test]
async fn a_node_that_was_away_is_connected_again() {
    let a = start(options("a")).await;
    let b = start(options("b")).await;
    let at = address(&b);
    a.add_peer(PeerAddress::new("b", &at)).unwrap();
    up(&a, "b").await;
    b.stop().await;
    until("a noticed", || a.link("b").unwrap().state == LinkState::Backoff).await;
    until("an attempt of a failed", || a.link("b").unwrap().last_error.unwrap().contains("cannot connect"))
        .await;
    let error = echo_ref(&a, "b").cast(&Say::Number(1)).unwrap_err();
    assert!(error.to_string().contains("cannot connect to 127.0.0.1"), "{error}");
    let mut again = options("b");
    (again.listen, again.identity.boot) = (Some(at), 2);
    let b = start(again).await;
    b.expose("echo", echo(&Log::default())).unwrap();
    up(&a, "b").await;
    answers(&echo_ref(&a, "b")).await;
    assert_eq!(a.link("b").unwrap().reconnects, 1);
}

/// A process that dies closes its connections; a node that hears that need not wait for a long silence.
#[tokio::test]
async fn who_closed_a_connection_is_told() {
    for by_peer in [true, false] {
        let (a, b) = (start(options("a")).await, start(options("b")).await);
        let downs = Arc::new(Mutex::new(Vec::new()));
        let told = downs.clone();
        a.on_link_event(move |event| {
            if let LinkChange::Down { by_peer, .. } = event.change {
                told.lock().unwrap().push(by_peer);
            }
        });
        a.add_peer(PeerAddress::new("b", address(&b))).unwrap();
        up(&a, "b").await;
        if by_peer {
            b.stop().await;
        } else {
            a.remove_peer("b");
        }
        until("a noticed", || !downs.lock().unwrap().is_empty()).await;
        assert_eq!(*downs.lock().unwrap(), [by_peer]);
    }
}

#[tokio::test]
async fn killed_and_stopped_children_heal() {
    let (a, b) = pair().await;
    b.expose("echo", echo(&Log::default())).unwrap();
    let remote = echo_ref(&a, "b");
    answers(&remote).await;
    for round in 0..3 {
        for (handle, role) in [(&a, "/link/"), (&b, "/session"), (&b, "/listener")] {
            let old = child(handle, role).unwrap();
            if round == 1 {
                old.stop(None);
            } else {
                old.kill();
            }
            successor(handle, role, &old).await;
            answers(&remote).await;
        }
    }
    // The new listener accepts: a new node can connect.
    let c = start(options("c")).await;
    c.add_peer(PeerAddress::new("b", address(&b))).unwrap();
    up(&c, "b").await;
}

#[tokio::test]
async fn panics_of_link_and_session_heal() {
    struct PanicsOnce(AtomicBool);
    impl Admission for PanicsOnce {
        fn admit<'a>(&'a self, _hello: &'a Hello, _direction: Direction) -> Admitting<'a> {
            assert!(self.0.swap(true, Ordering::SeqCst), "the first time");
            Box::pin(async { Ok(()) })
        }
    }
    let mut options_a = options("a");
    options_a.admission = Arc::new(PanicsOnce(AtomicBool::new(false)));
    let (a, b) = (start(options_a).await, start(options("b")).await);
    b.expose("echo", echo(&Log::default())).unwrap();
    a.add_peer(PeerAddress::new("b", address(&b))).unwrap();
    let remote = echo_ref(&a, "b");
    answers(&remote).await;
    // The sink panics on the session's reading task.
    remote.cast(&Say::Crash).unwrap();
    until("the connection was lost and made again", || a.link("b").unwrap().reconnects == 1).await;
    answers(&remote).await;
}

#[tokio::test]
async fn the_bridge_actor_can_be_replaced_under_living_refs() {
    let (a, b) = pair().await;
    b.expose("echo", echo(&Log::default())).unwrap();
    let remote = echo_ref(&a, "b");
    let downs = Arc::new(Mutex::new(Vec::new()));
    let told = downs.clone();
    a.monitor("b", "echo", move |event| told.lock().unwrap().push(event.change)).unwrap();
    answers(&remote).await;
    for handle in [&a, &b] {
        let old = handle.actor();
        old.kill_and_wait(Some(SECOND)).await.unwrap();
        until("its links fell", || a.link("b").unwrap().state != LinkState::Up).await;
        Bridge::respawn(handle, None).await.unwrap();
        answers(&remote).await;
    }
    until("the monitor saw both", || {
        let changes = downs.lock().unwrap();
        changes.len() == 5 && matches!(changes[4], MonitorChange::Up { .. })
    })
    .await;
}

#[tokio::test]
async fn a_newer_connection_of_a_node_replaces_the_older() {
    let b = start(options("b")).await;
    let mut first = raw_peer(&b, "x").await;
    let second = raw_peer(&b, "x").await;
    let mut rest = Vec::new();
    first.read_to_end(&mut rest).await.unwrap();
    assert_eq!(b.sessions().len(), 1);
    drop(second);
    until("none is left", || b.sessions().is_empty()).await;
}

#[tokio::test]
async fn removing_a_peer_ends_its_link_and_adding_it_starts_a_new_one() {
    let (a, b) = pair().await;
    b.expose("echo", echo(&Log::default())).unwrap();
    let remote = echo_ref(&a, "b");
    answers(&remote).await;
    a.remove_peer("b");
    until("the link is gone", || {
        a.link("b").unwrap().state == LinkState::Idle && remote.why_not_connected().is_some()
    })
    .await;
    let error = remote.cast(&Say::Number(1)).unwrap_err();
    assert!(error.to_string().contains("not added to this bridge, or was removed"), "{error}");
    a.add_peer(PeerAddress::new("b", address(&b))).unwrap();
    answers(&remote).await;
}

/// Says a Hello as a client; the kind and the body of the answer.
async fn raw_client(handle: &BridgeHandle) -> (TcpStream, u8, String) {
    let mut stream = TcpStream::connect(address(handle)).await.unwrap();
    let hello = RawHello { kind: "client", incarnation: 0, boot: 0, ..RawHello::new("") };
    stream.write_all(&hello.frame("quorate-bridge")).await.unwrap();
    let (kind, body) = raw_frame(&mut stream).await.unwrap();
    (stream, kind, String::from_utf8_lossy(&body).into_owned())
}

#[tokio::test]
async fn clients_above_the_bound_are_refused_and_a_node_is_not() {
    let mut few = options("b");
    few.sessions_max = 1;
    let b = start(few).await;
    let (kept, kind, _) = raw_client(&b).await;
    assert_eq!(kind, 1, "a Hello");
    let (_, kind, said) = raw_client(&b).await;
    assert!(kind == 2 && said.contains("1 clients are connected"), "{kind} {said}");
    let _node = raw_peer(&b, "x").await;
    drop(kept);
    // Its place is free once the bridge has noticed.
    tokio::time::timeout(10 * SECOND, async { while raw_client(&b).await.1 != 1 {} }).await.unwrap();
}

#[tokio::test]
async fn strangers_that_say_nothing_keep_no_node_out() {
    let mut few = options("b");
    (few.handshakes_max, few.handshake_timeout_ms) = (2, 3_600_000);
    let b = start(few).await;
    let mut silent = Vec::new();
    for _ in 0..5 {
        silent.push(TcpStream::connect(address(&b)).await.unwrap());
    }
    let _node = raw_peer(&b, "x").await;
    for oldest in &mut silent[..3] {
        assert_eq!(oldest.read(&mut [0; 16]).await.unwrap_or(0), 0, "it gave way");
    }
}

#[tokio::test]
async fn a_peer_that_speaks_but_does_not_read_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        raw_frame(&mut stream).await.unwrap();
        stream.write_all(&RawHello::new("b").frame("quorate-bridge")).await.unwrap();
        let mut ticks = tokio::time::interval(SECOND / 20);
        loop {
            ticks.tick().await;
            if stream.write_all(&frame(7, b"\x81\xa5token\x01")).await.is_err() {
                return;
            }
        }
    });
    let a = start(options("a")).await;
    a.add_peer(PeerAddress::new("b", at)).unwrap();
    up(&a, "b").await;
    until("it was given up", || {
        a.link("b").unwrap().last_error.is_some_and(|error| error.contains("a ping is unanswered for"))
    })
    .await;
}

#[tokio::test]
async fn a_silent_inbound_connection_is_given_up() {
    let b = start(options("b")).await;
    let mut silent = raw_peer(&b, "x").await;
    let mut rest = Vec::new();
    // The bridge pings until it gives up, then closes.
    silent.read_to_end(&mut rest).await.unwrap();
    until("its session is gone", || b.sessions().is_empty()).await;
}

#[tokio::test]
async fn a_bridge_stopped_frees_its_port() {
    let a = start(options("a")).await;
    let mut second = options("b");
    second.listen = Some(address(&a));
    a.stop().await;
    start(second).await;
}

#[tokio::test]
async fn a_supervisor_hears_of_the_bridge_and_can_replace_it() {
    use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
    struct Node;
    impl Actor for Node {
        type Msg = ();
        type State = BridgeHandle;
        type Arguments = (BridgeOptions, tokio::sync::oneshot::Sender<BridgeHandle>);

        async fn pre_start(
            &self,
            me: ActorRef<()>,
            (options, tell): Self::Arguments,
        ) -> Result<BridgeHandle, ActorProcessingErr> {
            let handle = Bridge::start(options, Some(me.get_cell())).await?;
            let _ = tell.send(handle.clone());
            Ok(handle)
        }

        async fn handle_supervisor_evt(
            &self,
            me: ActorRef<()>,
            event: SupervisionEvent,
            handle: &mut BridgeHandle,
        ) -> Result<(), ActorProcessingErr> {
            if matches!(event, SupervisionEvent::ActorTerminated(..) | SupervisionEvent::ActorFailed(..)) {
                Bridge::respawn(handle, Some(me.get_cell())).await?;
            }
            Ok(())
        }
    }
    let (tell, told) = tokio::sync::oneshot::channel();
    Actor::spawn(None, Node, (options("b"), tell)).await.unwrap();
    let b = told.await.unwrap();
    b.expose("echo", echo(&Log::default())).unwrap();
    let a = start(options("a")).await;
    a.add_peer(PeerAddress::new("b", address(&b))).unwrap();
    answers(&echo_ref(&a, "b")).await;
    let old = b.actor().get_id();
    b.actor().kill();
    until("it was replaced", || b.actor().get_id() != old).await;
    answers(&echo_ref(&a, "b")).await;
}
