//! What can go wrong, one enum per operation. Each says whether the message may still have an effect.

use std::io;

/// Whether a message that failed may have reached its actor, or may yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// Certainly no actor saw it and none will: not one byte was handed to the socket writer, or the receiving bridge
    /// answered that it turned the message away. Safe to say "refused".
    NotSent,
    /// It may have been handled, or may yet be. Never say "refused".
    Unknown,
}

/// Which message of a call was malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The request could not be written here: it does not serialise, or is too large.
    Encode,
    /// The receiver could not read the request; no actor saw it.
    Request,
    /// The reply could not be read here; the actor has done its work.
    Reply,
}

/// Why a call has no reply. Every call ends with a reply or exactly one of these.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// Nothing is exposed under that name there, or its actor had ended before. `NotSent`.
    #[error("node {node} exposes no actor {name}: check the name, or wait until it is exposed")]
    NoSuchActor {
        /// Where.
        node: String,
        /// The name asked for.
        name: String,
    },
    /// The actor ended, or dropped the call unanswered. `Unknown`.
    #[error("actor {name} on node {node} ended without answering: {detail}")]
    Died {
        /// Where.
        node: String,
        /// The actor's name.
        name: String,
        /// What the receiver said.
        detail: String,
    },
    /// No answer in time. `NotSent` if the call was still in this process's queue and was taken out of it.
    #[error("no answer from {name} on node {node} within {after_ms} ms")]
    TimedOut {
        /// Where.
        node: String,
        /// The actor's name.
        name: String,
        /// How long it was waited.
        after_ms: u64,
        /// What is known.
        sent: Sent,
    },
    /// The connection ended while the call was under way. `NotSent` only if it was still queued here.
    #[error("the link to node {node} was lost during the call: {reason}")]
    LinkLost {
        /// Where.
        node: String,
        /// Why the connection ended.
        reason: String,
        /// What is known.
        sent: Sent,
    },
    /// A queue is full, here or (inbound calls of the connection) there. `NotSent`; try again later.
    #[error("node {node} is busy: {detail}")]
    Busy {
        /// Where to.
        node: String,
        /// Which bound was met.
        detail: String,
    },
    /// No link at this moment. `NotSent`.
    #[error("no link to node {node}: {reason}")]
    NotConnected {
        /// Where to.
        node: String,
        /// The last reason known.
        reason: String,
    },
    /// The receiver speaks another protocol, or not this version of it. `NotSent`.
    #[error("actor {name} on node {node} does not understand this: {detail}")]
    Unsupported {
        /// Where.
        node: String,
        /// The actor's name.
        name: String,
        /// What it said.
        detail: String,
    },
    /// A message does not encode or decode. `Unknown` only at [`Stage::Reply`].
    #[error("malformed message at stage {stage:?}: {detail}")]
    Malformed {
        /// Where in the call.
        stage: Stage,
        /// What the codec said.
        detail: String,
    },
}

impl CallError {
    /// Whether the actor may have seen the call, or may yet.
    pub fn outcome(&self) -> Sent {
        match self {
            CallError::NoSuchActor { .. }
            | CallError::Busy { .. }
            | CallError::NotConnected { .. }
            | CallError::Unsupported { .. }
            | CallError::Malformed { stage: Stage::Encode | Stage::Request, .. } => Sent::NotSent,
            CallError::Died { .. } | CallError::Malformed { stage: Stage::Reply, .. } => Sent::Unknown,
            CallError::TimedOut { sent, .. } | CallError::LinkLost { sent, .. } => *sent,
        }
    }
}

/// Why a cast was not queued. All are [`Sent::NotSent`]; a cast that was queued gives no error (at most once).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CastError {
    /// The peer's queue is full.
    #[error("node {node} is busy: {detail}")]
    Busy {
        /// Where to.
        node: String,
        /// Which bound was met.
        detail: String,
    },
    /// No link at this moment.
    #[error("no link to node {node}: {reason}")]
    NotConnected {
        /// Where to.
        node: String,
        /// The last reason known.
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

impl From<CastError> for CallError {
    fn from(error: CastError) -> Self {
        match error {
            CastError::Busy { node, detail } => CallError::Busy { node, detail },
            CastError::NotConnected { node, reason } => CallError::NotConnected { node, reason },
            CastError::Malformed { detail } => CallError::Malformed { stage: Stage::Encode, detail },
        }
    }
}

/// Why a reply did not leave.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplyError {
    /// The connection the call came on has ended; the caller knows.
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
        /// What is wrong.
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
        /// Its name.
        option: &'static str,
        /// What is wrong and what is allowed.
        problem: String,
    },
    /// The listening address cannot be bound.
    #[error("cannot listen on {address}: choose a free address of this machine")]
    Listen {
        /// The address asked for.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// The actor could not be spawned.
    #[error("cannot spawn the bridge actor: is the name prefix {prefix} in use in this process?")]
    Spawn {
        /// The name prefix.
        prefix: String,
        /// What ractor said.
        source: ractor::SpawnErr,
    },
}

/// Why a name was not exposed, or a peer not added.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Empty or too long.
    #[error("{what} {name:?} has {length} bytes, must have 1 to {cap}")]
    Length {
        /// What kind of name.
        what: &'static str,
        /// The name.
        name: String,
        /// Its length in bytes.
        length: usize,
        /// The cap.
        cap: usize,
    },
}

pub(crate) fn check_name(what: &'static str, name: &str, cap: usize) -> Result<(), NameError> {
    if (1..=cap).contains(&name.len()) {
        return Ok(());
    }
    let shown = name.chars().take(80).collect();
    Err(NameError::Length { what, name: shown, length: name.len(), cap })
}
