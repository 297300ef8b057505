//! Paths and query strings, read strictly: an unknown parameter is an error, so that no wish is silently ignored.

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use axum::http::{Method, Uri};
use quorate::Consistency;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::code::Code;
use super::problem::Problem;

/// Items on a page that names no `limit`.
const PAGE_ITEMS: u32 = 100;

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

impl ListParams {
    /// Prefix, cursor and limit, with what stands for them where they are absent.
    pub(crate) fn page(&self) -> (String, Option<String>, u32) {
        let prefix = self.prefix.clone().unwrap_or_default();
        (prefix, self.cursor.clone(), self.limit.unwrap_or(PAGE_ITEMS))
    }
}

impl CallParams for ListParams {
    fn how(&self) -> (Option<bool>, Option<u64>, Option<&str>) {
        (self.redirect, self.timeout_ms, self.consistency.as_deref())
    }
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
