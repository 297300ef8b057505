//! The transport seam: TCP here, a simulated network in tests, TLS around either.

mod unsent;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use unsent::LinkWriter;

/// The future the functions of the seam return.
pub type NetFuture<'a, T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send + 'a>>;

/// The byte streams of one connection. Two halves, so that reading and writing never wait for each other.
pub struct Stream {
    /// Bytes from the other end.
    pub reader: Box<dyn AsyncRead + Send + Unpin>,
    /// Bytes to the other end.
    pub writer: Box<dyn AsyncWrite + Send + Unpin>,
    /// The address of the other end, for logs.
    pub address: String,
}

/// Opens and accepts byte streams.
pub trait Net: Send + Sync + 'static {
    /// Connects to `host:port`, resolving the host now and trying each of its addresses.
    fn connect<'a>(&'a self, address: &'a str) -> NetFuture<'a, Stream>;
    /// Listens on `host:port`.
    fn bind<'a>(&'a self, address: &'a str) -> NetFuture<'a, Box<dyn Acceptor>>;
}

/// A bound listening socket. Owned above the Listener actor, so that a restarted Listener never finds its own address in
/// use.
pub trait Acceptor: Send + Sync + 'static {
    /// Waits for the next inbound stream.
    fn accept(&self) -> NetFuture<'_, Stream>;
    /// Where it listens.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// TCP with tokio: no delay, a user timeout, and little unsent data in the kernel, so that control traffic queued
/// after a big message does not wait behind megabytes of it.
#[derive(Debug, Clone)]
pub struct TokioNet {
    /// `TCP_USER_TIMEOUT`: unacknowledged data older than this ends the connection.
    pub user_timeout_ms: u64,
    /// `TCP_NOTSENT_LOWAT`, bytes, where the link takes much; on a slow link it is what that takes in 50 ms.
    pub unsent_bytes_max: u32,
}

impl Default for TokioNet {
    fn default() -> Self {
        Self { user_timeout_ms: 3_000, unsent_bytes_max: 64 << 10 }
    }
}

impl TokioNet {
    fn wrap(&self, stream: TcpStream, address: SocketAddr) -> io::Result<Stream> {
        stream.set_nodelay(true)?;
        #[cfg(target_os = "linux")]
        {
            let socket = socket2::SockRef::from(&stream);
            socket.set_tcp_user_timeout(Some(std::time::Duration::from_millis(self.user_timeout_ms)))?;
        }
        let (reader, writer) = stream.into_split();
        let writer = LinkWriter::new(writer, self.unsent_bytes_max)?;
        Ok(Stream { reader: Box::new(reader), writer: Box::new(writer), address: address.to_string() })
    }
}

impl Net for TokioNet {
    fn connect<'a>(&'a self, address: &'a str) -> NetFuture<'a, Stream> {
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            let remote = stream.peer_addr()?;
            self.wrap(stream, remote)
        })
    }

    fn bind<'a>(&'a self, address: &'a str) -> NetFuture<'a, Box<dyn Acceptor>> {
        Box::pin(async move {
            let listener = TcpListener::bind(address).await?;
            Ok(Box::new(TcpAcceptor { listener, net: self.clone() }) as Box<dyn Acceptor>)
        })
    }
}

struct TcpAcceptor {
    listener: TcpListener,
    net: TokioNet,
}

impl Acceptor for TcpAcceptor {
    fn accept(&self) -> NetFuture<'_, Stream> {
        Box::pin(async move {
            let (stream, remote) = self.listener.accept().await?;
            self.net.wrap(stream, remote)
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}
