//! Bodies, read whole, within a limit and a time.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use http_body_util::BodyExt;
use quorate::machine::VALUE_BYTES_MAX;
use serde::de::DeserializeOwned;

use super::code::Code;
use super::problem::Problem;
use super::state::AppState;

/// How much of a body that is too long is read and dropped, so that its sender gets to read the answer.
const DROPPED_BYTES_MAX: usize = 16 << 20;

/// A body that should be JSON, not yet parsed.
#[derive(Debug)]
pub(crate) struct JsonBody(pub(crate) Bytes);

impl JsonBody {
    pub(crate) fn parse<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        serde_json::from_slice(&self.0).map_err(|error| malformed(&error))
    }
}

impl FromRequest<AppState> for JsonBody {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, Problem> {
        let options = state.options();
        read(request.into_body(), options.json_bytes_max, options.read_timeout).await.map(Self)
    }
}

/// A key's value.
#[derive(Debug)]
pub(crate) struct ValueBody(pub(crate) Bytes);

impl FromRequest<AppState> for ValueBody {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, Problem> {
        read(request.into_body(), VALUE_BYTES_MAX, state.options().read_timeout).await.map(Self)
    }
}

/// A body that is not the JSON that is wanted.
pub(crate) fn malformed(error: &serde_json::Error) -> Problem {
    Problem::new(Code::Malformed, error.to_string())
}

async fn read(body: Body, bytes_max: usize, time: Duration) -> Result<Bytes, Problem> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bodies_have_a_limit_and_a_time() {
        let second = Duration::from_secs(1);
        assert_eq!(read(Body::from("four"), 4, second).await.expect("fits"), "four");
        assert_eq!(read(Body::from("fives"), 4, second).await.expect_err("too long").code, Code::TooLarge);
        let never = Body::new(Never);
        let late = read(never, 4, Duration::from_millis(1)).await.expect_err("never comes");
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
