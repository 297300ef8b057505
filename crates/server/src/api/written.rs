//! Answers in JSON, written into the room that was reserved for them.

use std::io::{self, Write};

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::code::Code;
use super::problem::Problem;
use super::rooms::Reserved;

/// Answers up to this are not counted: there are as many of them as connections, at most. Nor are those whose length is not known
/// beforehand: they are not in memory.
pub(crate) const SHORT_BYTES: usize = 16 << 10;

/// Beside an answer that holds its room already.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HasRoom;

/// Counts what is written, and keeps nothing.
#[derive(Debug, Default)]
struct Counter(usize);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How long it is as JSON.
pub(crate) fn json_bytes<T: Serialize + ?Sized>(value: &T) -> usize {
    let mut counter = Counter::default();
    // What cannot be written is refused where it is written.
    let written = serde_json::to_writer(&mut counter, value);
    debug_assert!(written.is_ok(), "a counter takes everything: {written:?}");
    counter.0
}

/// An answer of JSON of `bytes` bytes, in its room.
pub(crate) fn json<T: Serialize>(room: Reserved, value: &T, bytes: usize) -> Result<Response, Problem> {
    let mut written = Vec::with_capacity(bytes);
    serde_json::to_writer(&mut written, value)
        .map_err(|error| Problem::new(Code::Internal, format!("the answer cannot be written: {error}")))?;
    Ok(json_answer(room, written))
}

/// An answer that is JSON already, in its room.
pub(crate) fn json_answer(room: Reserved, json: Vec<u8>) -> Response {
    let content = HeaderValue::from_static("application/json");
    let body = Body::from(room.hold(json.into()));
    let mut response = ([(header::CONTENT_TYPE, content)], body).into_response();
    response.extensions_mut().insert(HasRoom);
    response
}
