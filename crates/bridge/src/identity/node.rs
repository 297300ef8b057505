//! What a node says of itself, in its options (`Identity`), on the wire (`Hello`), and as its peer keeps it
//! (`PeerInfo`).

use serde::{Deserialize, Serialize};

/// What a process is to the one it talks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerKind {
    /// A node of the cluster, with id, incarnation and boot number.
    Peer,
    /// A process without an id; it learns the cluster id from the answering Hello.
    Client,
    /// A node that is not a member yet. It knows its id and, if it was told, the cluster's.
    Joiner,
}

impl PeerKind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            PeerKind::Peer => "peer",
            PeerKind::Client => "client",
            PeerKind::Joiner => "joiner",
        }
    }
}

/// Who we say we are in every Hello.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Peer, client or joiner.
    pub kind: PeerKind,
    /// The cluster's id; all zero for a client, or for a joiner that was not told.
    pub cluster: [u8; 32],
    /// Our node id, at most 64 bytes; empty for a client.
    pub node: String,
    /// Drawn when our data directory was made.
    pub incarnation: u64,
    /// Counts our starts.
    pub boot: u64,
    /// Drawn by this process: tells it from another that runs on a copy of its data directory. 0: not told.
    pub process: u64,
    /// Earlier starts of our data directory, as far as it knows them: the boot number and what was drawn for it.
    pub earlier: Vec<(u64, u64)>,
    /// What this build takes part in, as a number that grows; 0: a build that did not tell.
    pub level: u16,
    /// Hash of the configuration that peers must have in common.
    pub fingerprint: u64,
    /// Where our API listens; may be empty.
    pub api_address: String,
    /// The list that our cluster was founded with, for people who must find out why two clusters differ; may be empty.
    pub members: String,
}

impl Identity {
    /// A peer of a cluster.
    pub fn peer(cluster: [u8; 32], node: impl Into<String>, incarnation: u64, boot: u64) -> Self {
        let (node, api_address, members) = (node.into(), String::new(), String::new());
        Self {
            kind: PeerKind::Peer,
            cluster,
            node,
            incarnation,
            boot,
            process: 0,
            earlier: Vec::new(),
            level: 0,
            fingerprint: 0,
            api_address,
            members,
        }
    }

    /// A client: no id, any cluster.
    pub fn client() -> Self {
        Self { kind: PeerKind::Client, ..Self::peer([0; 32], "", 0, 0) }
    }
}

/// What each side says of itself in its first frame, as a named map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Oldest protocol version it speaks.
    pub protocol_min: u16,
    /// Newest protocol version it speaks.
    pub protocol_max: u16,
    /// Peer, client or joiner.
    pub kind: PeerKind,
    /// Its cluster's id; all zero if it has none yet.
    #[serde(with = "serde_bytes")]
    pub cluster: [u8; 32],
    /// Its node id; empty for a client.
    pub node: String,
    /// Drawn when its data directory was made; 0 in the answer to a client or a joiner.
    pub incarnation: u64,
    /// Counts its starts; 0 in the answer to a client or a joiner.
    pub boot: u64,
    /// Drawn by its process; 0, and not sent, if it does not tell.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub process: u64,
    /// Earlier starts of its data directory, as far as that knows them: the boot number and what was drawn for it. Empty, and not sent,
    /// if it does not tell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<(u64, u64)>,
    /// What its build takes part in; 0, and not sent, by a build that does not tell.
    #[serde(default, skip_serializing_if = "is_zero_level")]
    pub level: u16,
    /// Incarnations that had its name before and were replaced by it, each with the number of the group whose members have agreed on that.
    /// Empty, and not sent, if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaced: Vec<(u64, u64)>,
    /// Hash of the configuration that peers must have in common.
    pub fingerprint: u64,
    /// Where its API listens; may be empty.
    pub api_address: String,
    /// The node id the dialler expects to reach; empty if any node will do.
    pub expected_peer: String,
    /// The longest message it accepts, in bytes.
    pub message_bytes_max: u64,
    /// The list that its cluster was founded with, cut at 1 KiB; empty in a Hello of an earlier build.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub members: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero_level(level: &u16) -> bool {
    *level == 0
}

impl PeerInfo {
    /// Whether it has replaced this incarnation of its name in any group.
    pub fn has_replaced(&self, incarnation: u64) -> bool {
        self.replaced.iter().any(|(_, replaced)| *replaced == incarnation)
    }
}

/// Who is at the other end of a connection, as it said in its Hello and as admission accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerInfo {
    /// Its node id; empty for a client.
    pub node: String,
    /// Peer, client or joiner.
    pub kind: PeerKind,
    /// Drawn when its data directory was made; another incarnation under the same name is another node. 0: a client is not told.
    pub incarnation: u64,
    /// Counts its starts. 0: a client is not told.
    pub boot: u64,
    /// What its build takes part in; 0: it does not tell.
    pub level: u16,
    /// Incarnations that had its name before and were replaced by it, each with the number of a group.
    pub replaced: Vec<(u64, u64)>,
    /// Its cluster's id.
    pub cluster: [u8; 32],
    /// Where its API listens, for redirects; may be empty.
    pub api_address: String,
    /// The socket address of this connection's other end.
    pub address: String,
    /// The longest message it accepts, in bytes.
    pub message_bytes_max: u64,
}
