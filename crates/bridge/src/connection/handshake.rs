//! Hello and Refused: who is at the other end, and whether both sides accept the connection.
//!
//! ```text
//! dialler                                acceptor
//!   Hello ------------------------------>  own checks, then Admission::admit
//!   own checks, then Admission::admit <--  Hello, or Refused and the end
//!   first request, or Refused and the end
//! ```
//! The acceptor serves from its own Hello on; the dialler sends nothing before it has admitted. Unknown fields of a
//! Hello are ignored, so authentication data can be added; encryption belongs below, in [`crate::Net`].

use super::places::Places;
use super::present::Present;
use super::shared::Connection;
use crate::frame::{
    self, FrameError, FrameKind, HELLO_FRAME_BYTES_MAX, HelloBody, MAGIC, NODE_BYTES_MAX, Refused,
    TEXT_BYTES_MAX, cap_text, read_cold,
};
use crate::identity::{Boots, Direction, Hello, Identity, PeerInfo, PeerKind, Refusal, RefusalCode};
use crate::lock::Lock;
use crate::net::Stream;
use crate::options::BridgeOptions;
use bytes::BytesMut;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::timeout;

/// Why no connection came up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    #[error("refused by the other end: {0}")]
    ByThem(Refusal),
    #[error("node {node:?} refused here: {refusal}")]
    ByUs { node: String, refusal: Refusal },
    #[error("no Hello within {0} ms: is this the bridge port of a node?")]
    TimedOut(u64),
    #[error("the handshake broke off: {0}")]
    Io(#[from] io::Error),
    #[error("the other end closed the connection during the handshake")]
    Closed,
    #[error("malformed frame in the handshake: {0}")]
    Frame(#[from] FrameError),
    #[error("too many newer connections: it had not said who it is")]
    GaveWay,
}

/// The other end of an admitted connection, and what arrived after its Hello.
pub(crate) struct Admitted {
    pub(crate) peer: PeerInfo,
    pub(crate) buffer: BytesMut,
    /// Held as long as an inbound connection lasts.
    pub(crate) place: Option<OwnedSemaphorePermit>,
}

/// What both sides of a handshake work with: what we say and accept, and what was seen.
pub(crate) struct Handshake {
    options: Arc<BridgeOptions>,
    pub(crate) boots: Boots,
    pub(crate) present: Present,
    places: Places,
    /// What we say of ourselves that changes while we run: the incarnations that we have replaced.
    replaced: Lock<Vec<(u64, u64)>>,
}

/// Replaced incarnations that a Hello names, at most.
pub(crate) const REPLACED_MAX: usize = 256;

/// Upper bound on [`Admission::may_take`](crate::Admission::may_take).
const ADMISSION_MS_MAX: u64 = 30_000;

impl Handshake {
    pub(crate) fn new(options: Arc<BridgeOptions>) -> Self {
        let places = Places::new(options.sessions_max);
        let (boots, present, replaced) = (Boots::default(), Present::default(), Lock::default());
        Self { options, boots, present, places, replaced }
    }

    /// From now on we say that we have replaced these incarnations of our name.
    pub(crate) fn say_replaced(&self, replaced: Vec<(u64, u64)>) {
        *self.replaced.lock() = replaced;
    }

    /// The connection that was made of an admitted one.
    pub(crate) fn made(&self, connection: &Arc<Connection>) {
        self.present.enter(connection);
    }

    fn admission_timeout_ms(&self) -> u64 {
        let may_take = u64::try_from(self.options.admission.may_take().as_millis()).unwrap_or(u64::MAX);
        may_take.min(ADMISSION_MS_MAX).max(self.options.admission_timeout_ms)
    }

    /// The dialling side; `expected` is the node it means to reach, `None` for any.
    pub(crate) async fn dial(
        &self,
        stream: &mut Stream,
        expected: Option<&str>,
    ) -> Result<Admitted, HandshakeError> {
        // The other side's admission runs before its Hello comes back.
        let limit_ms = self.options.handshake_timeout_ms + self.admission_timeout_ms();
        let mut buffer = BytesMut::with_capacity(1024);
        let ours = self.hello_frame(PeerKind::Peer, expected.unwrap_or_default());
        let theirs = within(limit_ms, async {
            send(stream, &ours).await?;
            read_hello(stream, &mut buffer).await
        })
        .await?;
        self.decide(stream, &theirs, Direction::Outbound, expected).await?;
        Ok(Admitted { peer: peer_info(theirs.hello, stream), buffer, place: None })
    }

    /// The accepting side. Until the other end has said who it is, it gives way if it is told to.
    pub(crate) async fn accept(
        &self,
        stream: &mut Stream,
        mut gives_way: oneshot::Receiver<()>,
    ) -> Result<Admitted, HandshakeError> {
        let mut buffer = BytesMut::with_capacity(1024);
        let theirs = tokio::select! {
            biased;
            theirs = within(self.options.handshake_timeout_ms, read_hello(stream, &mut buffer)) => theirs?,
            _ = &mut gives_way => return Err(HandshakeError::GaveWay),
        };
        drop(gives_way);
        let place = self.decide(stream, &theirs, Direction::Inbound, None).await?;
        let ours = self.hello_frame(theirs.hello.kind, &theirs.hello.node);
        within(self.options.handshake_timeout_ms, send(stream, &ours)).await?;
        Ok(Admitted { peer: peer_info(theirs.hello, stream), buffer, place })
    }

    /// Admits the other end and remembers its boot, or refuses it and tells it why.
    async fn decide(
        &self,
        stream: &mut Stream,
        theirs: &HelloBody,
        direction: Direction,
        expected: Option<&str>,
    ) -> Result<Option<OwnedSemaphorePermit>, HandshakeError> {
        let refusal = match self.admit(theirs, direction, expected).await {
            Ok(place) => return Ok(place),
            Err(refusal) => refusal,
        };
        let Refusal { code, detail, remedy } = refusal.clone();
        let body = Refused { code: code.name().to_owned(), detail, remedy };
        let frame = frame::cold(FrameKind::Refused, &body);
        // Best effort: the connection ends either way.
        let _ = within(self.options.handshake_timeout_ms, async {
            stream.writer.write_all(&frame).await?;
            Ok(stream.writer.shutdown().await?)
        })
        .await;
        Err(HandshakeError::ByUs { node: theirs.hello.node.clone(), refusal })
    }

    /// The bridge's own checks, then the owner's admission with its deadline. An inbound connection gets a place.
    async fn admit(
        &self,
        theirs: &HelloBody,
        direction: Direction,
        expected: Option<&str>,
    ) -> Result<Option<OwnedSemaphorePermit>, Refusal> {
        self.check(theirs, direction, expected)?;
        let _deciding = match direction {
            Direction::Inbound => Some(self.places.decide()?),
            Direction::Outbound => None,
        };
        self.present.wait_for_earlier(&theirs.hello, &self.options).await?;
        let limit_ms = self.admission_timeout_ms();
        let admitting = self.options.admission.admit(&theirs.hello, direction);
        timeout(Duration::from_millis(limit_ms), admitting).await.unwrap_or_else(|_| {
            let detail = format!("admission did not decide within {limit_ms} ms");
            let remedy = "the link retries; see the log of the refusing node for slow disks";
            Err(Refusal::new(RefusalCode::NotNow, detail, remedy))
        })?;
        // After admission: a stranger that only says that it is a node takes no node's place.
        let place = match direction {
            Direction::Inbound => Some(self.places.take(theirs.hello.kind)?),
            Direction::Outbound => None,
        };
        self.boots.record(&theirs.hello)?;
        Ok(place)
    }

    fn check(&self, theirs: &HelloBody, direction: Direction, expected: Option<&str>) -> Result<(), Refusal> {
        let (us, them, refuse) = (&self.options.identity, &theirs.hello, Refusal::new);
        if theirs.magic != MAGIC {
            let shown: String = theirs.magic.chars().take(32).collect();
            let detail = format!("magic {shown:?} is not {MAGIC:?}");
            return Err(refuse(RefusalCode::WrongMagic, detail, "dial the bridge port of a node"));
        }
        let (min, max) = (self.options.protocol_min, self.options.protocol_max);
        if them.protocol_max < min || them.protocol_min > max {
            let (their_min, their_max) = (them.protocol_min, them.protocol_max);
            let detail = format!("we speak protocol {min} to {max}, you {their_min} to {their_max}");
            let remedy = "upgrade the older node, one minor version at a time";
            return Err(refuse(RefusalCode::NoCommonVersion, detail, remedy));
        }
        check_names(us, them, direction, expected)?;
        let both_have_one = has_cluster(us.kind, us.cluster) && has_cluster(them.kind, them.cluster);
        if us.cluster != them.cluster && both_have_one {
            return Err(other_cluster(us, them));
        }
        let both_are_peers = us.kind == PeerKind::Peer && them.kind == PeerKind::Peer;
        if both_are_peers && us.fingerprint != them.fingerprint {
            let (ours, theirs) = (us.fingerprint, them.fingerprint);
            let detail = format!("our configuration fingerprint is {ours:016x}, yours {theirs:016x}");
            let remedy = "make the settings that must agree the same on all nodes";
            return Err(refuse(RefusalCode::FingerprintMismatch, detail, remedy));
        }
        self.boots.check(them)
    }

    /// What we say of ourselves to one of this kind. Only a peer is told from which data directory and which start we are: with
    /// that, any process that asks as a client could tell our peers that it is a later start of this node.
    fn hello_frame(&self, to: PeerKind, expected: &str) -> bytes::Bytes {
        let us = &self.options.identity;
        let (incarnation, boot, process, earlier) = match to {
            PeerKind::Peer => (us.incarnation, us.boot, us.process, us.earlier.clone()),
            PeerKind::Client | PeerKind::Joiner => (0, 0, 0, Vec::new()),
        };
        let replaced = if to == PeerKind::Peer { self.replaced.lock().clone() } else { Vec::new() };
        let hello = Hello {
            protocol_min: self.options.protocol_min,
            protocol_max: self.options.protocol_max,
            kind: us.kind,
            cluster: us.cluster,
            node: us.node.clone(),
            incarnation,
            boot,
            process,
            earlier,
            level: us.level,
            replaced,
            fingerprint: us.fingerprint,
            api_address: us.api_address.clone(),
            expected_peer: expected.to_owned(),
            message_bytes_max: self.options.message_bytes_max as u64,
            members: frame::clip_text(&us.members),
        };
        frame::cold(FrameKind::Hello, &HelloBody { magic: MAGIC.into(), hello })
    }
}

fn peer_info(hello: Hello, stream: &Stream) -> PeerInfo {
    PeerInfo {
        node: hello.node,
        kind: hello.kind,
        incarnation: hello.incarnation,
        boot: hello.boot,
        level: hello.level,
        replaced: hello.replaced,
        cluster: hello.cluster,
        api_address: hello.api_address,
        address: stream.address.clone(),
        message_bytes_max: hello.message_bytes_max,
    }
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

async fn send(stream: &mut Stream, frame: &[u8]) -> Result<(), HandshakeError> {
    stream.writer.write_all(frame).await?;
    Ok(stream.writer.flush().await?)
}

async fn read_hello(stream: &mut Stream, buffer: &mut BytesMut) -> Result<HelloBody, HandshakeError> {
    let frame = loop {
        if let Some(frame) = frame::next_frame(buffer, HELLO_FRAME_BYTES_MAX)? {
            break frame;
        }
        if stream.reader.read_buf(buffer).await? == 0 {
            return Err(HandshakeError::Closed);
        }
    };
    match FrameKind::from_wire(frame.kind) {
        Some(FrameKind::Hello) => Ok(read_cold(FrameKind::Hello, &frame.body)?),
        Some(FrameKind::Refused) => {
            let Refused { code, detail, remedy } = read_cold(FrameKind::Refused, &frame.body)?;
            for (field, text) in [("code", &code), ("detail", &detail), ("remedy", &remedy)] {
                cap_text(FrameKind::Refused, field, text, TEXT_BYTES_MAX)?;
            }
            Err(HandshakeError::ByThem(Refusal::new(RefusalCode::from_wire(&code), detail, remedy)))
        }
        Some(_) | None => Err(FrameError::Envelope { kind: "first", what: "a Hello" }.into()),
    }
}

fn check_names(
    us: &Identity,
    them: &Hello,
    direction: Direction,
    expected: Option<&str>,
) -> Result<(), Refusal> {
    let bad = |detail: String| {
        Err(Refusal::new(RefusalCode::BadHello, detail, "this is a bug in the sender: report it"))
    };
    let wrong_node = |detail, remedy| Err(Refusal::new(RefusalCode::WrongNode, detail, remedy));
    let is_client = them.kind == PeerKind::Client;
    if is_client && direction == Direction::Outbound {
        return bad("a client answered a dial".into());
    }
    if is_client && !them.node.is_empty() {
        return bad("a client with a node id".into());
    }
    if !is_client && !(1..=NODE_BYTES_MAX).contains(&them.node.len()) {
        return bad(format!("a node id of {} bytes, must have 1 to {NODE_BYTES_MAX}", them.node.len()));
    }
    if them.replaced.len() > REPLACED_MAX {
        return bad(format!(
            "{} replaced incarnations, at most {REPLACED_MAX} are said",
            them.replaced.len()
        ));
    }
    if them.api_address.len() > TEXT_BYTES_MAX || them.expected_peer.len() > NODE_BYTES_MAX {
        return bad("an API address or expected name above its cap".into());
    }
    let remedy = "correct the address of that node in the peer list";
    match (direction, expected) {
        (Direction::Inbound, _) if !them.expected_peer.is_empty() && them.expected_peer != us.node => {
            return wrong_node(format!("you dialled {}, this is {}", them.expected_peer, us.node), remedy);
        }
        (Direction::Outbound, Some(expected)) if expected != them.node => {
            return wrong_node(format!("we dialled {expected}, this is {}", them.node), remedy);
        }
        (Direction::Inbound | Direction::Outbound, _) => {}
    }
    if !is_client && them.node == us.node {
        let remedy = "give each node its own id, and no node its own address as a peer";
        return wrong_node(format!("both ends call themselves {}", us.node), remedy);
    }
    Ok(())
}

/// Clients belong to no cluster; joiners may not know it yet.
fn has_cluster(kind: PeerKind, cluster: [u8; 32]) -> bool {
    match kind {
        PeerKind::Peer => true,
        PeerKind::Joiner => cluster != [0; 32],
        PeerKind::Client => false,
    }
}

/// Two clusters, as people know them: by their lists. One that has none to show is named by its number.
fn other_cluster(us: &Identity, them: &Hello) -> Refusal {
    let (ours, theirs) = (us.members.as_str(), them.members.as_str());
    let named = |list: &str, id| if list.is_empty() { hex(id) } else { shown(list) };
    let (detail, remedy) = if ours == theirs && !ours.is_empty() {
        (
            format!(
                "both clusters were founded as {}, but with different cluster tokens, or of different backups, or one of none",
                shown(ours)
            ),
            "start the node that is wrong with the token of the others; of restored nodes, delete its directory and restore it of their backup",
        )
    } else {
        let (ours, theirs) = (named(ours, &us.cluster), named(theirs, &them.cluster));
        (
            format!("{} was founded as {ours}, {} as {theirs}", us.node, them.node),
            "start the node whose list (or cluster token) is wrong with that of the others: if nothing was written there, it \
             takes the corrected one",
        )
    };
    Refusal::new(RefusalCode::WrongCluster, detail, remedy)
}

/// A list as a refusal has room for it.
fn shown(list: &str) -> String {
    const SHOWN_MAX: usize = 300;
    let start: String = list.chars().filter(char::is_ascii_graphic).take(SHOWN_MAX).collect();
    if start.len() < list.len() { format!("{start}..") } else { start }
}

fn hex(id: &[u8; 32]) -> String {
    use std::fmt::Write;
    id[..8].iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string does not fail");
        text
    })
}
