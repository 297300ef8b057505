//! Admission: the bridge checks what it can know itself, the owner of the bridge decides the rest.

use super::node::Hello;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// Which side dialled, seen from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The other side dialled us.
    Inbound,
    /// We dialled.
    Outbound,
}

/// Why a connection was refused. Codes travel as their snake-case text.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefusalCode {
    /// The other side does not speak this protocol at all.
    WrongMagic,
    /// The version ranges do not overlap.
    NoCommonVersion,
    /// The two nodes belong to different clusters.
    WrongCluster,
    /// The dialled address belongs to another node.
    WrongNode,
    /// The refusing node knows no such member.
    UnknownPeer,
    /// The name is known with another incarnation: its disk was wiped or replaced.
    WrongIncarnation,
    /// A newer start of the node was seen before.
    StaleBoot,
    /// Another process was seen with the same incarnation and boot number: two run on copies of one data directory.
    Twin,
    /// The settings that peers must have in common differ.
    FingerprintMismatch,
    /// A Hello with impossible contents.
    BadHello,
    /// Admission could not decide in time, or not now.
    NotNow,
    /// The code of a newer version, as it was sent.
    Other(String),
}

static NAMES: [(RefusalCode, &str); 11] = [
    (RefusalCode::WrongMagic, "wrong_magic"),
    (RefusalCode::NoCommonVersion, "no_common_version"),
    (RefusalCode::WrongCluster, "wrong_cluster"),
    (RefusalCode::WrongNode, "wrong_node"),
    (RefusalCode::UnknownPeer, "unknown_peer"),
    (RefusalCode::WrongIncarnation, "wrong_incarnation"),
    (RefusalCode::StaleBoot, "stale_boot"),
    (RefusalCode::Twin, "twin"),
    (RefusalCode::FingerprintMismatch, "fingerprint_mismatch"),
    (RefusalCode::BadHello, "bad_hello"),
    (RefusalCode::NotNow, "not_now"),
];

impl RefusalCode {
    /// The text of the code, in logs and on the wire.
    pub fn name(&self) -> &str {
        if let RefusalCode::Other(name) = self {
            return name;
        }
        NAMES.iter().find(|(code, _)| code == self).expect("every code but Other has a name").1
    }

    pub(crate) fn from_wire(name: &str) -> Self {
        let known = NAMES.iter().find(|(_, known)| *known == name);
        known.map_or_else(|| RefusalCode::Other(name.to_owned()), |(code, _)| code.clone())
    }
}

/// What is wrong and what an operator can do. The link retries with backoff, since an operator may act on it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {detail}; {remedy}", code.name())]
pub struct Refusal {
    /// The rule that was broken.
    pub code: RefusalCode,
    /// What was found, with both values.
    pub detail: String,
    /// What to do.
    pub remedy: String,
}

impl Refusal {
    /// A refusal from its parts.
    pub fn new(code: RefusalCode, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), remedy: remedy.into() }
    }
}

/// The future [`Admission::admit`] returns.
pub type Admitting<'a> = Pin<Box<dyn Future<Output = Result<(), Refusal>> + Send + 'a>>;

/// Decides about a Hello that passed the bridge's own checks. Both sides of a connection ask theirs.
///
/// It may await (the runtime makes a peer's incarnation durable before it admits it), but not longer than
/// `admission_timeout_ms` or [`Admission::may_take`]; it must not wait for a message over the same bridge.
pub trait Admission: Send + Sync + 'static {
    /// `Ok` lets the connection come up.
    fn admit<'a>(&'a self, hello: &'a Hello, direction: Direction) -> Admitting<'a>;

    /// How long it may take now, if that is more than `admission_timeout_ms`: what it waits for may have become slow here, and
    /// then it is likely to be so at the other end.
    fn may_take(&self) -> Duration {
        Duration::ZERO
    }
}

/// Admits every node: the default of [`crate::BridgeOptions`].
pub(crate) struct AdmitAll;

impl Admission for AdmitAll {
    fn admit<'a>(&'a self, _hello: &'a Hello, _direction: Direction) -> Admitting<'a> {
        Box::pin(async { Ok(()) })
    }
}
