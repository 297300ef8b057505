//! Headers that change what a request asks for, on calls that do not understand them: they are refused, because a client takes
//! what it is not refused for done.
//!
//! - `Content-Encoding`, and any `Transfer-Encoding` but `chunked`: the value that is stored would be another one than the client reads back.
//! - Conditions: a write would happen although its condition does not hold. `conditions` understands some, on keys.
//! - `Content-Range`: a part would replace the whole. `Expect`: nothing but `100-continue` is known.
//! - `Idempotency-Key` on a change that is no command: a retry would change something once more.
//!
//! `Range` on a read may be passed over: the status says that the whole is there. An `Idempotency-Key` on a read has no effect
//! that could be missed.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::body;
use super::code::Code;
use super::headers::IDEMPOTENCY_HEADER;
use super::problem::Problem;
use super::state::AppState;

/// The conditions of RFC 9110 that are about dates, which nothing here has.
const OF_DATES: [HeaderName; 3] = [header::IF_MODIFIED_SINCE, header::IF_UNMODIFIED_SINCE, header::IF_RANGE];
/// The conditions about versions.
const OF_VERSIONS: [HeaderName; 2] = [header::IF_MATCH, header::IF_NONE_MATCH];

/// The layer around all calls.
pub(crate) async fn by_all(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let checked = check_all(request.headers());
    answer(checked, &state, request, next).await
}

/// The layer around calls without versions.
pub(crate) async fn unconditional(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let checked =
        refuse(request.headers(), &OF_VERSIONS, "nothing here has a version to compare with; only keys have");
    answer(checked, &state, request, next).await
}

/// The layer around calls that are no commands.
pub(crate) async fn no_command(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let detail = "this call is no command, and sent twice it is done twice";
    let checked = match *request.method() {
        axum::http::Method::GET | axum::http::Method::HEAD => Ok(()),
        _ => refuse(request.headers(), &[HeaderName::from_static(IDEMPOTENCY_HEADER)], detail),
    };
    answer(checked, &state, request, next).await
}

async fn answer(checked: Result<(), Problem>, state: &AppState, request: Request, next: Next) -> Response {
    let Err(problem) = checked else { return next.run(request).await };
    let is_encoding = problem.code == Code::UnsupportedEncoding;
    // A client that is still sending would be reset before it reads the refusal.
    body::discard(request.into_body(), state).await;
    let mut response = problem.into_response();
    if is_encoding {
        response.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
    response
}

fn check_all(headers: &HeaderMap) -> Result<(), Problem> {
    let encodings = headers.get_all(header::CONTENT_ENCODING);
    if let Some(encoding) = encodings.iter().find(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"))
    {
        let detail = format!(
            "Content-Encoding {encoding:?} is not understood; send the body as it is, without the header"
        );
        return Err(Problem::new(Code::UnsupportedEncoding, detail));
    }
    let transfers = headers.get_all(header::TRANSFER_ENCODING);
    if let Some(encoding) = transfers.iter().find(|value| !value.as_bytes().eq_ignore_ascii_case(b"chunked"))
    {
        let detail =
            format!("Transfer-Encoding {encoding:?} is not understood; send the body as it is, or chunked");
        return Err(Problem::new(Code::UnsupportedEncoding, detail));
    }
    refuse(
        headers,
        &OF_DATES,
        "nothing here has a date of its last change; use the version of a key, with If-Match",
    )?;
    refuse(headers, &[header::CONTENT_RANGE], "a value is set as a whole")?;
    let expectations = headers.get_all(header::EXPECT);
    if !expectations.iter().all(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        return Err(Problem::new(Code::BadParameter, "header Expect is understood only as 100-continue"));
    }
    Ok(())
}

fn refuse(headers: &HeaderMap, names: &[HeaderName], why: &str) -> Result<(), Problem> {
    match names.iter().find(|name| headers.contains_key(*name)) {
        Some(name) => {
            let detail = format!("header {name} is not understood by this call: {why}");
            Err(Problem::new(Code::BadParameter, detail))
        }
        None => Ok(()),
    }
}
