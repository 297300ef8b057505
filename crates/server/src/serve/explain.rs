//! Gives a body to the answers that hyper writes by itself to what is no valid HTTP/1.1: 400, 414 and 431 come as a bare head,
//! and the client would not learn what was wrong, nor that nothing was done.
//!
//! hyper has no hook for it. So this sits between hyper and the socket, and knows from [`Answers`] whether an answer of ours is
//! under way. A head that is written while none is, with everything before it flushed, can only be hyper's own; it is sent on
//! with a problem behind it. If an answer of ours is still being written, hyper's head goes out as it is.
//!
//! The rest of such a request is read and dropped for a while after the answer: a socket that is closed with unread bytes
//! resets the connection, and the client would not read what it is told.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::{Buf, Bytes};
use hyper::body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::places::Busy;
use crate::api::{Code, Problem};

/// How much of a request that is not understood is read and dropped.
const DROPPED_BYTES_MAX: usize = 1 << 20;
/// For how long.
const DROPPED_FOR_MAX: Duration = Duration::from_secs(2);

/// The answers of one connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Answers(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    /// All that were ever given to hyper.
    begun: AtomicU64,
    /// Those of which hyper has not taken the whole body.
    under_way: AtomicU64,
}

impl Answers {
    /// Before an answer is given to hyper. Its place, if it has one, is busy for as long.
    pub(super) fn begin(&self, answer: Response, busy: Option<Busy>) -> Response {
        self.0.begun.fetch_add(1, Ordering::Relaxed);
        self.0.under_way.fetch_add(1, Ordering::Relaxed);
        let answers = self.clone();
        answer.map(|body| Body::new(Counted { body, answers, _busy: busy }))
    }
}

/// The body of an answer, as long as hyper holds it.
struct Counted {
    body: Body,
    answers: Answers,
    _busy: Option<Busy>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.answers.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

impl hyper::body::Body for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The stream below hyper.
pub(super) struct Explaining<S> {
    stream: S,
    answers: Answers,
    /// Of `begun`: those of which a byte was written.
    seen: u64,
    /// Everything that was written is flushed.
    flushed: bool,
    read: Read,
    /// How many bytes of [`HTTP_2`] the connection has begun with; `None` once it has begun otherwise.
    preface: Option<usize>,
    explained: Explained,
}

/// How far a head has come since the connection began, or since the answer before. A guess where requests are sent ahead of their
/// answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Read {
    /// Nothing but empty lines, which may come before a request (RFC 9112, section 2.2).
    Nothing,
    /// A first line without a space: no path has begun.
    Method,
    /// A first line that goes on behind a space.
    Path,
    /// The first line is over.
    Headers,
}

impl Read {
    fn after(self, byte: u8) -> Self {
        match (self, byte) {
            (Self::Headers, _) | (Self::Method | Self::Path, b'\n') => Self::Headers,
            (Self::Nothing, b'\r' | b'\n') => Self::Nothing,
            (Self::Nothing | Self::Method, b' ') | (Self::Path, _) => Self::Path,
            (Self::Nothing | Self::Method, _) => Self::Method,
        }
    }
}

/// How a client begins that speaks HTTP/2 without having asked. hyper closes the connection on the whole preface without a word.
const HTTP_2: &[u8] = b"PRI * HTTP/2";

/// Where the answer to what is no HTTP is.
enum Explained {
    /// There is none.
    Not,
    /// Being written; hyper believes that its own is.
    Writing(Bytes),
    /// Written.
    Written,
    /// The stream is shut, and what the client still sends is dropped.
    Dropping { left: usize, until: Pin<Box<Sleep>> },
}

impl<S> Explaining<S> {
    pub(super) fn new(stream: S, answers: Answers) -> Self {
        let (read, preface, explained) = (Read::Nothing, Some(0), Explained::Not);
        Self { stream, answers, seen: 0, flushed: true, read, preface, explained }
    }

    /// Looks at what was read. The preface of HTTP/2 is broken in its last byte, so that hyper takes it for what it is to this API:
    /// no HTTP. It can come in any number of pieces, and only where a connection begins: behind that it may be in a value.
    fn look_at(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            if self.read == Read::Headers {
                return;
            }
            self.read = self.read.after(*byte);
            self.preface = self.preface.filter(|at| HTTP_2[*at] == *byte).map(|at| at + 1);
            if self.preface == Some(HTTP_2.len()) {
                (*byte, self.preface) = (0, None);
            }
        }
    }

    /// Whether hyper writes a head of its own; a look at every write, so that answers are counted.
    fn is_hypers_own(&mut self) -> bool {
        let Counts { begun, under_way } = &*self.answers.0;
        let begun = begun.load(Ordering::Relaxed);
        let ours = std::mem::replace(&mut self.seen, begun) != begun || under_way.load(Ordering::Relaxed) > 0;
        if ours {
            self.read = Read::Nothing;
        }
        std::mem::replace(&mut self.flushed, false) && !ours
    }
}

impl<S: AsyncWrite + Unpin> Explaining<S> {
    /// Writes the answer in hyper's place; `None` if there is none.
    fn poll_explain(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Option<Poll<io::Result<usize>>> {
        if matches!(self.explained, Explained::Not)
            && self.is_hypers_own()
            && let Some(answer) = explained(bytes, self.read)
        {
            self.explained = Explained::Writing(answer);
        }
        let Explained::Writing(answer) = &mut self.explained else { return None };
        while answer.has_remaining() {
            match Pin::new(&mut self.stream).poll_write(cx, answer) {
                Poll::Ready(Ok(0)) => return Some(Poll::Ready(Err(io::ErrorKind::WriteZero.into()))),
                Poll::Ready(Ok(written)) => answer.advance(written),
                Poll::Ready(Err(error)) => return Some(Poll::Ready(Err(error))),
                Poll::Pending => return Some(Poll::Pending),
            }
        }
        self.explained = Explained::Written;
        Some(Poll::Ready(Ok(bytes.len())))
    }
}

/// hyper's head with a problem behind it; `None` for any other bytes.
fn explained(head: &[u8], read: Read) -> Option<Bytes> {
    let head = std::str::from_utf8(head).ok()?;
    // hyper looks at the parts of a head once it has the whole of it, and says of each very long one that the headers are.
    let head = match (read, head.strip_prefix("HTTP/1.1 431 Request Header Fields Too Large\r\n")) {
        (Read::Nothing | Read::Method, Some(rest)) => format!("HTTP/1.1 400 Bad Request\r\n{rest}"),
        (Read::Path, Some(rest)) => format!("HTTP/1.1 414 URI Too Long\r\n{rest}"),
        (Read::Headers, Some(_)) | (_, None) => head.to_owned(),
    };
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?;
    let (code, detail) = match status {
        "400" => {
            let detail = "the request is not valid HTTP/1.1, the only version spoken here: its first line or a header is malformed";
            (Code::BadRequest, detail)
        }
        "414" => (Code::UriTooLong, "the path with its query is longer than 65,534 bytes"),
        "431" => (Code::HeadersTooLarge, "there are more than 100 headers, or more than 128 KiB of them"),
        _ => return None,
    };
    // Nothing follows the head.
    let (before, after) = head.strip_suffix("\r\n")?.split_once("content-length: 0\r\n")?;
    let (kind, body) = Problem::new(code, detail).to_json();
    let length = body.len();
    let head = format!("{before}content-type: {kind}\r\ncontent-length: {length}\r\n{after}\r\n");
    Some([head.as_bytes(), &body].concat().into())
}

impl<S: AsyncRead + Unpin> AsyncRead for Explaining<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        self.look_at(&mut buffer.filled_mut()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Explaining<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(written) = self.poll_explain(cx, bytes) {
            return written;
        }
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // A head of its own is all that hyper writes then.
        let first = slices.first().map_or(&[][..], |slice| slice);
        if let Some(written) = self.poll_explain(cx, first) {
            return written;
        }
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = ready!(Pin::new(&mut self.stream).poll_flush(cx));
        self.flushed |= flushed.is_ok();
        Poll::Ready(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            match &mut this.explained {
                Explained::Not | Explained::Writing(_) => {
                    return Pin::new(&mut this.stream).poll_shutdown(cx);
                }
                Explained::Written => {
                    ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
                    let until = Box::pin(sleep_until(Instant::now() + DROPPED_FOR_MAX));
                    this.explained = Explained::Dropping { left: DROPPED_BYTES_MAX, until };
                }
                Explained::Dropping { left, until } => {
                    if until.as_mut().poll(cx).is_ready() {
                        return Poll::Ready(Ok(()));
                    }
                    let mut dropped = [0; 8 << 10];
                    let mut buffer = ReadBuf::new(&mut dropped);
                    let read = ready!(Pin::new(&mut this.stream).poll_read(cx, &mut buffer));
                    let bytes = buffer.filled().len();
                    *left = left.saturating_sub(bytes);
                    if read.is_err() || bytes == 0 || *left == 0 {
                        return Poll::Ready(Ok(()));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::super::places::Places;
    use super::*;

    const BARE: &str = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\ndate: today\r\n\r\n";

    /// What arrives of `writes`, each flushed but the last.
    async fn arrived(answers: &Answers, writes: &[&str]) -> String {
        let (mut client, server) = tokio::io::duplex(64 << 10);
        let mut server = Explaining::new(server, answers.clone());
        for (at, write) in writes.iter().enumerate() {
            server.write_all(write.as_bytes()).await.expect("there is room");
            if at + 1 < writes.len() {
                server.flush().await.expect("it is a pipe");
            }
        }
        drop(server);
        let mut text = String::new();
        client.read_to_string(&mut text).await.expect("text");
        text
    }

    #[tokio::test]
    async fn a_head_of_hypers_own_gets_a_problem() {
        let text = arrived(&Answers::default(), &[BARE]).await;
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        assert!(head.contains("\r\ncontent-type: application/problem+json\r\n"), "{head}");
        assert!(head.contains(&format!("\r\ncontent-length: {}\r\ndate: today", body.len())), "{head}");
        let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
        assert_eq!((&body["code"], &body["outcome"]), (&"bad_request".into(), &"refused".into()));
    }

    #[tokio::test]
    async fn bytes_of_an_answer_are_sent_as_they_are() {
        let answers = Answers::default();
        let busy = Places::new(1).take().await.busy();
        let held = answers.begin("a value".into_response(), Some(busy));
        assert_eq!(arrived(&answers, &[BARE, BARE, BARE]).await, BARE.repeat(3), "its body is not taken yet");
        drop(held);
        let (mut client, server) = tokio::io::duplex(64 << 10);
        let mut server = Explaining::new(server, answers.clone());
        server.write_all(BARE.as_bytes()).await.expect("the head of the answer");
        server.write_all(BARE.as_bytes()).await.expect("its body: nothing was flushed between them");
        let mut both = vec![0; 2 * BARE.len()];
        client.read_exact(&mut both).await.expect("both");
        assert_eq!(String::from_utf8_lossy(&both), BARE.repeat(2));
    }

    /// hyper closes the connection on a whole preface without a word, in however many pieces it comes.
    #[tokio::test]
    async fn hyper_is_never_given_a_whole_preface_of_http_2() {
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        let given = async |sent: &[u8], first: usize| {
            let (mut client, server) = tokio::io::duplex(128);
            let mut server = Explaining::new(server, Answers::default());
            let mut given = vec![0; sent.len()];
            for piece in [0..first, first..sent.len()] {
                client.write_all(&sent[piece.clone()]).await.expect("there is room");
                server.read_exact(&mut given[piece]).await.expect("it was sent");
            }
            given
        };
        for first in 0..preface.len() {
            assert_ne!(given(preface, first).await, preface, "{first}");
        }
        let value = b"PUT /v1/kv/k HTTP/1.1\r\ncontent-length: 24\r\n\r\nPRI * HTTP/2.0\r\n\r\n";
        for first in 0..value.len() {
            assert_eq!(given(value, first).await, value, "{first}");
        }
    }

    #[tokio::test]
    async fn other_heads_are_sent_as_they_are() {
        for other in [
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 1\r\n\r\n",
            "0\r\n\r\n",
        ] {
            assert_eq!(arrived(&Answers::default(), &[other]).await, other);
        }
    }
}
