//! The errors, one type per operation. Those of calls and casts say whether the message may still have an effect.

use std::{fmt, io};

/// Whether a message that failed may have reached its actor, or may yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// No actor has seen it or will: no byte was handed to the socket writer, or the receiving bridge answered that it
    /// did not deliver it. Safe to report as refused.
    NotSent,
    /// It may have been handled, or may yet be. Never to be reported as refused.
    Unknown,
}

/// The step of a call that found a malformed message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallStep {
    /// The receiver could not decode the request; no actor saw it.
    Request,
    /// The reply could not be decoded here; the actor has handled the request.
    Reply,
}

impl fmt::Display for CallStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CallStep::Request => "request not understood by the receiver",
            CallStep::Reply => "reply not understood",
        })
    }
}

/// Why a call has no reply. Every call ends with a reply or exactly one of these.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// Nothing is exposed under that name there, or its actor had ended before. `NotSent`.
    #[error("node {node} exposes no actor {name}: check the name, or wait until it is exposed")]
    NoSuchActor {
        /// The node called.
        node: String,
        /// The name called.
        name: String,
    },
    /// The actor ended, or dropped the call unanswered. `Unknown`.
    #[error("actor {name} on node {node} ended without answering: {detail}")]
    Died {
        /// The node called.
        node: String,
        /// The name called.
        name: String,
        /// How it ended, in the receiver's words.
        detail: String,
    },
    /// No answer in time. `NotSent` if the call was still in this process's queue and was taken out of it.
    #[error("no answer from {name} on node {node} within {after_ms} ms")]
    TimedOut {
        /// The node called.
        node: String,
        /// The name called.
        name: String,
        /// The timeout of the call, in milliseconds.
        after_ms: u64,
        /// Whether the actor may have seen it.
        sent: Sent,
    },
    /// The connection ended while the call was under way. `NotSent` only if it was still queued here.
    #[error("the link to node {node} was lost during the call: {reason}")]
    LinkLost {
        /// The node called.
        node: String,
        /// Why the connection ended.
        reason: String,
        /// Whether the actor may have seen it.
        sent: Sent,
    },
    /// It was not queued, like a cast. `NotSent`.
    #[error(transparent)]
    NotQueued(#[from] CastError),
    /// Too many inbound calls of the connection wait there, or a newer message displaced it here. `NotSent`; try again later.
    #[error("node {node} is busy: {detail}")]
    Busy {
        /// The node it was for.
        node: String,
        /// The bound that was reached.
        detail: String,
    },
    /// The receiver speaks another protocol, or not this version of it. `NotSent`.
    #[error("actor {name} on node {node} does not understand this: {detail}")]
    Unsupported {
        /// The node called.
        node: String,
        /// The name called.
        name: String,
        /// What the receiver speaks.
        detail: String,
    },
    /// A message does not encode or decode. `Unknown` only at [`CallStep::Reply`].
    #[error("{step}: {detail}")]
    Malformed {
        /// The step that failed.
        step: CallStep,
        /// What the codec reports, with both lengths if it is too large.
        detail: String,
    },
}

impl CallError {
    /// Whether the actor may have seen the call, or may yet.
    pub fn outcome(&self) -> Sent {
        match self {
            CallError::NoSuchActor { .. }
            | CallError::NotQueued(_)
            | CallError::Busy { .. }
            | CallError::Unsupported { .. }
            | CallError::Malformed { step: CallStep::Request, .. } => Sent::NotSent,
            CallError::Died { .. } | CallError::Malformed { step: CallStep::Reply, .. } => Sent::Unknown,
            CallError::TimedOut { sent, .. } | CallError::LinkLost { sent, .. } => *sent,
        }
    }
}

/// Why a cast was not queued. A cast that was queued may still be lost without an error (at most once).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CastError {
    /// The peer's queue is full.
    #[error("node {node} is busy: {detail}")]
    Busy {
        /// The node it was for.
        node: String,
        /// The bound that was reached.
        detail: String,
    },
    /// The link is not up.
    #[error("no link to node {node}: {reason}")]
    NotConnected {
        /// The node it was for.
        node: String,
        /// Why the link is not up.
        reason: String,
    },
    /// The message does not serialise, or is too large.
    #[error("message not sent: {detail}")]
    Malformed {
        /// What is wrong and what to do.
        detail: String,
    },
}

impl CastError {
    /// Always [`Sent::NotSent`].
    pub fn outcome(&self) -> Sent {
        Sent::NotSent
    }
}

/// Why a reply was not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplyError {
    /// The connection the call came on has ended; the call ended with it as `LinkLost`.
    #[error("the connection the call came on has ended")]
    LinkLost,
    /// The caller does not read its replies fast enough.
    #[error("reply dropped: {queued} bytes of replies wait for a caller that does not read them")]
    Busy {
        /// Bytes queued on the connection.
        queued: usize,
    },
    /// The reply does not serialise, or is too large.
    #[error("reply not sent: {detail}")]
    Malformed {
        /// What is wrong and what to do.
        detail: String,
    },
}

/// Why a bridge did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// An option is out of range.
    #[error("bridge option {option}: {problem}")]
    Options {
        /// The field of `BridgeOptions`.
        option: &'static str,
        /// What is wrong and what is allowed.
        problem: String,
    },
    /// The listening address cannot be bound.
    #[error("cannot listen on {address}: choose a free address of this machine")]
    Listen {
        /// `BridgeOptions::listen`.
        address: String,
        /// The error of the system.
        source: io::Error,
    },
    /// The actor could not be spawned.
    #[error("cannot spawn the bridge actor: is the name prefix {prefix} in use in this process?")]
    Spawn {
        /// `BridgeOptions::name_prefix`.
        prefix: String,
        /// The error of ractor.
        source: ractor::SpawnErr,
    },
}

/// Why a name was not exposed, or a peer not added: the name is empty or too long.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {name:?} has {length} bytes, must have 1 to {cap}")]
pub struct NameError {
    what: &'static str,
    name: String,
    length: usize,
    cap: usize,
}

pub(crate) fn check_name(what: &'static str, name: &str, cap: usize) -> Result<(), NameError> {
    if (1..=cap).contains(&name.len()) {
        return Ok(());
    }
    let shown = name.chars().take(80).collect();
    Err(NameError { what, name: shown, length: name.len(), cap })
}
