//! Bodies of requests, read whole, within a limit and a time.
//!
//! Bound: the bytes of all bodies under way, by [`Held`] permits of [`AppState::bodies`]. They are held until the handler has
//! answered, and no longer: a value that was set lives on in the state machine.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use quorate::machine::VALUE_BYTES_MAX;
use serde::de::DeserializeOwned;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::code::Code;
use super::problem::Problem;
use super::state::AppState;

/// How much of a body that is too long is read and dropped, so that its sender gets to read the answer.
const DROPPED_BYTES_MAX: usize = 16 << 20;

/// What a body takes beyond its bytes while it comes, at most.
const BLOCK_BYTES_MAX: usize = 64 << 10;
/// The same of a short one.
const BLOCK_BYTES_MIN: usize = 4 << 10;

/// What a body of JSON is declared as.
const JSON: &str = "application/json";

/// The place of a body among all bodies under way; it is given back when this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Held(Option<OwnedSemaphorePermit>);

impl Held {
    /// Whether there was room for so many bytes more.
    fn take(&mut self, budget: &Arc<Semaphore>, bytes: usize) -> bool {
        let wanted = u32::try_from(bytes).unwrap_or(u32::MAX);
        let Ok(more) = budget.clone().try_acquire_many_owned(wanted) else { return false };
        match &mut self.0 {
            Some(held) => held.merge(more),
            None => self.0 = Some(more),
        }
        true
    }
}

/// A body that is declared as JSON, not yet parsed; or none at all. A web page can have a browser send other types without
/// asking, and this one only to its own origin.
#[derive(Debug)]
pub(crate) struct JsonBody {
    pub(crate) bytes: Bytes,
    held: Held,
}

impl JsonBody {
    /// An object: serde would take an array for the fields in their order.
    pub(crate) fn parse<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        if self.bytes.trim_ascii_start().first().is_some_and(|first| *first != b'{') {
            return Err(Problem::new(Code::Malformed, "the body must be a JSON object"));
        }
        serde_json::from_slice(&self.bytes).map_err(|error| malformed(&error))
    }

    /// What it says, in the place of its text: that is never shorter, and is not kept.
    pub(crate) fn replaced_by<T>(
        self,
        parse: impl FnOnce(&[u8]) -> Result<T, Problem>,
    ) -> Result<(T, Held), Problem> {
        let Self { bytes, held } = self;
        Ok((parse(&bytes)?, held))
    }
}

impl FromRequest<AppState> for JsonBody {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, Problem> {
        let options = state.options();
        let declared = is_json(request.headers());
        let bounds =
            Bounds { bytes_max: options.json_bytes_max, time: options.read_timeout, budget: state.bodies() };
        let (bytes, held) = read(request.into_body(), bounds).await?;
        if !declared && !bytes.is_empty() {
            let detail = "the body must be declared as JSON: send the header Content-Type: application/json";
            return Err(Problem::new(Code::UnsupportedMediaType, detail));
        }
        Ok(Self { bytes, held })
    }
}

/// A key's value.
#[derive(Debug)]
pub(crate) struct ValueBody(pub(crate) Bytes, pub(crate) Held);

impl FromRequest<AppState> for ValueBody {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, Problem> {
        let time = state.options().read_timeout;
        let bounds = Bounds { bytes_max: VALUE_BYTES_MAX, time, budget: state.bodies() };
        read(request.into_body(), bounds).await.map(|(value, held)| Self(value, held))
    }
}

/// Whether the body is declared as JSON, with or without a character set.
fn is_json(headers: &HeaderMap) -> bool {
    let mut declared = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(value), None) = (declared.next(), declared.next()) else { return false };
    let kind = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
    kind.trim().eq_ignore_ascii_case(JSON)
}

/// Reads a body that is not wanted, within the limits of one that is too long.
pub(crate) async fn discard(body: Body, state: &AppState) {
    let bounds = Bounds { bytes_max: 0, time: state.options().read_timeout, budget: state.bodies() };
    drop(read(body, bounds).await);
}

/// A body that is not the JSON that is wanted.
pub(crate) fn malformed(error: &serde_json::Error) -> Problem {
    Problem::new(Code::Malformed, error.to_string())
}

/// The bounds of one body.
#[derive(Debug, Clone, Copy)]
struct Bounds<'a> {
    bytes_max: usize,
    time: Duration,
    /// A permit for each byte of all bodies under way.
    budget: &'a Arc<Semaphore>,
}

async fn read(body: Body, bounds: Bounds<'_>) -> Result<(Bytes, Held), Problem> {
    let late = || {
        let detail = format!("the body did not arrive within {} ms", bounds.time.as_millis());
        Problem::new(Code::RequestTimeout, detail)
    };
    let is_too_long = body.size_hint().lower() > bounds.bytes_max as u64;
    let read = tokio::time::timeout(bounds.time, collect(body, bounds)).await;
    read.map_err(|_| if is_too_long { too_long(bounds.bytes_max) } else { late() })?
}

/// The bytes of a body that has not come whole: as they came where that is one piece, otherwise copied into blocks. A body in many
/// small pieces would take many times its size, and a buffer that doubles twice its size, with the smaller ones before it.
#[derive(Debug, Default)]
struct Pieces {
    first: Bytes,
    blocks: Vec<BytesMut>,
    bytes: usize,
}

impl Pieces {
    fn push(&mut self, piece: Bytes) {
        let is_first = self.bytes == 0;
        self.bytes += piece.len();
        if is_first {
            self.first = piece;
            return;
        }
        let first = std::mem::take(&mut self.first);
        self.copy(&first);
        self.copy(&piece);
    }

    fn copy(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.blocks.last().is_none_or(|last| last.len() == last.capacity()) {
                let block = self.bytes.clamp(BLOCK_BYTES_MIN, BLOCK_BYTES_MAX);
                self.blocks.push(BytesMut::with_capacity(block));
            }
            let Some(last) = self.blocks.last_mut() else { return };
            let (now, later) = bytes.split_at(bytes.len().min(last.capacity() - last.len()));
            last.extend_from_slice(now);
            bytes = later;
        }
    }

    /// In one piece. Each block is free as soon as it is copied.
    fn whole(self) -> Bytes {
        if self.blocks.is_empty() {
            return self.first;
        }
        let mut all = BytesMut::with_capacity(self.bytes);
        self.blocks.into_iter().for_each(|block| all.extend_from_slice(&block));
        all.freeze()
    }
}

fn too_long(bytes_max: usize) -> Problem {
    Problem::new(Code::TooLarge, format!("the body is longer than {bytes_max} bytes"))
}

/// Why the rest of a body is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dropped {
    TooLong,
    NoRoom,
}

async fn collect(
    mut body: Body,
    Bounds { bytes_max, budget, .. }: Bounds<'_>,
) -> Result<(Bytes, Held), Problem> {
    let (mut pieces, mut held, mut bytes) = (Pieces::default(), Held::default(), 0);
    // Its length is said beforehand, and is more than would be dropped: the answer need not wait for any of it.
    if body.size_hint().lower() > (bytes_max.saturating_add(DROPPED_BYTES_MAX)) as u64 {
        return Err(too_long(bytes_max));
    }
    let mut dropped = None;
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| Problem::new(Code::Malformed, format!("the body broke off: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        bytes += data.len();
        if bytes > bytes_max {
            dropped = Some(Dropped::TooLong);
        } else if dropped.is_none() && !held.take(budget, data.len()) {
            dropped = Some(Dropped::NoRoom);
        }
        match dropped {
            None => pieces.push(data),
            Some(_) if bytes > bytes_max.saturating_add(DROPPED_BYTES_MAX) => break,
            Some(_) => (pieces, held) = (Pieces::default(), Held::default()),
        }
    }
    match dropped {
        None => Ok((pieces.whole(), held)),
        Some(Dropped::TooLong) => Err(too_long(bytes_max)),
        Some(Dropped::NoRoom) => {
            let detail =
                "the bodies of the requests under way on this node are as long together as they may be";
            Err(Problem::new(Code::Busy, detail))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_declared_in_one_header() {
        let declared = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::CONTENT_TYPE, value.parse().expect("a value"));
            }
            is_json(&headers)
        };
        assert!(declared(&["application/json"]) && declared(&["Application/JSON; charset=utf-8"]));
        for wrong in [&[][..], &["text/plain"], &["application/jsonl"], &["application/json", "text/plain"]] {
            assert!(!declared(wrong), "{wrong:?}");
        }
    }

    fn bounds(bytes_max: usize, budget: &Arc<Semaphore>) -> Bounds<'_> {
        Bounds { bytes_max, time: Duration::from_secs(60), budget }
    }

    #[tokio::test]
    async fn bodies_have_a_limit_and_a_time() {
        let budget = Arc::new(Semaphore::new(100));
        let (four, _held) = read(Body::from("four"), bounds(4, &budget)).await.expect("fits");
        assert_eq!(four, "four");
        let too_long = read(Body::from("fives"), bounds(4, &budget)).await.expect_err("too long");
        assert_eq!(too_long.code, Code::TooLarge);
        let never = Body::new(Never(0));
        let soon = Bounds { time: Duration::from_millis(1), ..bounds(4, &budget) };
        assert_eq!(read(never, soon).await.expect_err("never comes").code, Code::RequestTimeout);
        let length = |bytes: u64| Body::new(Never(bytes));
        let at_once = read(length(99_999_999_999), bounds(4, &budget)).await.expect_err("too long");
        assert_eq!(at_once.code, Code::TooLarge, "though none of it has come");
        assert_eq!(read(length(5), soon).await.expect_err("too long").code, Code::TooLarge);
    }

    #[tokio::test]
    async fn bodies_share_a_budget_and_give_their_part_back() {
        let budget = Arc::new(Semaphore::new(10));
        let first = read(Body::from("123456"), bounds(8, &budget)).await.expect("there is room");
        let refused = read(Body::from("12345"), bounds(8, &budget)).await.expect_err("too many together");
        assert_eq!((refused.code, budget.available_permits()), (Code::Busy, 4));
        let too_long = read(Body::from("123456789"), bounds(8, &budget)).await.expect_err("too long");
        assert_eq!((too_long.code, budget.available_permits()), (Code::TooLarge, 4));
        drop(first);
        let (all, held) = read(Body::from("12345"), bounds(8, &budget)).await.expect("there is room again");
        assert_eq!((&all[..], budget.available_permits()), (&b"12345"[..], 5));
        drop(held);
        assert_eq!(budget.available_permits(), 10);
    }

    #[test]
    fn pieces_are_put_together_in_order() {
        let mut pieces = Pieces::default();
        for piece in ["", "one", "", "two", "three"] {
            pieces.push(piece.into());
        }
        assert_eq!(pieces.whole(), "onetwothree");
        assert!(Pieces::default().whole().is_empty());
    }

    /// It had up to twice its size, beside the smaller buffers that it grew out of.
    #[test]
    fn a_body_under_way_takes_little_more_than_its_bytes() {
        for length in [1, 1_000, 5_000, 70_000, 1_000_000] {
            for piece in [1, 999, 8 << 10, 128 << 10] {
                let bytes: Vec<u8> = (0..length).map(|at| u8::try_from(at % 251).expect("small")).collect();
                let mut pieces = Pieces::default();
                bytes.chunks(piece).for_each(|piece| pieces.push(Bytes::copy_from_slice(piece)));
                let held = pieces.first.len() + pieces.blocks.iter().map(BytesMut::capacity).sum::<usize>();
                assert!(
                    held <= length + BLOCK_BYTES_MAX.min(length.max(BLOCK_BYTES_MIN)),
                    "{held} of {length}"
                );
                assert_eq!(pieces.whole(), bytes);
            }
        }
    }

    /// A body whose sender sleeps after it has said how long it is.
    struct Never(u64);

    impl axum::body::HttpBody for Never {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
            std::task::Poll::Pending
        }

        fn size_hint(&self) -> hyper::body::SizeHint {
            let mut hint = hyper::body::SizeHint::new();
            hint.set_lower(self.0);
            hint
        }
    }
}
