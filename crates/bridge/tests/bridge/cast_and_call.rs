//! Casts arrive in order; every call ends, and its error says whether the actor may have seen it.

use crate::common::*;
use quorate_bridge::*;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn casts_arrive_in_order_and_in_batches() {
    let (a, b) = pair().await;
    let (log, batches) = (Log::default(), Arc::new(AtomicUsize::new(0)));
    let (seen, count) = (log.clone(), batches.clone());
    b.expose(
        "echo",
        Exposed::sink::<Echo>(move |batch| {
            count.fetch_add(1, Ordering::Relaxed);
            assert!(batch.iter().all(|inbound| inbound.from.node == "a" && inbound.reply.is_none()));
            seen.lock().unwrap().extend(batch.into_iter().map(|inbound| inbound.message));
            Ok(())
        }),
    )
    .unwrap();
    let remote = echo_ref(&a, "b");
    for n in 0..20_000 {
        remote.cast(&Say::Number(n)).unwrap();
    }
    until("all casts arrived", || log.lock().unwrap().len() == 20_000).await;
    let expected: Vec<_> = (0..20_000).map(Say::Number).collect();
    assert_eq!(*log.lock().unwrap(), expected);
    assert!(batches.load(Ordering::Relaxed) < 10_000, "batched: {batches:?}");
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn calls_are_answered_each_with_its_own_reply() {
    let (a, b) = pair().await;
    b.expose("echo", echo(&Log::default())).unwrap();
    let remote = echo_ref(&a, "b");
    let calls: Vec<_> = (0..100)
        .map(|n| {
            let remote = remote.clone();
            tokio::spawn(async move { call(&remote, Say::Number(n)).await })
        })
        .collect();
    for (n, call) in calls.into_iter().enumerate() {
        assert_eq!(call.await.unwrap().unwrap(), Say::Number(n as u64));
    }
    until("a round trip was measured", || a.link("b").unwrap().round_trip.is_some()).await;
}

#[tokio::test]
async fn a_message_in_fragments_arrives_whole_both_ways() {
    let (a, b) = pair().await;
    b.expose("echo", echo(&Log::default())).unwrap();
    for class in [Class::Bulk, Class::Control] {
        let length: u32 = if class == Class::Bulk { 3_000_001 } else { 200_001 };
        let message = Say::Bytes((0..length).map(|n| (n % 251) as u8).collect());
        let remote = echo_ref(&a, "b").with_class(class);
        assert!(remote.call(&message, SECOND * 60).await.unwrap() == message);
    }
}

struct Other;
impl Protocol for Other {
    type Message = u64;
    type Reply = u64;
    const NAME: &'static str = "other";
    const VERSION: u16 = 1;
}

/// The echo of a newer node: the same protocol and version, with a variant the older one does not know.
struct Newer;
impl Protocol for Newer {
    type Message = String;
    type Reply = Say;
    const NAME: &'static str = "echo";
    const VERSION: u16 = 1;
}

#[tokio::test]
async fn each_way_a_call_can_fail_has_its_error() {
    let (a, b) = pair().await;
    let log = Log::default();
    b.expose("echo", echo(&log)).unwrap();
    let remote = echo_ref(&a, "b");

    let unknown = a.remote::<Echo>("b", "unknown").unwrap();
    let error = call(&unknown, Say::Number(1)).await.unwrap_err();
    assert!(matches!(error, CallError::NoSuchActor { .. }) && error.outcome() == Sent::NotSent, "{error}");

    let error = call(&remote, Say::Forget).await.unwrap_err();
    assert!(matches!(error, CallError::Died { .. }) && error.outcome() == Sent::Unknown, "{error}");

    let error = remote.call(&Say::Keep, Duration::from_millis(20)).await.unwrap_err();
    assert!(matches!(error, CallError::TimedOut { sent: Sent::Unknown, .. }), "{error}");

    let other = a.remote::<Other>("b", "echo").unwrap();
    let error = other.call(&1, SECOND).await.unwrap_err();
    assert!(matches!(error, CallError::Unsupported { .. }) && error.outcome() == Sent::NotSent, "{error}");

    let newer = a.remote::<Newer>("b", "echo").unwrap();
    let error = newer.call(&"Sing".into(), SECOND).await.unwrap_err();
    assert!(matches!(error, CallError::Malformed { step: CallStep::Request, .. }), "{error}");
    assert_eq!(error.outcome(), Sent::NotSent);
    assert_eq!(call(&remote, Say::Number(2)).await.unwrap(), Say::Number(2), "the connection lived on");
    assert_eq!(a.link("b").unwrap().reconnects, 0);

    let huge = Say::Bytes(vec![0; 17 << 20]);
    let error = call(&remote, huge).await.unwrap_err();
    assert!(matches!(error, CallError::NotQueued(CastError::Malformed { .. })), "{error}");

    let nowhere = echo_ref(&a, "z");
    let error = call(&nowhere, Say::Number(1)).await.unwrap_err();
    assert!(
        matches!(error, CallError::NotQueued(CastError::NotConnected { .. }))
            && error.outcome() == Sent::NotSent,
        "{error}"
    );

    let waiting = tokio::spawn(async move { remote.call(&Say::Keep, SECOND * 30).await });
    until("the call arrived", || log.lock().unwrap().iter().filter(|say| **say == Say::Keep).count() == 2)
        .await;
    b.stop().await;
    let error = waiting.await.unwrap().unwrap_err();
    assert!(
        matches!(error, CallError::LinkLost { sent: Sent::Unknown, .. } | CallError::Died { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_full_queue_says_busy_and_control_still_goes() {
    // A server that shakes hands and then reads nothing: the queue fills behind the socket's buffers.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap().to_string();
    let deaf = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        raw_frame(&mut stream).await.unwrap();
        let hello = RawHello { message_bytes_max: 1 << 30, ..RawHello::new("b") };
        tokio::io::AsyncWriteExt::write_all(&mut stream, &hello.frame("quorate-bridge")).await.unwrap();
        std::future::pending::<()>().await;
        drop(stream);
    });
    let mut options = options("a");
    options.queue_bytes_max = 1 << 20;
    options.message_bytes_max = 1 << 20;
    options.control_bytes_max = 8 << 10;
    options.keepalive_timeout_ms = 60_000;
    let a = start(options).await;
    a.add_peer(PeerAddress::new("b", at)).unwrap();
    up(&a, "b").await;
    let remote = echo_ref(&a, "b");
    let block = Say::Bytes(vec![1; 500_000]);
    let mut refused = None;
    for _ in 0..1_000 {
        if let Err(error) = remote.cast(&block) {
            refused = Some(error);
            break;
        }
        tokio::task::yield_now().await;
    }
    let error = refused.expect("the queue is bounded");
    assert!(matches!(error, CastError::Busy { .. }), "{error}");
    assert!(error.to_string().contains("of 1048576 bytes"), "{error}");
    assert_eq!(error.outcome(), Sent::NotSent);
    // Once the writer is stuck in the socket, a queued call is taken back whole at its timeout.
    let small = remote.clone().with_class(Class::Control);
    let error = small.call(&Say::Number(1), Duration::from_millis(50)).await.unwrap_err();
    assert!(matches!(error, CallError::TimedOut { .. }), "{error}");
    for n in 0..2_000 {
        small.cast(&Say::Number(n)).expect("control keeps the newest instead of refusing");
    }
    let link = a.link("b").unwrap();
    assert!(link.control_dropped > 1_000, "{link:?}");
    assert!(link.bytes_queued < (1 << 20) + (16 << 10), "{link:?}");
    deaf.abort();
}

#[tokio::test]
async fn too_many_inbound_calls_are_answered_busy() {
    let mut options_b = options("b");
    options_b.calls_inbound_max = 2;
    let (a, b) = (start(options("a")).await, start(options_b).await);
    a.add_peer(PeerAddress::new("b", address(&b))).unwrap();
    up(&a, "b").await;
    let log = Log::default();
    b.expose("echo", echo(&log)).unwrap();
    let remote = echo_ref(&a, "b");
    for _ in 0..2 {
        let remote = remote.clone();
        tokio::spawn(async move { remote.call(&Say::Keep, SECOND * 30).await });
    }
    until("both calls are kept", || log.lock().unwrap().len() == 2).await;
    let error = call(&remote, Say::Number(1)).await.unwrap_err();
    assert!(
        matches!(error, CallError::Busy { .. }) && error.to_string().contains("calls_inbound_max"),
        "{error}"
    );
}

#[tokio::test]
async fn casts_to_an_unknown_name_are_counted() {
    let (a, b) = pair().await;
    let unknown = a.remote::<Echo>("b", "unknown").unwrap();
    for n in 0..100 {
        unknown.cast(&Say::Number(n)).unwrap();
    }
    until("all were counted", || a.link("b").unwrap().casts_undelivered == 100).await;
    drop(b);
}

#[tokio::test]
async fn a_big_message_does_not_delay_control() {
    let (a, b) = pair().await;
    let log = Log::default();
    b.expose("echo", echo(&log)).unwrap();
    b.expose("urgent", echo(&log)).unwrap();
    let bulk = echo_ref(&a, "b");
    let urgent = a.remote::<Echo>("b", "urgent").unwrap().with_class(Class::Control);
    // Nothing is awaited in between: all are queued before the writer runs.
    let big = Say::Bytes(vec![1; 8 << 20]);
    bulk.cast(&big).unwrap();
    bulk.cast(&big).unwrap();
    urgent.cast(&Say::Number(1)).unwrap();
    until("the urgent one is there", || log.lock().unwrap().contains(&Say::Number(1))).await;
    assert_eq!(log.lock().unwrap().len(), 1, "before the first big one was whole");
    urgent.cast(&Say::Number(2)).unwrap();
    until("all are there", || log.lock().unwrap().len() == 4).await;
    let order: Vec<_> = log.lock().unwrap().iter().map(|say| *say == Say::Number(2)).collect();
    assert!(order[1] || order[2], "the second urgent one overtook at least one big one: {order:?}");
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Sample {
    number: u64,
    text: String,
}

struct Named;
impl Protocol for Named {
    type Message = Sample;
    type Reply = Sample;
    const NAME: &'static str = "sample";
    const VERSION: u16 = 1;
}

/// The same protocol, its structs as arrays.
struct Positional;
impl Protocol for Positional {
    type Message = Sample;
    type Reply = Sample;
    const NAME: &'static str = "sample";
    const VERSION: u16 = 1;
    const ENCODING: Encoding = Encoding::Positional;
}

fn echo_samples<P: Protocol<Message = Sample, Reply = Sample>>() -> Exposed {
    Exposed::sink::<P>(|batch| {
        for Inbound { message, reply, .. } in batch {
            reply.unwrap().send(&message).unwrap();
        }
        Ok(())
    })
}

#[tokio::test]
async fn both_encodings_are_understood_on_receipt() {
    let (a, b) = pair().await;
    b.expose("named", echo_samples::<Named>()).unwrap();
    b.expose("positional", echo_samples::<Positional>()).unwrap();
    let sample = Sample { number: 7, text: "seven".into() };
    for name in ["named", "positional"] {
        assert_eq!(a.remote::<Named>("b", name).unwrap().call(&sample, SECOND).await.unwrap(), sample);
        assert_eq!(a.remote::<Positional>("b", name).unwrap().call(&sample, SECOND).await.unwrap(), sample);
    }
}

#[tokio::test]
async fn a_reply_port_knows_when_its_caller_has_stopped_waiting() {
    let (a, b) = pair().await;
    let ports = Arc::new(Mutex::new(Vec::new()));
    let kept = ports.clone();
    let keep = Exposed::sink::<Echo>(move |batch| {
        kept.lock().unwrap().extend(batch.into_iter().filter_map(|inbound| inbound.reply));
        Ok(())
    });
    b.expose("echo", keep).unwrap();
    let (brief, patient) = (echo_ref(&a, "b"), echo_ref(&a, "b"));
    let waiting = tokio::spawn(async move { call(&patient, Say::Keep).await });
    until("the first call arrived", || ports.lock().unwrap().len() == 1).await;
    let error = brief.call(&Say::Keep, Duration::from_millis(20)).await.unwrap_err();
    assert!(matches!(error, CallError::TimedOut { .. }), "{error}");
    until("the second call expired", || ports.lock().unwrap().get(1).is_some_and(ReplyPort::is_expired))
        .await;
    let first = ports.lock().unwrap().remove(0);
    assert!(!first.is_expired());
    first.send(&Say::Number(1)).unwrap();
    assert_eq!(waiting.await.unwrap().unwrap(), Say::Number(1));
}

/// Replies of a batch: each call gets its own, also those of several connections, those that were not sent before the batch was
/// dropped, and those whose answer cannot be sent.
#[tokio::test]
async fn replies_that_leave_together_reach_their_calls() {
    let (a, b) = pair().await;
    let batches = Arc::new(AtomicUsize::new(0));
    let counted = batches.clone();
    let echo = Exposed::sink::<Echo>(move |batch| {
        counted.fetch_add(1, Ordering::Relaxed);
        let mut replies = Replies::default();
        for Inbound { message, reply, .. } in batch {
            let is_huge = matches!(message, Say::Number(7));
            let answer = if is_huge { Say::Bytes(vec![0; 40 << 20]) } else { message };
            let sent = reply.unwrap().send_with(&answer, &mut replies);
            assert_eq!(sent.is_err(), is_huge, "{sent:?}");
        }
        Ok(())
    });
    b.expose("echo", echo).unwrap();
    let target = echo_ref(&a, "b");
    let calls = (0..64).map(|number| {
        let target = target.clone();
        tokio::spawn(async move { call(&target, Say::Number(number)).await })
    });
    for (number, answer) in calls.collect::<Vec<_>>().into_iter().enumerate() {
        match answer.await.unwrap() {
            Ok(said) => assert_eq!(said, Say::Number(number as u64)),
            Err(error) => assert_eq!((number, matches!(error, CallError::Died { .. })), (7, true), "{error}"),
        }
    }
    assert!(batches.load(Ordering::Relaxed) < 64, "some came together");
}

/// The same protocol of a later build.
struct Later;
impl Protocol for Later {
    type Message = Sample;
    type Reply = Sample;
    const NAME: &'static str = "sample";
    const VERSION: u16 = 2;
}

/// Two builds that admitted each other and could not talk said so nowhere but in a log of details.
#[tokio::test]
async fn a_peer_that_speaks_another_version_is_known_by_its_link() {
    let (a, b) = pair().await;
    b.expose("named", echo_samples::<Named>()).unwrap();
    assert_eq!(a.link("b").unwrap().incompatible, None);
    let sample = Sample { number: 7, text: "seven".into() };
    a.remote::<Later>("b", "named").unwrap().cast(&sample).unwrap();
    until("the link says so", || a.link("b").unwrap().incompatible.is_some()).await;
    let said = a.link("b").unwrap().incompatible.unwrap();
    assert!(said.contains("sample") && said.contains("version 1") && said.contains("version 2"), "{said}");
}
