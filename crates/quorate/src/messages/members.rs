//! Where a leader's answer about the members goes.

use quorate_bridge::ReplyPort;
use tokio::sync::oneshot;

use crate::members::MembersAnswer;
use crate::protocol::Response;

/// Answers a call about the members. One that is dropped is *unknown*.
pub(crate) enum MembersPort {
    Local(oneshot::Sender<MembersAnswer>),
    Remote(ReplyPort<Response>),
    /// A process outside the cluster, which is not told incarnations: with one it could pass for that node.
    Client(ReplyPort<Response>),
}

impl MembersPort {
    /// Who asked may have given up.
    pub(crate) fn send(self, answer: MembersAnswer) {
        match self {
            Self::Local(port) => drop(port.send(answer)),
            Self::Remote(port) => drop(port.send(&Response::Membership(answer))),
            Self::Client(port) => drop(port.send(&Response::Membership(answer.for_clients()))),
        }
    }
}
