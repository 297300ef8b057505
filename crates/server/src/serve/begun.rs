//! A connection whose first bytes were read ahead, to see what it asks for. What reads from it reads them first.
//!
//! Bound: [`FIRST_BYTES_MAX`].

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// As much as tells a probe from another request, and a few empty lines before it.
const FIRST_BYTES_MAX: usize = 32;
/// What one read takes, at most. hyper makes its buffer twice as large as what it reads at a time, and keeps it for as long as the
/// connection waits for more.
const READ_BYTES_MAX: usize = 16 << 10;
/// How a request of a probe begins. Its path ends with a space, or a question mark.
const PROBES: [&[u8]; 4] = [b"GET /livez", b"GET /readyz", b"HEAD /livez", b"HEAD /readyz"];

/// What the first request of a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asks {
    /// `/livez` or `/readyz`.
    Probe,
    /// Something else, or what is no request.
    Other,
}

/// A stream with its first bytes.
#[derive(Debug)]
pub(super) struct Begun<S> {
    stream: S,
    first: [u8; FIRST_BYTES_MAX],
    /// Of `first`: how many were read.
    count: usize,
    /// Of these: how many were given to the reader.
    given: usize,
}

impl<S> Begun<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, first: [0; FIRST_BYTES_MAX], count: 0, given: 0 }
    }

    pub(super) fn stream(&self) -> &S {
        &self.stream
    }
}

impl<S: AsyncRead + Unpin> Begun<S> {
    /// Reads until it is known what is asked for. Nothing is lost if the future is dropped.
    pub(super) async fn asks(&mut self) -> io::Result<Asks> {
        while self.count < FIRST_BYTES_MAX {
            if let Some(asks) = asks(&self.first[..self.count]) {
                return Ok(asks);
            }
            match self.stream.read(&mut self.first[self.count..]).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => self.count += count,
            }
        }
        Ok(asks(&self.first).unwrap_or(Asks::Other))
    }
}

/// What a connection asks for that begins so; `None` if that is not known yet.
fn asks(first: &[u8]) -> Option<Asks> {
    let begin = first.iter().position(|byte| !b"\r\n".contains(byte)).unwrap_or(first.len());
    let line = &first[begin..];
    for probe in PROBES {
        match line.strip_prefix(probe) {
            Some([b' ' | b'?', ..]) => return Some(Asks::Probe),
            Some([]) => return None,
            None if probe.starts_with(line) => return None,
            Some(_) | None => {}
        }
    }
    Some(Asks::Other)
}

impl<S: AsyncRead + Unpin> AsyncRead for Begun<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let first = &this.first[this.given..this.count];
        if first.is_empty() {
            let part = buffer.remaining().min(READ_BYTES_MAX);
            let mut part = ReadBuf::new(buffer.initialize_unfilled_to(part));
            ready!(Pin::new(&mut this.stream).poll_read(cx, &mut part))?;
            let count = part.filled().len();
            buffer.advance(count);
            return Poll::Ready(Ok(()));
        }
        let count = first.len().min(buffer.remaining());
        buffer.put_slice(&first[..count]);
        this.given += count;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Begun<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[test]
    fn a_probe_is_told_from_another_request_by_its_first_bytes() {
        for probe in
            ["GET /livez ", "GET /livez?verbose", "HEAD /readyz HTTP/1.1\r\n", "\r\n\r\nGET /readyz "]
        {
            assert_eq!(asks(probe.as_bytes()), Some(Asks::Probe), "{probe:?}");
        }
        for other in ["GET /livezz", "GET /live ", "POST /livez ", "P", "get /livez ", "\r\nGET /v1", "\0"] {
            assert_eq!(asks(other.as_bytes()), Some(Asks::Other), "{other:?}");
        }
        for begin in ["", "\r", "\r\n", "G", "GET /", "GET /livez", "HEAD /read"] {
            assert_eq!(asks(begin.as_bytes()), None, "{begin:?}");
        }
    }

    #[tokio::test]
    async fn what_was_read_ahead_is_read_again() {
        let request = b"GET /readyz HTTP/1.1\r\nhost: a\r\n\r\n";
        let (mut client, server) = tokio::io::duplex(128);
        let mut server = Begun::new(server);
        for piece in request.chunks(5) {
            client.write_all(piece).await.expect("there is room");
        }
        assert_eq!(server.asks().await.expect("it asks"), Asks::Probe);
        let mut whole = vec![0; request.len()];
        server.read_exact(&mut whole).await.expect("all of it");
        assert_eq!(whole, request);
        let (mut client, server) = tokio::io::duplex(128);
        let mut server = Begun::new(server);
        client.write_all(&[b'\n'; 2 * FIRST_BYTES_MAX]).await.expect("there is room");
        assert_eq!(server.asks().await.expect("enough was read"), Asks::Other);
        let (client, server) = tokio::io::duplex(128);
        drop(client);
        let gone = Begun::new(server).asks().await.expect_err("it asks for nothing");
        assert_eq!(gone.kind(), io::ErrorKind::UnexpectedEof);
    }
}
