//! Hello and Refused: who is at the other end, and whether both sides want that.
//!
//! ```text
//! dialler                                acceptor
//!   Hello ------------------------------>  own checks, then Admission::admit
//!   own checks, then Admission::admit <--  Hello, or Refused and the end
//!   first request, or Refused and the end
//! ```
//! The acceptor serves from its own Hello on; the dialler sends nothing before it has admitted. Unknown fields of a
//! Hello are ignored, so authentication data can be added; encryption belongs below, in [`crate::Net`].

use crate::admission::{Direction, Refusal, RefusalCode};
use crate::core::Core;
use crate::frame::{
    self, FrameError, HELLO_FRAME_BYTES_MAX, Hail, Kind as FrameKind, NODE_BYTES_MAX, Refused,
    TEXT_BYTES_MAX, cap_text, read_cold,
};
use crate::net::Connection;
use crate::options::Identity;
use crate::protocol::{Kind, PeerInfo};
use bytes::BytesMut;
use serde::{Deserialize, Serialize};
use std::future::Future;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

pub(crate) const MAGIC: &str = "quorate-bridge";

/// What each side says of itself, as a named map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Oldest protocol version it speaks.
    pub protocol_min: u16,
    /// Newest protocol version it speaks.
    pub protocol_max: u16,
    /// Peer, client or joiner.
    pub kind: Kind,
    /// Its cluster; zero if it has none yet.
    #[serde(with = "serde_bytes")]
    pub cluster: [u8; 32],
    /// Its node id; empty for a client.
    pub node: String,
    /// Made with its data directory.
    pub incarnation: u64,
    /// Counts its starts.
    pub boot: u64,
    /// Of the configuration that must agree.
    pub fingerprint: u64,
    /// Where its API listens; may be empty.
    pub api_address: String,
    /// Whom the dialler expects to reach; empty: anyone.
    pub expected_peer: String,
    /// The longest message it accepts.
    pub message_bytes_max: u64,
}

/// Why no connection came up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    #[error("refused by the other end: {0}")]
    ByThem(Refusal),
    #[error("refused here: {0}")]
    ByUs(Refusal),
    #[error("no Hello within {0} ms: is this the bridge port of a node?")]
    TimedOut(u64),
    #[error("the handshake broke off: {0}")]
    Io(#[from] io::Error),
    #[error("the other end closed the connection during the handshake")]
    Closed,
    #[error("malformed frame in the handshake: {0}")]
    Frame(#[from] FrameError),
}

/// An admitted connection's other end, and what arrived behind its Hello.
pub(crate) struct Admitted {
    pub(crate) peer: PeerInfo,
    pub(crate) buffer: BytesMut,
}

/// The dialling side; `expected` is the node we mean to reach, if that is known.
pub(crate) async fn dial(
    core: &Core,
    connection: &mut Connection,
    expected: Option<&str>,
) -> Result<Admitted, HandshakeError> {
    let identity = core.identity();
    let hail = our_hail(core, &identity, expected.unwrap_or_default());
    // The other side's admission runs before its Hello comes back.
    let limit_ms = core.options.handshake_timeout_ms + core.options.admission_timeout_ms;
    let mut buffer = BytesMut::with_capacity(1024);
    let answer = within(limit_ms, async {
        connection.writer.write_all(&frame::cold(FrameKind::Hello, &hail)).await?;
        connection.writer.flush().await?;
        read_hello(connection, &mut buffer).await
    })
    .await?;
    let decision = decide(core, &identity, &answer, Direction::Outbound, expected).await;
    if let Err(refusal) = decision {
        refuse(core, connection, &refusal).await;
        return Err(HandshakeError::ByUs(refusal));
    }
    Ok(Admitted { peer: peer_info(core, answer.hello, connection), buffer })
}

/// The accepting side.
pub(crate) async fn accept(core: &Core, connection: &mut Connection) -> Result<Admitted, HandshakeError> {
    let mut buffer = BytesMut::with_capacity(1024);
    let hail = within(core.options.handshake_timeout_ms, read_hello(connection, &mut buffer)).await?;
    let identity = core.identity();
    if let Err(refusal) = decide(core, &identity, &hail, Direction::Inbound, None).await {
        refuse(core, connection, &refusal).await;
        return Err(HandshakeError::ByUs(refusal));
    }
    let ours = frame::cold(FrameKind::Hello, &our_hail(core, &identity, &hail.hello.node));
    within(core.options.handshake_timeout_ms, async {
        connection.writer.write_all(&ours).await?;
        Ok(connection.writer.flush().await?)
    })
    .await?;
    Ok(Admitted { peer: peer_info(core, hail.hello, connection), buffer })
}

async fn within<T>(
    limit_ms: u64,
    work: impl Future<Output = Result<T, HandshakeError>>,
) -> Result<T, HandshakeError> {
    match timeout(Duration::from_millis(limit_ms), work).await {
        Ok(result) => result,
        Err(_) => Err(HandshakeError::TimedOut(limit_ms)),
    }
}

async fn read_hello(connection: &mut Connection, buffer: &mut BytesMut) -> Result<Hail, HandshakeError> {
    let frame = loop {
        if let Some(frame) = frame::next_frame(buffer, HELLO_FRAME_BYTES_MAX)? {
            break frame;
        }
        if connection.reader.read_buf(buffer).await? == 0 {
            return Err(HandshakeError::Closed);
        }
    };
    match FrameKind::from_wire(frame.kind) {
        Some(FrameKind::Hello) => Ok(read_cold(FrameKind::Hello, &frame.body)?),
        Some(FrameKind::Refused) => {
            let Refused { code, detail, remedy } = read_cold(FrameKind::Refused, &frame.body)?;
            cap_text(FrameKind::Refused, "detail", &detail, TEXT_BYTES_MAX)?;
            cap_text(FrameKind::Refused, "remedy", &remedy, TEXT_BYTES_MAX)?;
            Err(HandshakeError::ByThem(Refusal::new(RefusalCode::from_wire(&code), detail, remedy)))
        }
        Some(_) | None => Err(FrameError::Envelope { kind: "first", what: "a Hello" }.into()),
    }
}

async fn refuse(core: &Core, connection: &mut Connection, refusal: &Refusal) {
    let Refusal { code, detail, remedy } = refusal.clone();
    let frame = frame::cold(FrameKind::Refused, &Refused { code: code.name().into(), detail, remedy });
    // Best effort: the connection ends either way.
    let _ = within(core.options.handshake_timeout_ms, async {
        connection.writer.write_all(&frame).await?;
        Ok(connection.writer.shutdown().await?)
    })
    .await;
}

/// The bridge's own checks, then admission with its deadline, then what was seen is remembered.
async fn decide(
    core: &Core,
    us: &Identity,
    hail: &Hail,
    direction: Direction,
    expected: Option<&str>,
) -> Result<(), Refusal> {
    check(core, us, hail, direction, expected)?;
    let limit_ms = core.options.admission_timeout_ms;
    let admitting = core.options.admission.admit(&hail.hello, direction);
    timeout(Duration::from_millis(limit_ms), admitting).await.unwrap_or_else(|_| {
        let detail = format!("admission did not decide within {limit_ms} ms");
        Err(Refusal::new(
            RefusalCode::NotNow,
            detail,
            "it is tried again; see the log of the refusing node for slow disks",
        ))
    })?;
    core.saw(&hail.hello)
}

fn check(
    core: &Core,
    us: &Identity,
    hail: &Hail,
    direction: Direction,
    expected: Option<&str>,
) -> Result<(), Refusal> {
    let (them, refuse) = (&hail.hello, Refusal::new);
    if hail.magic != MAGIC {
        let shown: String = hail.magic.chars().take(32).collect();
        let detail = format!("magic {shown:?} is not {MAGIC:?}");
        return Err(refuse(RefusalCode::WrongMagic, detail, "dial the bridge port of a node"));
    }
    let (min, max) = (core.options.protocol_min, core.options.protocol_max);
    if them.protocol_max < min || them.protocol_min > max {
        let detail =
            format!("we speak protocol {min} to {max}, you {} to {}", them.protocol_min, them.protocol_max);
        return Err(refuse(
            RefusalCode::NoCommonVersion,
            detail,
            "upgrade the older node, one minor version at a time",
        ));
    }
    check_names(us, them, direction, expected)?;
    if us.cluster != them.cluster && has_cluster(us.kind, us.cluster) && has_cluster(them.kind, them.cluster)
    {
        let detail = format!("we are cluster {}, you are cluster {}", hex(&us.cluster), hex(&them.cluster));
        let remedy =
            "check the initial members and the cluster token of both, and the addresses in the peer list";
        return Err(refuse(RefusalCode::WrongCluster, detail, remedy));
    }
    if us.kind == Kind::Peer && them.kind == Kind::Peer && us.fingerprint != them.fingerprint {
        let detail = format!(
            "our configuration fingerprint is {:016x}, yours {:016x}",
            us.fingerprint, them.fingerprint
        );
        return Err(refuse(
            RefusalCode::FingerprintMismatch,
            detail,
            "make the settings that must agree the same on all nodes",
        ));
    }
    core.check_boot(them)
}

fn check_names(
    us: &Identity,
    them: &Hello,
    direction: Direction,
    expected: Option<&str>,
) -> Result<(), Refusal> {
    let refuse = Refusal::new;
    let bad = |detail: String| {
        Err(refuse(RefusalCode::BadHello, detail, "this is a fault of the sender's: report it"))
    };
    let is_named = (1..=NODE_BYTES_MAX).contains(&them.node.len());
    if them.kind == Kind::Client && direction == Direction::Outbound {
        return bad("a client answered a dial".into());
    }
    if them.kind == Kind::Client && !them.node.is_empty() {
        return bad("a client with a node id".into());
    }
    if them.kind != Kind::Client && !is_named {
        return bad(format!("a node id of {} bytes, must have 1 to {NODE_BYTES_MAX}", them.node.len()));
    }
    if them.api_address.len() > TEXT_BYTES_MAX || them.expected_peer.len() > NODE_BYTES_MAX {
        return bad("an API address or expected name above its cap".into());
    }
    let remedy = "correct the address of that node in the peer list";
    match (direction, expected) {
        (Direction::Inbound, _) if !them.expected_peer.is_empty() && them.expected_peer != us.node => {
            let detail = format!("you dialled {}, this is {}", them.expected_peer, us.node);
            return Err(refuse(RefusalCode::WrongNode, detail, remedy));
        }
        (Direction::Outbound, Some(expected)) if expected != them.node => {
            let detail = format!("we dialled {expected}, this is {}", them.node);
            return Err(refuse(RefusalCode::WrongNode, detail, remedy));
        }
        (Direction::Inbound | Direction::Outbound, _) => {}
    }
    if them.kind != Kind::Client && them.node == us.node {
        let detail = format!("both ends call themselves {}", us.node);
        return Err(refuse(
            RefusalCode::WrongNode,
            detail,
            "give each node its own id, and none its own address as a peer",
        ));
    }
    Ok(())
}

/// Clients have none; joiners may not know it yet.
fn has_cluster(kind: Kind, cluster: [u8; 32]) -> bool {
    match kind {
        Kind::Peer => true,
        Kind::Joiner => cluster != [0; 32],
        Kind::Client => false,
    }
}

fn our_hail(core: &Core, us: &Identity, expected: &str) -> Hail {
    let hello = Hello {
        protocol_min: core.options.protocol_min,
        protocol_max: core.options.protocol_max,
        kind: us.kind,
        cluster: us.cluster,
        node: us.node.clone(),
        incarnation: us.incarnation,
        boot: us.boot,
        fingerprint: us.fingerprint,
        api_address: us.api_address.clone(),
        expected_peer: expected.to_owned(),
        message_bytes_max: core.options.message_bytes_max as u64,
    };
    Hail { magic: MAGIC.into(), hello }
}

fn peer_info(core: &Core, hello: Hello, connection: &Connection) -> PeerInfo {
    PeerInfo {
        node: hello.node,
        kind: hello.kind,
        incarnation: hello.incarnation,
        boot: hello.boot,
        fingerprint: hello.fingerprint,
        cluster: hello.cluster,
        api_address: hello.api_address,
        address: connection.address.clone(),
        protocol: hello.protocol_max.min(core.options.protocol_max),
        message_bytes_max: hello.message_bytes_max,
    }
}

fn hex(id: &[u8; 32]) -> String {
    use std::fmt::Write;
    id[..8].iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string does not fail");
        text
    })
}
