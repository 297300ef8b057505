//! Who may connect: the bridge checks what it can know itself, the runtime decides the rest here.

use crate::error::Sent;
use crate::handshake::Hello;
use crate::lock::Lock;
use crate::protocol::Kind;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;

/// Which way the connection was made, seen from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The other side dialled us.
    Inbound,
    /// We dialled.
    Outbound,
}

/// Why a connection was refused. Codes travel as their snake-case text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefusalCode {
    /// The other side does not speak this protocol at all.
    WrongMagic,
    /// The version ranges have nothing in common.
    NoCommonVersion,
    /// Another cluster.
    WrongCluster,
    /// The dialled address belongs to another node.
    WrongNode,
    /// Not a member known here.
    UnknownPeer,
    /// The name is known with another incarnation: its disk was wiped or replaced.
    WrongIncarnation,
    /// An older start of the node than one already seen.
    StaleBoot,
    /// The configurations that must agree do not.
    FingerprintMismatch,
    /// A Hello with impossible contents.
    BadHello,
    /// Admission could not decide in time, or not now.
    NotNow,
    /// A code of a newer version.
    Other,
}

impl RefusalCode {
    const NAMES: [(RefusalCode, &'static str); 10] = [
        (RefusalCode::WrongMagic, "wrong_magic"),
        (RefusalCode::NoCommonVersion, "no_common_version"),
        (RefusalCode::WrongCluster, "wrong_cluster"),
        (RefusalCode::WrongNode, "wrong_node"),
        (RefusalCode::UnknownPeer, "unknown_peer"),
        (RefusalCode::WrongIncarnation, "wrong_incarnation"),
        (RefusalCode::StaleBoot, "stale_boot"),
        (RefusalCode::FingerprintMismatch, "fingerprint_mismatch"),
        (RefusalCode::BadHello, "bad_hello"),
        (RefusalCode::NotNow, "not_now"),
    ];

    /// The text of the code, in logs and on the wire.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(code, _)| *code == self).map_or("other", |(_, name)| *name)
    }

    pub(crate) fn from_wire(name: &str) -> Self {
        Self::NAMES.iter().find(|(_, known)| *known == name).map_or(RefusalCode::Other, |(code, _)| *code)
    }
}

/// A refusal: what is wrong and what an operator can do. The link retries with backoff, since that may happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {detail}; {remedy}", code.name())]
pub struct Refusal {
    /// Which rule.
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

    /// Nothing is ever sent over a refused connection.
    pub fn outcome(&self) -> Sent {
        Sent::NotSent
    }
}

/// What [`Admission::admit`] gives.
pub type Admitting<'a> = Pin<Box<dyn Future<Output = Result<(), Refusal>> + Send + 'a>>;

/// Decides about a Hello that passed the bridge's own checks. Both sides of a connection ask theirs.
///
/// It may await (the runtime makes a peer's incarnation durable before it admits it), but not longer than
/// `admission_timeout_ms`; it must not wait for a message over the same bridge.
pub trait Admission: Send + Sync + 'static {
    /// `Ok` lets the connection up.
    fn admit<'a>(&'a self, hello: &'a Hello, direction: Direction) -> Admitting<'a>;
}

/// Admits everyone: for tests and single-tenant examples.
#[derive(Debug, Clone, Copy, Default)]
pub struct AdmitAll;

impl Admission for AdmitAll {
    fn admit<'a>(&'a self, _hello: &'a Hello, _direction: Direction) -> Admitting<'a> {
        Box::pin(async { Ok(()) })
    }
}

/// Admits peers by a list of names, each with the first incarnation it showed (kept in memory), and any client.
#[derive(Default)]
pub struct Roster {
    known: Lock<BTreeMap<String, Option<u64>>>,
}

impl Roster {
    /// A roster of these names; their incarnations are learnt at first contact.
    pub fn new<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Self {
        Self { known: Lock::new(names.into_iter().map(|name| (name.into(), None)).collect()) }
    }

    /// Adds a name, or forgets its incarnation: what an operator does after replacing a node.
    pub fn renew(&self, name: impl Into<String>) {
        self.known.lock().insert(name.into(), None);
    }

    fn decide(&self, hello: &Hello) -> Result<(), Refusal> {
        match hello.kind {
            Kind::Client => return Ok(()),
            Kind::Peer | Kind::Joiner => {}
        }
        let mut known = self.known.lock();
        let Some(incarnation) = known.get_mut(&hello.node) else {
            return Err(Refusal::new(
                RefusalCode::UnknownPeer,
                format!("node {} is not a member known here", hello.node),
                "add it to the cluster first, or correct its id",
            ));
        };
        match *incarnation {
            Some(expected) if expected != hello.incarnation => Err(Refusal::new(
                RefusalCode::WrongIncarnation,
                format!(
                    "node {} was incarnation {expected:x} and is now {:x}",
                    hello.node, hello.incarnation
                ),
                "its data was wiped or replaced: remove the node from the cluster and add it again",
            )),
            Some(_) => Ok(()),
            None => {
                *incarnation = Some(hello.incarnation);
                Ok(())
            }
        }
    }
}

impl Admission for Roster {
    fn admit<'a>(&'a self, hello: &'a Hello, _direction: Direction) -> Admitting<'a> {
        let decision = self.decide(hello);
        Box::pin(async move { decision })
    }
}
