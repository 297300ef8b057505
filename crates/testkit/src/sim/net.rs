//! The bridge's transport over turmoil's simulated TCP. Nothing is buffered here: a write is a segment on its way.
//!
//! A host that crashes is dropped piece by piece, in an order that depends on how many tasks the process ever had. Its
//! peers must not see that. So the first socket that is dropped closes all of the host's, in the order in which they
//! were opened.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use quorate::{Acceptor, Net, NetFuture, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use turmoil::net::{TcpListener, TcpStream};

use crate::lock::lock;

/// The sockets of one host between two crashes. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct SimNet {
    sockets: Arc<Sockets>,
}

#[derive(Default)]
struct Sockets {
    crashing: AtomicBool,
    open: Mutex<Vec<Socket>>,
}

#[derive(Clone)]
struct Socket {
    reader: Arc<Mutex<Option<OwnedReadHalf>>>,
    writer: Arc<Mutex<Option<OwnedWriteHalf>>>,
}

impl SimNet {
    /// The host is about to be dropped.
    pub(super) fn crash(&self) {
        self.sockets.crashing.store(true, Ordering::Relaxed);
    }

    fn wrap(&self, stream: TcpStream, address: SocketAddr) -> Stream {
        let (reader, writer) = stream.into_split();
        let (reader, writer) = (Arc::new(Mutex::new(Some(reader))), Arc::new(Mutex::new(Some(writer))));
        let socket = Socket { reader: reader.clone(), writer: writer.clone() };
        let mut open = lock(&self.sockets.open);
        open.retain(|socket| lock(&socket.reader).is_some() || lock(&socket.writer).is_some());
        open.push(socket);
        Stream {
            reader: Box::new(Reader { half: reader, sockets: self.sockets.clone() }),
            writer: Box::new(Writer { half: writer, sockets: self.sockets.clone() }),
            address: address.to_string(),
        }
    }
}

impl Sockets {
    fn closed_by_crash(&self) -> bool {
        let crashing = self.crashing.load(Ordering::Relaxed);
        if crashing {
            for socket in std::mem::take(&mut *lock(&self.open)) {
                drop(lock(&socket.writer).take());
                drop(lock(&socket.reader).take());
            }
        }
        crashing
    }
}

struct Reader {
    half: Arc<Mutex<Option<OwnedReadHalf>>>,
    sockets: Arc<Sockets>,
}

struct Writer {
    half: Arc<Mutex<Option<OwnedWriteHalf>>>,
    sockets: Arc<Sockets>,
}

impl Drop for Reader {
    fn drop(&mut self) {
        if !self.sockets.closed_by_crash() {
            drop(lock(&self.half).take());
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.sockets.closed_by_crash() {
            drop(lock(&self.half).take());
        }
    }
}

fn gone<T>() -> Poll<io::Result<T>> {
    Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
}

impl AsyncRead for Reader {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        lock(&self.half).as_mut().map_or_else(gone, |half| Pin::new(half).poll_read(cx, into))
    }
}

impl AsyncWrite for Writer {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        lock(&self.half).as_mut().map_or_else(gone, |half| Pin::new(half).poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.half).as_mut().map_or_else(gone, |half| Pin::new(half).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.half).as_mut().map_or_else(gone, |half| Pin::new(half).poll_shutdown(cx))
    }
}

fn parse(address: &str) -> io::Result<(&str, u16)> {
    let parts = address.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
    parts.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, address.to_owned()))
}

impl Net for SimNet {
    fn connect<'a>(&'a self, address: &'a str) -> NetFuture<'a, Stream> {
        Box::pin(async move {
            let stream = TcpStream::connect(parse(address)?).await?;
            let remote = stream.peer_addr()?;
            Ok(self.wrap(stream, remote))
        })
    }

    fn bind<'a>(&'a self, address: &'a str) -> NetFuture<'a, Box<dyn Acceptor>> {
        Box::pin(async move {
            let listener = TcpListener::bind(parse(address)?).await?;
            Ok(Box::new(SimAcceptor { listener, net: self.clone() }) as Box<dyn Acceptor>)
        })
    }
}

struct SimAcceptor {
    listener: TcpListener,
    net: SimNet,
}

impl Acceptor for SimAcceptor {
    fn accept(&self) -> NetFuture<'_, Stream> {
        Box::pin(async move {
            let (stream, remote) = self.listener.accept().await?;
            Ok(self.net.wrap(stream, remote))
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}
