//! Links that are pipes in memory: what the bridge writes is read by the other node without a socket.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use quorate::{Acceptor, Net, NetFuture, Stream};
use tokio::io::DuplexStream;
use tokio::sync::{Mutex as AsyncMutex, mpsc};

/// Bytes that are under way in one direction.
const BUFFER: usize = 256 << 10;

/// The listeners, by address.
#[derive(Default)]
pub struct Pipes(Mutex<BTreeMap<String, mpsc::Sender<DuplexStream>>>);

struct Listener {
    address: SocketAddr,
    opened: AsyncMutex<mpsc::Receiver<DuplexStream>>,
}

fn stream(pipe: DuplexStream) -> Stream {
    let (reader, writer) = tokio::io::split(pipe);
    Stream { reader: Box::new(reader), writer: Box::new(writer), address: "pipe".to_owned() }
}

impl Net for Pipes {
    fn connect<'a>(&'a self, address: &'a str) -> NetFuture<'a, Stream> {
        Box::pin(async move {
            let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
            let listener = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(address).cloned();
            let (own, other) = tokio::io::duplex(BUFFER);
            listener.ok_or_else(refused)?.send(other).await.map_err(|_| refused())?;
            Ok(stream(own))
        })
    }

    fn bind<'a>(&'a self, address: &'a str) -> NetFuture<'a, Box<dyn Acceptor>> {
        Box::pin(async move {
            let (sender, receiver) = mpsc::channel(16);
            let listener = Listener {
                address: address.parse().map_err(io::Error::other)?,
                opened: AsyncMutex::new(receiver),
            };
            self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(address.to_owned(), sender);
            Ok(Box::new(listener) as Box<dyn Acceptor>)
        })
    }
}

impl Acceptor for Listener {
    fn accept(&self) -> NetFuture<'_, Stream> {
        Box::pin(async move {
            let opened = self.opened.lock().await.recv().await;
            opened.map(stream).ok_or_else(|| io::ErrorKind::BrokenPipe.into())
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}
