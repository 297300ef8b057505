//! What a request says, read strictly: an unknown parameter is an error, so that nobody takes a wish that was ignored
//! for one that was granted. Bodies are read whole, within a limit and a time.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri};
use bytes::Bytes;
use http_body_util::BodyExt;
use quorate::machine::{ClientId, SessionKey};
use quorate::{Consistency, Index};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::code::Code;
use super::problem::{Instead, Problem};

/// How much of a body that is too long is read and dropped, so that its sender gets to read the answer.
const DROPPED_BYTES_MAX: usize = 16 << 20;
/// The request's deadline, in milliseconds, where no parameter says it.
const TIMEOUT_HEADER: &str = "quorate-timeout-ms";
/// `<client>/<sequence>`.
const IDEMPOTENCY_HEADER: &str = "idempotency-key";

/// The query string, in which nothing unknown may stand.
#[derive(Debug)]
pub(crate) struct Params<T>(pub(crate) T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let read = Query::<T>::try_from_uri(&parts.uri);
        let wrong = |error| {
            let error: &dyn std::error::Error = &error;
            let cause = error.source().map_or_else(|| error.to_string(), ToString::to_string);
            Problem::new(Code::BadParameter, cause)
        };
        read.map(|Query(params)| Self(params)).map_err(wrong)
    }
}

/// The rest of the path: a key or a name, which may hold slashes.
#[derive(Debug)]
pub(crate) struct Rest(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Rest {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        path.map(|Path(rest)| Self(rest)).map_err(|error| Problem::new(Code::BadParameter, error.body_text()))
    }
}

/// How fresh an answer must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Freshness {
    /// It reflects everything that was acknowledged before; the leader confirms that it leads.
    Linearizable,
    /// What this node holds; may be old.
    Stale,
}

/// Parameters of a read.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ReadParams {
    /// How fresh the answer must be; `linearizable` if absent.
    #[param(value_type = Option<Freshness>)]
    pub(crate) consistency: Option<String>,
    /// The deadline, in milliseconds from arrival; also as header `Quorate-Timeout-Ms`.
    pub(crate) timeout_ms: Option<u64>,
    /// Answers 307 with the leader's address instead of answering here.
    pub(crate) redirect: Option<bool>,
}

/// Parameters of a write.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct WriteParams {
    /// The deadline, in milliseconds from arrival; also as header `Quorate-Timeout-Ms`.
    pub(crate) timeout_ms: Option<u64>,
    /// Answers 307 with the leader's address instead of forwarding.
    pub(crate) redirect: Option<bool>,
}

/// Parameters of a list.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListParams {
    /// Only what begins with this.
    pub(crate) prefix: Option<String>,
    /// How many, at most: 1 to 1000; 100 if absent. A page also ends at 4 MiB.
    pub(crate) limit: Option<u32>,
    /// `cursor` of the page before.
    pub(crate) cursor: Option<String>,
    /// How fresh the answer must be; `linearizable` if absent.
    #[param(value_type = Option<Freshness>)]
    pub(crate) consistency: Option<String>,
    /// The deadline, in milliseconds from arrival; also as header `Quorate-Timeout-Ms`.
    pub(crate) timeout_ms: Option<u64>,
    /// Answers 307 with the leader's address instead of answering here.
    pub(crate) redirect: Option<bool>,
}

/// Parses `consistency`.
pub(crate) fn consistency(text: Option<&str>) -> Result<Consistency, Problem> {
    match text {
        None | Some("linearizable") => Ok(Consistency::Linearizable),
        Some("stale") => Ok(Consistency::Stale),
        Some("lease") => Err(Problem::new(
            Code::BadParameter,
            "consistency=lease is not built yet; ask with consistency=linearizable, which promises more",
        )),
        Some(other) => {
            let detail = format!("consistency={other:?} is unknown; it is linearizable or stale");
            Err(Problem::new(Code::BadParameter, detail))
        }
    }
}

/// The deadline of a request, as a span from now.
pub(crate) fn deadline(
    param: Option<u64>,
    headers: &HeaderMap,
    otherwise: Duration,
    most: Duration,
) -> Result<Duration, Problem> {
    let wrong = |detail: &str| Problem::new(Code::BadParameter, detail);
    let said = match (param, text_header(headers, TIMEOUT_HEADER)?) {
        (Some(ms), _) => Some(ms),
        (None, None) => None,
        (None, Some(text)) => Some(
            text.parse().map_err(|_| wrong("header Quorate-Timeout-Ms is not a number of milliseconds"))?,
        ),
    };
    match said {
        Some(0) => Err(wrong("a deadline of 0 ms has passed; give at least 1")),
        Some(ms) => Ok(Duration::from_millis(ms).min(most)),
        None => Ok(otherwise),
    }
}

/// `Idempotency-Key: <client>/<sequence>`.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<SessionKey>, Problem> {
    let Some(text) = text_header(headers, IDEMPOTENCY_HEADER)? else { return Ok(None) };
    let wrong = || {
        let detail = "Idempotency-Key is <client>/<sequence>, for example till-4/17: a name nobody else uses, and a number";
        Problem::new(Code::BadParameter, format!("{detail} that grows with each command of this client"))
    };
    let (client, sequence) = text.rsplit_once('/').ok_or_else(wrong)?;
    let sequence = sequence.parse().map_err(|_| wrong())?;
    if client.is_empty() || client.len() > 256 {
        return Err(wrong());
    }
    Ok(Some(SessionKey::new(ClientId::of_name(client), sequence)))
}

/// What a condition wants of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    /// Anything.
    None,
    /// No value: `If-None-Match: *`.
    Absent,
    /// The value of this version: `If-Match: "12"`.
    Version(Index),
}

/// `If-Match` and `If-None-Match`, as far as a version number can say them.
pub(crate) fn condition(headers: &HeaderMap) -> Result<Condition, Problem> {
    let wrong = |detail: &str| Err(Problem::new(Code::BadParameter, detail));
    match (text_header(headers, "if-match")?, text_header(headers, "if-none-match")?) {
        (None, None) => Ok(Condition::None),
        (None, Some("*")) => Ok(Condition::Absent),
        (None, Some(_)) => wrong("If-None-Match takes only *: the key must have no value"),
        (Some(_), Some(_)) => wrong("If-Match and If-None-Match cannot both hold; give one"),
        (Some(version), None) => match version.trim().trim_matches('"').parse() {
            Ok(version) => Ok(Condition::Version(Index(version))),
            Err(_) => wrong("If-Match takes one version: the Quorate-Index or ETag of a read"),
        },
    }
}

fn text_header<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Option<&'a str>, Problem> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let text = value.to_str().map_err(|_| {
        Problem::new(Code::BadParameter, format!("header {name} holds bytes that are not ASCII text"))
    })?;
    Ok(Some(text))
}

/// Reads a body whole, within a limit and a time.
pub(crate) async fn body(body: Body, bytes_max: usize, time: Duration) -> Result<Bytes, Problem> {
    let late = |_| {
        let detail = format!("the body did not arrive within {} ms", time.as_millis());
        Problem::new(Code::RequestTimeout, detail)
    };
    tokio::time::timeout(time, collect(body, bytes_max)).await.map_err(late)?
}

async fn collect(mut body: Body, bytes_max: usize) -> Result<Bytes, Problem> {
    let (mut frames, mut bytes) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| Problem::new(Code::Malformed, format!("the body broke off: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        bytes += data.len();
        if bytes > bytes_max {
            frames.clear();
            if bytes > bytes_max.saturating_add(DROPPED_BYTES_MAX) {
                break;
            }
        } else {
            frames.push(data);
        }
    }
    if bytes > bytes_max {
        let detail = format!("the body is longer than {bytes_max} bytes");
        return Err(Problem::new(Code::TooLarge, detail));
    }
    match <[Bytes; 1]>::try_from(frames) {
        Ok([whole]) => Ok(whole),
        Err(frames) => Ok(frames.concat().into()),
    }
}

/// Reads JSON.
pub(crate) fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(bytes).map_err(|error| malformed(&error))
}

/// What is wrong with a JSON body.
pub(crate) fn malformed(error: &serde_json::Error) -> Problem {
    Problem::new(Code::Malformed, error.to_string())
}

/// The path and query of a request, for a redirect.
pub(crate) fn path_and_query(uri: &Uri) -> &str {
    uri.path_and_query().map_or("/", |path| path.as_str())
}

/// Every path that answers nothing.
pub(crate) async fn no_such_path(uri: Uri) -> Problem {
    Problem::new(Code::NoSuchPath, format!("nothing answers at {}; see /openapi.json", uri.path()))
}

/// A path that answers, but not so.
pub(crate) async fn method_not_allowed(method: axum::http::Method, uri: Uri) -> Instead {
    Problem::new(Code::MethodNotAllowed, format!("{} does not answer to {method}", uri.path())).into()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(name: &'static str, value: &'static str) -> HeaderMap {
        [(axum::http::HeaderName::from_static(name), HeaderValue::from_static(value))].into_iter().collect()
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
        let read = |name, text| condition(&headers(name, text));
        assert_eq!(read("if-match", "\"12\""), Ok(Condition::Version(Index(12))));
        assert_eq!(read("if-match", "12"), Ok(Condition::Version(Index(12))));
        assert_eq!(read("if-none-match", "*"), Ok(Condition::Absent));
        for (name, wrong) in [("if-match", "*"), ("if-match", "\"a\""), ("if-none-match", "\"12\"")] {
            assert_eq!(read(name, wrong).expect_err(wrong).code, Code::BadParameter);
        }
    }

    #[test]
    fn deadlines_have_a_default_and_a_maximum() {
        let (otherwise, most) = (Duration::from_secs(5), Duration::from_secs(60));
        let read = |param, headers: &HeaderMap| deadline(param, headers, otherwise, most);
        let none = HeaderMap::new();
        assert_eq!(read(None, &none), Ok(otherwise));
        assert_eq!(read(Some(7), &none), Ok(Duration::from_millis(7)));
        assert_eq!(read(None, &headers(TIMEOUT_HEADER, "8")), Ok(Duration::from_millis(8)));
        assert_eq!(read(Some(7), &headers(TIMEOUT_HEADER, "8")), Ok(Duration::from_millis(7)));
        assert_eq!(read(Some(u64::MAX), &none), Ok(most));
        assert!(read(Some(0), &none).is_err() && read(None, &headers(TIMEOUT_HEADER, "soon")).is_err());
    }

    #[tokio::test]
    async fn bodies_have_a_limit_and_a_time() {
        let second = Duration::from_secs(1);
        assert_eq!(body(Body::from("four"), 4, second).await.expect("fits"), "four");
        assert_eq!(body(Body::from("fives"), 4, second).await.expect_err("too long").code, Code::TooLarge);
        let never = Body::new(Never);
        let late = body(never, 4, Duration::from_millis(1)).await.expect_err("never comes");
        assert_eq!(late.code, Code::RequestTimeout);
    }

    /// A body whose sender sleeps.
    struct Never;

    impl axum::body::HttpBody for Never {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
            std::task::Poll::Pending
        }
    }
}
