//! Paths and query strings, read strictly: an unknown parameter is an error, so that no wish is silently ignored.

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use axum::http::{Method, Uri};
use quorate::Consistency;
use quorate::machine::LIST_ITEMS_MAX;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::code::Code;
use super::cursor;
use super::problem::Problem;

/// Items on a page that names no `limit`.
const PAGE_ITEMS: u32 = 100;

/// The query string, in which nothing unknown may stand.
#[derive(Debug)]
pub(crate) struct Params<T>(pub(crate) T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        if !is_text(parts.uri.query().unwrap_or_default()) {
            let detail =
                "a parameter holds bytes that are not UTF-8 text; keys, prefixes and cursors are text";
            return Err(Problem::new(Code::BadParameter, detail));
        }
        let read = Query::<T>::try_from_uri(&parts.uri);
        let wrong = |error| {
            let error: &dyn std::error::Error = &error;
            let cause = error.source().map_or_else(|| error.to_string(), ToString::to_string);
            Problem::new(Code::BadParameter, cause)
        };
        read.map(|Query(params)| Self(params)).map_err(wrong)
    }
}

/// Whether what is percent-encoded is UTF-8. The decoder of parameters puts another character in the place of what is not, and
/// would look for another key.
fn is_text(query: &str) -> bool {
    let mut bytes = Vec::with_capacity(query.len());
    let mut rest = query.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let encoded = after.get(..2).filter(|_| first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        let encoded = encoded.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(encoded.unwrap_or(first));
        rest = if encoded.is_some() { &after[2..] } else { after };
    }
    std::str::from_utf8(&bytes).is_ok()
}

/// Of a call that has no parameters.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoParams {}

/// A key or a name at the end of the path; it may hold slashes.
#[derive(Debug)]
pub(crate) struct PathName(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for PathName {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        path.map(|Path(name)| Self(name)).map_err(|error| Problem::new(Code::BadParameter, error.body_text()))
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

/// The parameters that every call to the state machine has.
pub(crate) trait CallParams: DeserializeOwned + Send {
    /// `redirect`, `timeout_ms` and `consistency`.
    fn how(&self) -> (Option<bool>, Option<u64>, Option<&str>);
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

impl CallParams for ReadParams {
    fn how(&self) -> (Option<bool>, Option<u64>, Option<&str>) {
        (self.redirect, self.timeout_ms, self.consistency.as_deref())
    }
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

impl CallParams for WriteParams {
    fn how(&self) -> (Option<bool>, Option<u64>, Option<&str>) {
        (self.redirect, self.timeout_ms, None)
    }
}

/// Parameters of a change of the members.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ChangeParams {
    /// Only if the membership in force is the one of this index, which `GET /v1/members` gives.
    pub(crate) expect: Option<u64>,
    /// The deadline, in milliseconds from arrival; also as header `Quorate-Timeout-Ms`.
    pub(crate) timeout_ms: Option<u64>,
    /// Answers 307 with the leader's address instead of forwarding.
    pub(crate) redirect: Option<bool>,
}

impl CallParams for ChangeParams {
    fn how(&self) -> (Option<bool>, Option<u64>, Option<&str>) {
        (self.redirect, self.timeout_ms, None)
    }
}

/// Parameters of a call to the node itself that may take time.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DrainParams {
    /// The deadline, in milliseconds from arrival; also as header `Quorate-Timeout-Ms`.
    pub(crate) timeout_ms: Option<u64>,
}

impl CallParams for DrainParams {
    fn how(&self) -> (Option<bool>, Option<u64>, Option<&str>) {
        (None, self.timeout_ms, None)
    }
}

/// Parameters of a list.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListParams {
    /// Only what begins with this.
    pub(crate) prefix: Option<String>,
    /// How many, at most: 1 to 1000; 100 if absent. A page also ends at 4 MiB.
    #[param(minimum = 1, maximum = 1000)]
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

impl ListParams {
    /// Prefix, the name after which the page begins, and limit, with what stands for them where they are absent.
    pub(crate) fn page(&self) -> Result<(String, Option<String>, u32), Problem> {
        let prefix = self.prefix.clone().unwrap_or_default();
        let limit = limited(self.limit.unwrap_or(PAGE_ITEMS).into(), LIST_ITEMS_MAX as u64)?;
        let after = self.cursor.as_deref().map(cursor::read).transpose()?;
        Ok((prefix, after, limit as u32))
    }
}

impl CallParams for ListParams {
    fn how(&self) -> (Option<bool>, Option<u64>, Option<&str>) {
        (self.redirect, self.timeout_ms, self.consistency.as_deref())
    }
}

/// A number of items on a page. Another number than the one that was asked for would end a client's loop too early.
pub(crate) fn limited(limit: u64, max: u64) -> Result<u64, Problem> {
    if !(1..=max).contains(&limit) {
        return Err(Problem::new(Code::BadParameter, format!("limit={limit} is not 1 to {max}")));
    }
    Ok(limit)
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

/// The path and query of a request, for a redirect.
pub(crate) fn path_and_query(uri: &Uri) -> &str {
    uri.path_and_query().map_or("/", |path| path.as_str())
}

/// The answer at every path that is not routed.
pub(crate) async fn no_such_path(uri: Uri) -> Problem {
    Problem::new(Code::NoSuchPath, format!("nothing answers at {}; see /openapi.json", uri.path()))
}

/// The answer at a path that is routed for other methods.
pub(crate) async fn method_not_allowed(method: Method, uri: Uri) -> Problem {
    Problem::new(Code::MethodNotAllowed, format!("{} does not answer to {method}", uri.path()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_text() {
        for query in ["", "prefix=a%2Fb", "prefix=%C3%BC&limit=1", "prefix=100%", "prefix=%zz", "prefix=ü"] {
            assert!(is_text(query), "{query}");
        }
        for query in ["prefix=%FF", "limit=1&prefix=a%C3", "%80"] {
            assert!(!is_text(query), "{query}");
        }
    }

    #[test]
    fn limits_are_taken_or_refused() {
        assert_eq!((limited(1, 1_000), limited(1_000, 1_000)), (Ok(1), Ok(1_000)));
        for wrong in [0, 1_001, u64::MAX] {
            assert_eq!(limited(wrong, 1_000).expect_err("refused").code, Code::BadParameter);
        }
    }
}
