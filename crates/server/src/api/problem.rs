//! Errors as `application/problem+json` (RFC 9457): what happened, and which of refused, failed, unknown it is.

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use quorate::machine::KvRefusal;
use quorate::{Outcome, ProposeError, QueryError};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::code::{About, Code};

/// The media type of problems.
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

/// When to retry after `busy`, in milliseconds.
const BUSY_RETRY_MS: u64 = 100;
/// When to retry without a leader, in milliseconds: an election takes about this long.
const LEADER_RETRY_MS: u64 = 1_000;

/// An error answer's body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProblemBody {
    /// `urn:quorate:error:` and the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// The code in words, always the same ones.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened this time.
    pub detail: String,
    /// One word; see `docs/reference/errors.md`.
    pub code: String,
    /// `refused`: it never happened and trying again is safe. `failed`: it will never happen. `unknown`: it may have
    /// happened or may yet happen.
    #[schema(value_type = OutcomeName)]
    pub outcome: Outcome,
    /// The leader this node knows.
    #[serde(default)]
    pub leader: Option<String>,
    /// When it is worth trying again.
    #[serde(default)]
    pub retry_after_ms: Option<u64>,
    /// What the key's version is (`precondition_failed`), or null where it has no value; the index of the membership in force
    /// (`members_outdated`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
}

/// Which of three an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum OutcomeName {
    /// It never happened; trying again is safe.
    Refused,
    /// It will never happen.
    Failed,
    /// It may have happened or may yet happen.
    Unknown,
}

/// An error on its way to the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Which.
    pub code: Code,
    /// What happened this time.
    pub detail: String,
    /// The leader this node knows.
    pub leader: Option<String>,
    /// When it is worth trying again.
    pub retry_after_ms: Option<u64>,
    /// The version of the key, or the index of the membership, that is not as expected.
    pub index: Option<u64>,
}

impl Problem {
    /// Of a code, with what happened.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let leaderless = matches!(
            code,
            Code::NoLeader | Code::NotReady | Code::LeaderUnreachable | Code::ChangeInProgress
        );
        let busy = (code == Code::Busy).then_some(BUSY_RETRY_MS);
        let retry_after_ms = busy.or(leaderless.then_some(LEADER_RETRY_MS));
        Self { code, detail: detail.into(), leader: None, retry_after_ms, index: None }
    }

    /// With the leader this node knows.
    #[must_use]
    pub fn led_by(self, leader: Option<String>) -> Self {
        Self { leader, ..self }
    }

    fn body(&self) -> ProblemBody {
        let About { name, status, outcome, title, .. } = self.code.about();
        ProblemBody {
            kind: format!("urn:quorate:error:{name}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: self.detail.clone(),
            code: name.to_owned(),
            outcome,
            leader: self.leader.clone(),
            retry_after_ms: self.retry_after_ms,
            index: self.index,
        }
    }
}

impl Problem {
    /// Its media type and its body.
    pub(crate) fn to_json(&self) -> (&'static str, Vec<u8>) {
        (PROBLEM_JSON, serde_json::to_vec(&self.body()).expect("a problem is strings and numbers"))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (kind, body) = self.to_json();
        let mut response = (self.code.about().status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        if let Some(ms) = self.retry_after_ms {
            headers.insert(RETRY_AFTER, HeaderValue::from(ms.div_ceil(1_000)));
        }
        response
    }
}

impl From<ProposeError> for Problem {
    fn from(error: ProposeError) -> Self {
        let code = match &error {
            ProposeError::Busy { .. } => Code::Busy,
            ProposeError::NoLeader { .. } => Code::NoLeader,
            ProposeError::LeaderUnreachable { .. } => Code::LeaderUnreachable,
            ProposeError::NotReady { .. } => Code::NotReady,
            ProposeError::TooLarge { .. } => Code::TooLarge,
            ProposeError::Unencodable { .. } => Code::Malformed,
            ProposeError::NotReadHere { .. } => Code::NotReadByLeader,
            ProposeError::NoSpace { .. } => Code::NoSpace,
            ProposeError::NoSuchGroup { .. } => Code::NoSuchGroup,
            ProposeError::Faulted { .. } => Code::Faulted,
            ProposeError::Stopped { .. } => Code::Stopped,
            ProposeError::Superseded { .. } => Code::Superseded,
            ProposeError::Unreadable { .. } => Code::Unreadable,
            ProposeError::KeyReused { .. } => Code::IdempotencyMismatch,
            ProposeError::StaleSequence { .. } => Code::StaleSequence,
            ProposeError::ReplyNotKept { .. } => Code::ReplyNotKept,
            ProposeError::SessionExpired { .. } => Code::SessionExpired,
            ProposeError::Unknown { .. } => Code::Unknown,
            other => of_outcome(other.outcome()),
        };
        debug_assert_eq!(code.about().outcome, error.outcome(), "{error}");
        Self::new(code, error.to_string())
    }
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        let code = match &error {
            QueryError::Busy { .. } => Code::Busy,
            QueryError::NoLeader { .. } => Code::NoLeader,
            QueryError::LeaderUnreachable { .. } => Code::LeaderUnreachable,
            QueryError::NoSuchGroup { .. } => Code::NoSuchGroup,
            QueryError::Faulted { .. } => Code::Faulted,
            QueryError::Panicked { .. } => Code::MachinePanicked,
            QueryError::Unreadable { .. } => Code::Unreadable,
            QueryError::Stopped { .. } => Code::Stopped,
            QueryError::NotReady { .. } => Code::NotReady,
            other => of_outcome(other.outcome()),
        };
        Self::new(code, error.to_string())
    }
}

/// The code of an error that has none of its own.
fn of_outcome(outcome: Outcome) -> Code {
    match outcome {
        Outcome::Refused => Code::NotReady,
        Outcome::Failed => Code::Unreadable,
        Outcome::Unknown => Code::Unknown,
    }
}

impl From<KvRefusal> for Problem {
    fn from(refusal: KvRefusal) -> Self {
        let code = match refusal {
            KvRefusal::KeyEmpty => Code::BadKey,
            KvRefusal::KeyTooLong { .. } | KvRefusal::ValueTooLarge { .. } => Code::TooLarge,
        };
        Self::new(code, refusal.to_string())
    }
}

/// Why a call is not handed to its handler.
#[derive(Debug)]
pub(crate) enum Rejection {
    Problem(Problem),
    /// 307 to this URL, which is the same call at the leader.
    Redirect(HeaderValue),
}

impl From<Problem> for Rejection {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        match self {
            Self::Problem(problem) => problem.into_response(),
            Self::Redirect(location) => {
                (StatusCode::TEMPORARY_REDIRECT, [(axum::http::header::LOCATION, location)]).into_response()
            }
        }
    }
}

/// The errors that every call may answer, for the description.
pub(crate) struct Problems;

impl utoipa::IntoResponses for Problems {
    fn responses() -> std::collections::BTreeMap<String, utoipa::openapi::RefOr<utoipa::openapi::Response>> {
        use utoipa::openapi::{ContentBuilder, Ref, ResponseBuilder, ResponsesBuilder};
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("ProblemBody"))).build();
        let response = ResponseBuilder::new()
            .description("An error: refused, failed or unknown. The codes are in `docs/reference/errors.md`.")
            .content(PROBLEM_JSON, content);
        ResponsesBuilder::new().response("default", response).build().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The API reports the outcome that the library reports.
    #[test]
    fn rule_13_no_error_changes_its_outcome_on_its_way() {
        let detail = || "said".to_owned();
        let errors = [
            ProposeError::Busy { in_flight: 1, cause: quorate::BusyCause::Disk },
            ProposeError::NoLeader { waited_ms: 1 },
            ProposeError::LeaderUnreachable { leader: "node1".into(), detail: detail(), waited_ms: 1 },
            ProposeError::NotReady { reason: quorate::NotReadyReason::Other, detail: detail() },
            ProposeError::TooLarge { bytes: 2, bytes_max: 1 },
            ProposeError::Unencodable { detail: detail() },
            ProposeError::NotReadHere { detail: detail() },
            ProposeError::NoSpace {
                node: "node0".into(),
                free_bytes: 1,
                reserve_bytes: 2,
                free_files: 3,
                reserve_files: 0,
                full: Vec::new(),
            },
            ProposeError::NoSuchGroup { group: "main".into(), node: "node0".into() },
            ProposeError::Faulted { index: 1, detail: detail() },
            ProposeError::Stopped { detail: detail() },
            ProposeError::Superseded { index: 1 },
            ProposeError::Unreadable { detail: detail() },
            ProposeError::KeyReused { index: 1 },
            ProposeError::StaleSequence { last: 1, index: 1 },
            ProposeError::ReplyNotKept { index: 1 },
            ProposeError::SessionExpired { forgotten_through: 1, index: 2 },
            ProposeError::Unknown { detail: detail() },
        ];
        for error in errors {
            let (outcome, problem) = (error.outcome(), Problem::from(error.clone()));
            assert_eq!(problem.code.about().outcome, outcome, "{error}");
            assert_eq!(problem.detail, error.to_string());
            assert_eq!(
                problem.code.about().status == StatusCode::GATEWAY_TIMEOUT,
                outcome == Outcome::Unknown
            );
        }
        let queries = [
            QueryError::Busy { in_flight: 1 },
            QueryError::NoLeader { waited_ms: 1 },
            QueryError::LeaderUnreachable { leader: "node1".into(), detail: detail(), waited_ms: 1 },
            QueryError::NotReady { detail: detail() },
            QueryError::NoSuchGroup { group: "main".into(), node: "node0".into() },
            QueryError::Faulted { index: 1, detail: detail() },
            QueryError::Unreadable { detail: detail() },
            QueryError::Panicked { detail: detail() },
            QueryError::Stopped { detail: detail() },
        ];
        for error in queries {
            assert_eq!(Problem::from(error.clone()).code.about().outcome, error.outcome(), "{error}");
        }
    }

    #[test]
    fn waiting_is_said_in_both_units() {
        let response = Problem::new(Code::Busy, "full").led_by(Some("node1".into())).into_response();
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers()[RETRY_AFTER], "1");
        assert_eq!(response.headers()[CONTENT_TYPE], PROBLEM_JSON);
        assert!(!Problem::new(Code::Malformed, "no").into_response().headers().contains_key(RETRY_AFTER));
    }
}
