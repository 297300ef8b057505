//! Shared by the integration tests: bridges on loopback, waiting for conditions, hand-made frames.

use bytes::{BufMut, BytesMut};
use quorate_bridge::{
    Bridge, BridgeHandle, BridgeOptions, CallError, Exposed, Identity, Inbound, LinkState, PeerAddress,
    Protocol, RemoteRef, SinkClosed,
};
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) const CLUSTER: [u8; 32] = [7; 32];
pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// The protocol of most tests.
pub(crate) struct Echo;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Say {
    Number(u64),
    Nest(Vec<Say>),
    Bytes(#[serde(with = "serde_bytes")] Vec<u8>),
    Crash,
    Forget,
    Keep,
}

impl Protocol for Echo {
    type Message = Say;
    type Reply = Say;
    const NAME: &'static str = "echo";
    const VERSION: u16 = 1;
}

static INSTANCE: AtomicU64 = AtomicU64::new(0);

/// Quick to reconnect, quick to notice.
pub(crate) fn options(node: &str) -> BridgeOptions {
    let _ = tracing_subscriber::fmt().with_test_writer().with_max_level(tracing::Level::DEBUG).try_init();
    let prefix = format!("{node}/{}", INSTANCE.fetch_add(1, Ordering::Relaxed));
    let mut options = BridgeOptions::new(prefix, Identity::peer(CLUSTER, node, 1, 1));
    options.listen = Some("127.0.0.1:0".into());
    options.keepalive_interval_ms = 50;
    options.keepalive_timeout_ms = 400;
    options.handshake_timeout_ms = 300;
    options.admission_timeout_ms = 300;
    options.backoff_min_ms = 5;
    options.backoff_max_ms = 50;
    options
}

pub(crate) async fn start(options: BridgeOptions) -> BridgeHandle {
    Bridge::start(options, None).await.unwrap()
}

pub(crate) fn address(handle: &BridgeHandle) -> String {
    handle.local_addr().unwrap().to_string()
}

/// Bridges "a" and "b", with a link from a to b that is up.
pub(crate) async fn pair() -> (BridgeHandle, BridgeHandle) {
    let (a, b) = (start(options("a")).await, start(options("b")).await);
    a.add_peer(PeerAddress::new("b", address(&b))).unwrap();
    up(&a, "b").await;
    (a, b)
}

pub(crate) async fn up(handle: &BridgeHandle, node: &str) {
    until("the link is up", || handle.link(node).is_some_and(|link| link.state == LinkState::Up)).await;
}

/// Waits for a condition, yielding in between; fails after ten seconds.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let mut ticks = tokio::time::interval(Duration::from_millis(2));
    for _ in 0..5_000 {
        if condition() {
            return;
        }
        ticks.tick().await;
    }
    panic!("not within ten seconds: {what}");
}

pub(crate) type Log = Arc<Mutex<Vec<Say>>>;

/// A sink that records casts and echoes calls.
pub(crate) fn echo(log: &Log) -> Exposed {
    let log = log.clone();
    let kept = Mutex::new(Vec::new());
    Exposed::sink::<Echo>(move |batch: Vec<Inbound<Echo>>| {
        for Inbound { message, reply, .. } in batch {
            log.lock().unwrap().push(message.clone());
            match (reply, &message) {
                (None, Say::Crash) => panic!("asked to"),
                (None, _) => {}
                (Some(reply), Say::Keep) => kept.lock().unwrap().push(reply),
                (Some(reply), Say::Forget) => drop(reply),
                (Some(reply), message) => reply.send(message).map_err(|_| SinkClosed)?,
            }
        }
        Ok(())
    })
}

pub(crate) fn echo_ref(handle: &BridgeHandle, node: &str) -> RemoteRef<Echo> {
    handle.remote(node, "echo").unwrap()
}

pub(crate) async fn call(remote: &RemoteRef<Echo>, message: Say) -> Result<Say, CallError> {
    remote.call(&message, SECOND * 5).await
}

/// A frame with a valid header around any body.
pub(crate) fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    bytes.put_u32(body.len() as u32 + 6);
    bytes.put_u8(1);
    bytes.put_u8(kind);
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes);
    hasher.update(body);
    bytes.put_u32(hasher.finalize());
    bytes.put_slice(body);
    bytes.to_vec()
}

#[derive(Clone, Serialize)]
pub(crate) struct RawHello {
    pub(crate) protocol_min: u16,
    pub(crate) protocol_max: u16,
    pub(crate) kind: &'static str,
    #[serde(with = "serde_bytes")]
    pub(crate) cluster: [u8; 32],
    pub(crate) node: String,
    pub(crate) incarnation: u64,
    pub(crate) boot: u64,
    pub(crate) fingerprint: u64,
    pub(crate) api_address: String,
    pub(crate) expected_peer: String,
    pub(crate) message_bytes_max: u64,
}

impl RawHello {
    pub(crate) fn new(node: &str) -> Self {
        Self {
            protocol_min: 1,
            protocol_max: 1,
            kind: "peer",
            cluster: CLUSTER,
            node: node.into(),
            incarnation: 1,
            boot: 1,
            fingerprint: 0,
            api_address: String::new(),
            expected_peer: String::new(),
            message_bytes_max: 1 << 20,
        }
    }

    pub(crate) fn frame(&self, magic: &str) -> Vec<u8> {
        #[derive(Serialize)]
        struct RawHail<'a> {
            magic: &'a str,
            hello: &'a RawHello,
        }
        frame(1, &rmp_serde::to_vec_named(&RawHail { magic, hello: self }).unwrap())
    }
}

/// A raw connection that has sent a Hello as `node` and received one.
pub(crate) async fn raw_peer(handle: &BridgeHandle, node: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address(handle)).await.unwrap();
    stream.write_all(&RawHello::new(node).frame("quorate-bridge")).await.unwrap();
    let (kind, _) = raw_frame(&mut stream).await.unwrap();
    assert_eq!(kind, 1, "a Hello");
    stream
}

/// The next frame: kind and body.
pub(crate) async fn raw_frame(stream: &mut TcpStream) -> std::io::Result<(u8, Vec<u8>)> {
    let length = stream.read_u32().await? as usize;
    let mut rest = vec![0; length];
    stream.read_exact(&mut rest).await?;
    Ok((rest[1], rest[6..].to_vec()))
}
