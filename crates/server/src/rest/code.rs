//! Every way an answer can be an error: one closed table, from which `docs/reference/errors.md` is compared.

use axum::http::StatusCode;
use quorate::Outcome;

/// What went wrong, in one word that clients may depend on: `code` of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// The body is not what the call wants.
    Malformed,
    /// A parameter or header is unknown, or its value is not understood.
    BadParameter,
    /// The key or the name is empty.
    BadKey,
    /// The key has no value.
    NotFound,
    /// Nothing answers at this path.
    NoSuchPath,
    /// The node that leads has not opened the group.
    NoSuchGroup,
    /// No voter of this id.
    NoSuchMember,
    /// No actor of this name.
    NoSuchActor,
    /// The path answers, but not to this method.
    MethodNotAllowed,
    /// The body did not arrive in time.
    RequestTimeout,
    /// Another entry took the command's place.
    Superseded,
    /// The counter would leave its range.
    Overflow,
    /// The idempotency key was used for another kind of command.
    IdempotencyMismatch,
    /// The condition does not hold.
    PreconditionFailed,
    /// Larger than allowed.
    TooLarge,
    /// The machine could not read the command.
    Unreadable,
    /// Too many requests are under way.
    Busy,
    /// The machine panicked on a query.
    MachinePanicked,
    /// This server did not expect its own machine's reply.
    Internal,
    /// No leader was found in time.
    NoLeader,
    /// The leader's API address is not known here.
    LeaderUnreachable,
    /// The replica cannot answer now.
    NotReady,
    /// The leader's disk is below its reserve.
    NoSpace,
    /// The state machine panics on an entry.
    Faulted,
    /// The node is stopping or has stopped.
    Stopped,
    /// It may have happened or may yet happen.
    Unknown,
    /// The client went on to a later sequence.
    StaleSequence,
    /// Applied before, the reply is gone.
    ReplyNotKept,
    /// The client was forgotten.
    SessionExpired,
    /// Leadership did not move in time.
    TransferUnfinished,
}

/// What there is to say about a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct About {
    /// `code`.
    pub name: &'static str,
    /// `status`.
    pub status: StatusCode,
    /// `outcome`.
    pub outcome: Outcome,
    /// `title`.
    pub title: &'static str,
    /// What the caller can do.
    pub remedy: &'static str,
}

impl Code {
    /// All of them, in order of their status.
    pub const ALL: [Self; 30] = [
        Self::Malformed,
        Self::BadParameter,
        Self::BadKey,
        Self::NotFound,
        Self::NoSuchPath,
        Self::NoSuchGroup,
        Self::NoSuchMember,
        Self::NoSuchActor,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::Superseded,
        Self::Overflow,
        Self::IdempotencyMismatch,
        Self::PreconditionFailed,
        Self::TooLarge,
        Self::Unreadable,
        Self::Busy,
        Self::MachinePanicked,
        Self::Internal,
        Self::NoLeader,
        Self::LeaderUnreachable,
        Self::NotReady,
        Self::NoSpace,
        Self::Faulted,
        Self::Stopped,
        Self::Unknown,
        Self::StaleSequence,
        Self::ReplyNotKept,
        Self::SessionExpired,
        Self::TransferUnfinished,
    ];

    /// Name, status, outcome, title, remedy.
    pub fn about(self) -> About {
        use Outcome::{Failed, Refused, Unknown};
        use StatusCode as S;
        let (name, status, outcome, title, remedy) = match self {
            Self::Malformed => (
                "malformed",
                S::BAD_REQUEST,
                Refused,
                "the body is not what this call wants",
                "send what `detail` asks for",
            ),
            Self::BadParameter => (
                "bad_parameter",
                S::BAD_REQUEST,
                Refused,
                "a parameter or header is unknown or not understood",
                "send what `detail` asks for",
            ),
            Self::BadKey => ("bad_key", S::BAD_REQUEST, Refused, "the key is empty", "name a key"),
            Self::NotFound => (
                "not_found",
                S::NOT_FOUND,
                Failed,
                "the key has no value",
                "none is needed: it is the answer",
            ),
            Self::NoSuchPath => {
                ("no_such_path", S::NOT_FOUND, Refused, "nothing answers at this path", "see `/openapi.json`")
            }
            Self::NoSuchGroup => (
                "no_such_group",
                S::NOT_FOUND,
                Refused,
                "the node that leads has not opened the group",
                "wait until it has started",
            ),
            Self::NoSuchMember => (
                "no_such_member",
                S::NOT_FOUND,
                Refused,
                "no voter of this id",
                "see `GET /v1/cluster` for the members",
            ),
            Self::NoSuchActor => (
                "no_such_actor",
                S::NOT_FOUND,
                Refused,
                "no actor of this name on this node",
                "see `GET /v1/actors`",
            ),
            Self::MethodNotAllowed => (
                "method_not_allowed",
                S::METHOD_NOT_ALLOWED,
                Refused,
                "the path does not answer to this method",
                "see the header `Allow`",
            ),
            Self::RequestTimeout => (
                "request_timeout",
                S::REQUEST_TIMEOUT,
                Refused,
                "the body did not arrive in time",
                "send it again, faster",
            ),
            Self::Superseded => (
                "superseded",
                S::CONFLICT,
                Failed,
                "another entry took the command's place",
                "send it again: it did not happen",
            ),
            Self::Overflow => {
                ("overflow", S::CONFLICT, Failed, "the counter would leave the range of 64 bits", "add less")
            }
            Self::IdempotencyMismatch => (
                "idempotency_mismatch",
                S::CONFLICT,
                Failed,
                "the idempotency key was used for another kind of command",
                "give every command a sequence of its own",
            ),
            Self::PreconditionFailed => (
                "precondition_failed",
                S::PRECONDITION_FAILED,
                Failed,
                "the condition does not hold",
                "read the key again, then decide",
            ),
            Self::TooLarge => (
                "too_large",
                S::PAYLOAD_TOO_LARGE,
                Refused,
                "larger than allowed",
                "split it; `detail` says the limit",
            ),
            Self::Unreadable => (
                "unreadable",
                S::UNPROCESSABLE_ENTITY,
                Failed,
                "the state machine could not read the command",
                "bring all nodes to the same version",
            ),
            Self::Busy => (
                "busy",
                S::TOO_MANY_REQUESTS,
                Refused,
                "too many requests are under way on this node",
                "wait for `retry_after_ms`, then send it again",
            ),
            Self::MachinePanicked => (
                "machine_panicked",
                S::INTERNAL_SERVER_ERROR,
                Failed,
                "the state machine panicked on the query",
                "report it; nothing changed",
            ),
            Self::Internal => (
                "internal",
                S::INTERNAL_SERVER_ERROR,
                Unknown,
                "the server did not expect its own machine's reply",
                "report it; a write may have happened",
            ),
            Self::NoLeader => (
                "no_leader",
                S::SERVICE_UNAVAILABLE,
                Refused,
                "no leader was found in time",
                "send it again once a majority of the nodes is reachable; reads also answer with `consistency=stale`",
            ),
            Self::LeaderUnreachable => (
                "leader_unreachable",
                S::SERVICE_UNAVAILABLE,
                Refused,
                "the leader's API address is not known here, or nothing was sent to it",
                "ask the leader itself, or leave out `redirect`",
            ),
            Self::NotReady => (
                "not_ready",
                S::SERVICE_UNAVAILABLE,
                Refused,
                "the replica cannot answer now",
                "send it again, or to another node",
            ),
            Self::NoSpace => (
                "no_space",
                S::SERVICE_UNAVAILABLE,
                Refused,
                "the leader's disk is below its reserve",
                "free some space; reads go on meanwhile",
            ),
            Self::Faulted => (
                "faulted",
                S::SERVICE_UNAVAILABLE,
                Refused,
                "the state machine panics on an entry of the log",
                "bring a mended build to all nodes",
            ),
            Self::Stopped => (
                "stopped",
                S::SERVICE_UNAVAILABLE,
                Refused,
                "the node is stopping or has stopped",
                "send it to another node",
            ),
            Self::Unknown => (
                "unknown",
                S::GATEWAY_TIMEOUT,
                Unknown,
                "it may have happened or may yet happen",
                "read, then decide; sending it again is safe only with the same `Idempotency-Key`",
            ),
            Self::StaleSequence => (
                "stale_sequence",
                S::GATEWAY_TIMEOUT,
                Unknown,
                "the client went on to a later sequence; this one is not applied any more",
                "read, then decide",
            ),
            Self::ReplyNotKept => (
                "reply_not_kept",
                S::GATEWAY_TIMEOUT,
                Unknown,
                "applied before; its reply was too long to keep",
                "read what it left",
            ),
            Self::SessionExpired => (
                "session_expired",
                S::GATEWAY_TIMEOUT,
                Unknown,
                "the client was forgotten; this command is not applied any more, but may have been before",
                "read, then go on under a new client name",
            ),
            Self::TransferUnfinished => (
                "transfer_unfinished",
                S::GATEWAY_TIMEOUT,
                Unknown,
                "leadership did not move in time",
                "look at `GET /v1/cluster`, then try again",
            ),
        };
        About { name, status, outcome, title, remedy }
    }

    /// The table of `docs/reference/errors.md`.
    pub fn table() -> String {
        let row = |code: Self| {
            let About { name, status, outcome, title, remedy } = code.about();
            let outcome = format!("{outcome:?}").to_lowercase();
            format!("| `{name}` | {} | {outcome} | {title} | {remedy} |\n", status.as_u16())
        };
        let rows: String = Self::ALL.into_iter().map(row).collect();
        format!("| code | status | outcome | meaning | what to do |\n|---|---|---|---|---|\n{rows}")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn codes_are_all_different_and_in_order() {
        let names: BTreeSet<_> = Code::ALL.iter().map(|code| code.about().name).collect();
        assert_eq!(names.len(), Code::ALL.len());
        assert!(Code::ALL.is_sorted_by_key(|code| code.about().status));
    }

    #[test]
    fn rule_13_504_is_unknown_and_nothing_unknown_has_another_4xx() {
        for code in Code::ALL {
            let About { status, outcome, name, .. } = code.about();
            assert!(status != StatusCode::GATEWAY_TIMEOUT || outcome == Outcome::Unknown, "{name}");
            assert!(outcome != Outcome::Unknown || status.is_server_error(), "{name}");
        }
    }

    #[test]
    fn the_page_of_errors_is_the_table() {
        crate::rest::openapi::same_as_file("errors.md", |text| text.contains(&Code::table()), &Code::table());
    }
}
