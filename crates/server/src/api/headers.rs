//! Headers with a meaning of their own, in requests and in answers.

use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use quorate::Index;
use quorate::machine::{ClientId, KvExpected, SessionKey};

use super::code::Code;
use super::problem::Problem;

/// The index of the entry that was appended, or that set the value that was read.
pub(crate) const INDEX_HEADER: HeaderName = HeaderName::from_static("quorate-index");
/// The term of that entry.
const TERM_HEADER: HeaderName = HeaderName::from_static("quorate-term");
/// The request's deadline, in milliseconds, where no parameter gives it.
const TIMEOUT_HEADER: &str = "quorate-timeout-ms";
/// `<client>/<sequence>`.
const IDEMPOTENCY_HEADER: &str = "idempotency-key";

/// Index and term of an entry, as headers.
pub(crate) fn entry_headers(index: u64, term: u64) -> [(HeaderName, String); 2] {
    [(INDEX_HEADER, index.to_string()), (TERM_HEADER, term.to_string())]
}

/// The deadline of a request, as a span from now: `default` where the request names none, `max` at most.
pub(crate) fn deadline(
    param: Option<u64>,
    headers: &HeaderMap,
    default: Duration,
    max: Duration,
) -> Result<Duration, Problem> {
    let wrong = |detail: &str| Problem::new(Code::BadParameter, detail);
    let given = match (param, text_header(headers, TIMEOUT_HEADER)?) {
        (Some(ms), _) => Some(ms),
        (None, None) => None,
        (None, Some(text)) => Some(
            text.parse().map_err(|_| wrong("header Quorate-Timeout-Ms is not a number of milliseconds"))?,
        ),
    };
    match given {
        Some(0) => Err(wrong("a deadline of 0 ms has passed; give at least 1")),
        Some(ms) => Ok(Duration::from_millis(ms).min(max)),
        None => Ok(default),
    }
}

/// `Idempotency-Key: <client>/<sequence>`.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<SessionKey>, Problem> {
    let Some(text) = text_header(headers, IDEMPOTENCY_HEADER)? else { return Ok(None) };
    let wrong = || {
        let detail =
            "Idempotency-Key is <client>/<sequence>, for example till-4/17: a name that no other client uses";
        Problem::new(
            Code::BadParameter,
            format!("{detail}, and a number that grows with each command of this client"),
        )
    };
    let (client, sequence) = text.rsplit_once('/').ok_or_else(wrong)?;
    let sequence = sequence.parse().map_err(|_| wrong())?;
    if client.is_empty() || client.len() > 256 {
        return Err(wrong());
    }
    Ok(Some(SessionKey::new(ClientId::of_name(client), sequence)))
}

/// `If-Match` and `If-None-Match`, in the forms that name a version or absence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    /// The request has neither.
    None,
    /// `If-None-Match: *`: the key has no value.
    Absent,
    /// `If-Match: "12"`: the key's value has this version.
    Version(Index),
}

impl Condition {
    fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let wrong = |detail: &str| Err(Problem::new(Code::BadParameter, detail));
        match (text_header(headers, "if-match")?, text_header(headers, "if-none-match")?) {
            (None, None) => Ok(Self::None),
            (None, Some("*")) => Ok(Self::Absent),
            (None, Some(_)) => wrong("If-None-Match takes only *: the key must have no value"),
            (Some(_), Some(_)) => wrong("If-Match and If-None-Match cannot both hold; give one"),
            (Some(version), None) => match version.trim().trim_matches('"').parse() {
                Ok(version) => Ok(Self::Version(Index(version))),
                Err(_) => wrong("If-Match takes one version: the Quorate-Index or ETag of a read"),
            },
        }
    }

    /// The state that a compare-and-set must find; `None`: any.
    pub(crate) fn expected(self) -> Option<KvExpected> {
        match self {
            Self::None => None,
            Self::Absent => Some(KvExpected::Absent),
            Self::Version(index) => Some(KvExpected::Index(index)),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Condition {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Self::of(&parts.headers)
    }
}

fn text_header<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Option<&'a str>, Problem> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let text = value.to_str().map_err(|_| {
        Problem::new(Code::BadParameter, format!("header {name} holds bytes that are not ASCII text"))
    })?;
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(name: &'static str, value: &'static str) -> HeaderMap {
        [(HeaderName::from_static(name), HeaderValue::from_static(value))].into_iter().collect()
    }

    #[test]
    fn idempotency_keys_are_a_client_and_a_number() {
        let read = |text| idempotency_key(&headers(IDEMPOTENCY_HEADER, text));
        assert_eq!(read("till-4/17"), Ok(Some(SessionKey::new(ClientId::of_name("till-4"), 17))));
        assert_eq!(read("a/b/17"), Ok(Some(SessionKey::new(ClientId::of_name("a/b"), 17))));
        for wrong in ["17", "/17", "till-4/", "till-4/-1", "till-4/x"] {
            assert_eq!(read(wrong).expect_err(wrong).code, Code::BadParameter);
        }
        assert_eq!(idempotency_key(&HeaderMap::new()), Ok(None));
    }

    #[test]
    fn conditions_are_a_version_or_absence() {
        let read = |name, text| Condition::of(&headers(name, text));
        assert_eq!(read("if-match", "\"12\""), Ok(Condition::Version(Index(12))));
        assert_eq!(read("if-match", "12"), Ok(Condition::Version(Index(12))));
        assert_eq!(read("if-none-match", "*"), Ok(Condition::Absent));
        for (name, wrong) in [("if-match", "*"), ("if-match", "\"a\""), ("if-none-match", "\"12\"")] {
            assert_eq!(read(name, wrong).expect_err(wrong).code, Code::BadParameter);
        }
    }

    #[test]
    fn deadlines_have_a_default_and_a_maximum() {
        let (default, max) = (Duration::from_secs(5), Duration::from_secs(60));
        let read = |param, headers: &HeaderMap| deadline(param, headers, default, max);
        let none = HeaderMap::new();
        assert_eq!(read(None, &none), Ok(default));
        assert_eq!(read(Some(7), &none), Ok(Duration::from_millis(7)));
        assert_eq!(read(None, &headers(TIMEOUT_HEADER, "8")), Ok(Duration::from_millis(8)));
        assert_eq!(read(Some(7), &headers(TIMEOUT_HEADER, "8")), Ok(Duration::from_millis(7)));
        assert_eq!(read(Some(u64::MAX), &none), Ok(max));
        assert!(read(Some(0), &none).is_err() && read(None, &headers(TIMEOUT_HEADER, "soon")).is_err());
    }
}
