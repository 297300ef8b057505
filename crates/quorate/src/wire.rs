//! What nodes say to each other about a group over the bridge (`docs/formats.md`).

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use quorate_bridge::{CallError, Encoding, Protocol, RemoteRef};
use quorate_core::{GroupId, Message, NodeId};
use serde::{Deserialize, Serialize};

use crate::error::{ProposeError, QueryError};
use crate::group::Consistency;

/// The protocol of one group. Bodies are maps with named fields; entries travel as one byte string.
#[derive(Debug)]
pub(crate) struct GroupProtocol;

impl Protocol for GroupProtocol {
    type Message = Request;
    type Reply = Response;
    const NAME: &'static str = "quorate.group";
    const VERSION: u16 = 1;
    const ENCODING: Encoding = Encoding::Named;
}

/// From one node to another, to the group of a name.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Cast: a Raft message.
    Raft(Message),
    /// Call: a proposal from a node that does not lead, one hop; never forwarded again.
    Propose { payload: Bytes },
    /// Call: a query from a node that has no machine of its own to ask (clients).
    Query { query: Bytes, consistency: Consistency },
    /// Cast: the machine of this node faulted at this index.
    Faulted { node: NodeId, index: u64 },
}

/// The answer to a call.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Response {
    Applied { reply: Bytes, index: u64, term: u64 },
    Answered { answer: Bytes },
    NotApplied(ProposeError),
    NotAnswered(QueryError),
}

/// A call to a group elsewhere. In a box, so that what reads a response is compiled with this crate and not once more for
/// each machine; beside a call over the network it costs nothing.
pub(crate) fn call<'a>(
    remote: &'a RemoteRef<GroupProtocol>,
    request: &'a Request,
    timeout: Duration,
) -> Pin<Box<dyn Future<Output = Result<Response, CallError>> + Send + 'a>> {
    Box::pin(remote.call(request, timeout))
}

/// The name under which a group is exposed.
pub(crate) fn exposed_name(group: GroupId) -> String {
    format!("group/{group}")
}
