//! The transport seam: TCP here, a simulated network in tests, TLS around either.

mod unsent;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

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
            socket.set_tcp_user_timeout(Some(Duration::from_millis(self.user_timeout_ms)))?;
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
            refuse_itself(&stream, remote)?;
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

/// Where nothing listens at a port of this machine, and the system happens to choose that port for the end that dials, the connection is
/// made with itself. It is closed with a reset: the port would be kept for a minute otherwise, and the node that is to listen there
/// could not start.
fn refuse_itself(stream: &TcpStream, remote: SocketAddr) -> io::Result<()> {
    if stream.local_addr()? != remote {
        return Ok(());
    }
    socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO))?;
    let detail = "nothing listens there: the connection was made with itself, since the port is one of those that the system \
                  gives to what dials (net.ipv4.ip_local_port_range)";
    Err(io::Error::new(io::ErrorKind::ConnectionRefused, detail))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// As the system does it once in some 14,000 times: both ends have the same port.
    #[tokio::test]
    async fn a_connection_with_itself_is_none_and_leaves_the_port_free() {
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.bind("127.0.0.1:0".parse().expect("an address")).expect("bound");
        let address = socket.local_addr().expect("bound");
        let stream = socket.connect(address).await.expect("with itself");
        let remote = stream.peer_addr().expect("connected");
        let said = refuse_itself(&stream, remote).expect_err("refused");
        assert_eq!(said.kind(), io::ErrorKind::ConnectionRefused);
        assert!(said.to_string().contains("nothing listens there"), "{said}");
        drop(stream);
        // Without the option that lets it take a port that is still waited for.
        let next =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        next.bind(&address.into()).expect("the port is free");
    }

    #[tokio::test]
    async fn a_connection_with_another_end_is_one() {
        let net = TokioNet::default();
        let listener = net.bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("bound").to_string();
        assert_eq!(net.connect(&address).await.expect("connected").address, address);
    }
}
