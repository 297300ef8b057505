//! The kernel of a host: its sockets, and the wire to the network. It runs on while the process is paused, takes connections
//! and bytes for it until the buffers are full, and closes them all when the host crashes.
//!
//! It is a task of turmoil's host; the process has a runtime of its own ([`Process`](super::process::Process)) and reaches
//! turmoil by way of this one alone. What a host sends passes its wire chunk by chunk, so that a host with little bandwidth
//! delays all its connections together. Bound: one chunk for each connection on the wire, and each socket's buffers.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use quorate::{Acceptor, Net, NetFuture, Stream};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::spawn_local;
use tokio::time::Instant;

use super::net::SimNet;
use super::pipe::{PipeReader, PipeWriter, pipe};

/// Requests of a process that wait for its kernel.
const CALLS_MAX: usize = 1_024;
/// Connections that wait for the process to accept them.
const BACKLOG_MAX: usize = 128;
/// What a connection sends at a time.
const CHUNK_BYTES: usize = 16 << 10;

/// Timers are too coarse for one small frame: what takes less than this passes at once, and the next one waits for it.
const WIRE_GRAIN: Duration = Duration::from_millis(5);

/// What a process asks of its kernel.
enum Call {
    Connect { address: String, reply: oneshot::Sender<io::Result<Stream>> },
    Bind { address: String, reply: oneshot::Sender<io::Result<KernelAcceptor>> },
}

/// The network as a process sees it.
pub(super) struct KernelNet(mpsc::Sender<Call>);

/// The requests of a process, for its kernel.
pub(super) struct Calls(mpsc::Receiver<Call>);

pub(super) fn calls() -> (KernelNet, Calls) {
    let (sender, receiver) = mpsc::channel(CALLS_MAX);
    (KernelNet(sender), Calls(receiver))
}

/// What a host may send in a second, and until when its wire is busy.
#[derive(Clone, Default)]
pub(super) struct Wire {
    /// Zero: no limit.
    bytes_per_second: Rc<Cell<u64>>,
    busy_until: Rc<Cell<Option<Instant>>>,
}

impl Wire {
    pub(super) fn set_bytes_per_second(&self, bytes: u64) {
        self.bytes_per_second.set(bytes);
    }

    /// The clock of the host begins again.
    pub(super) fn restarted(&self) {
        self.busy_until.set(None);
    }

    #[expect(clippy::disallowed_methods, reason = "simulated time: no real time passes")]
    async fn pass(&self, bytes: usize) {
        let rate = self.bytes_per_second.get();
        if rate == 0 {
            return;
        }
        let now = Instant::now();
        let idle_since = now.checked_sub(WIRE_GRAIN).unwrap_or(now);
        let begins = self.busy_until.get().map_or(now, |busy| busy.max(idle_since));
        let ends = begins + Duration::from_secs(bytes as u64) / u32::try_from(rate).unwrap_or(u32::MAX);
        self.busy_until.set(Some(ends));
        if ends > now + WIRE_GRAIN {
            tokio::time::sleep(ends - now).await;
        }
    }
}

/// Does what the process wants, as long as it runs.
pub(super) async fn serve(mut calls: Calls, net: SimNet, wire: Wire) {
    while let Some(call) = calls.0.recv().await {
        let (net, wire) = (net.clone(), wire.clone());
        drop(match call {
            Call::Connect { address, reply } => spawn_local(connect(net, wire, address, reply)),
            Call::Bind { address, reply } => spawn_local(listen(net, wire, address, reply)),
        });
    }
}

async fn connect(net: SimNet, wire: Wire, address: String, mut reply: oneshot::Sender<io::Result<Stream>>) {
    let stream = tokio::select! {
        biased;
        // The process has given it up.
        () = reply.closed() => return,
        stream = net.connect(&address) => stream,
    };
    // As above.
    let _ = reply.send(stream.map(|stream| socket(stream, &wire)));
}

async fn listen(
    net: SimNet,
    wire: Wire,
    address: String,
    reply: oneshot::Sender<io::Result<KernelAcceptor>>,
) {
    let bound = net.bind(&address).await.and_then(|acceptor| Ok((acceptor.local_addr()?, acceptor)));
    let (local, acceptor) = match bound {
        Ok(bound) => bound,
        Err(error) => {
            let _ = reply.send(Err(error));
            return;
        }
    };
    let (backlog, waiting) = mpsc::channel(BACKLOG_MAX);
    if reply.send(Ok(KernelAcceptor { local, waiting: Mutex::new(waiting) })).is_err() {
        return;
    }
    loop {
        let accepted = tokio::select! {
            biased;
            () = backlog.closed() => return,
            accepted = acceptor.accept() => accepted,
        };
        let Ok(stream) = accepted else { return };
        if backlog.send(socket(stream, &wire)).await.is_err() {
            return;
        }
    }
}

/// The process' end of a connection.
fn socket(stream: Stream, wire: &Wire) -> Stream {
    let (to_kernel, from_process) = pipe();
    let (to_process, from_kernel) = pipe();
    drop(spawn_local(send(from_process, stream.writer, wire.clone())));
    drop(spawn_local(receive(stream.reader, to_process)));
    Stream { reader: Box::new(from_kernel), writer: Box::new(to_kernel), address: stream.address }
}

async fn send(mut from: PipeReader, mut to: Box<dyn AsyncWrite + Send + Unpin>, wire: Wire) {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        // A pipe does not fail.
        let count = from.read(&mut chunk).await.unwrap_or(0);
        if count == 0 {
            // The other end sees it by the drop, too, if it cannot be told in order.
            let _ = to.shutdown().await;
            return;
        }
        wire.pass(count).await;
        if to.write_all(&chunk[..count]).await.is_err() {
            return;
        }
    }
}

async fn receive(mut from: Box<dyn AsyncRead + Send + Unpin>, mut to: PipeWriter) {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let read = {
            let gone = std::future::poll_fn(|cx| to.poll_reader_gone(cx));
            tokio::select! {
                biased;
                () = gone => return,
                read = from.read(&mut chunk) => read,
            }
        };
        // An error is the end of a connection to the process, too.
        let Ok(count @ 1..) = read else { return };
        if to.write_all(&chunk[..count]).await.is_err() {
            return;
        }
    }
}

fn host_is_down<T>(_: T) -> io::Error {
    io::ErrorKind::NotConnected.into()
}

impl Net for KernelNet {
    fn connect<'a>(&'a self, address: &'a str) -> NetFuture<'a, Stream> {
        Box::pin(async move {
            let (reply, stream) = oneshot::channel();
            let call = Call::Connect { address: address.to_owned(), reply };
            self.0.send(call).await.map_err(host_is_down)?;
            stream.await.map_err(host_is_down)?
        })
    }

    fn bind<'a>(&'a self, address: &'a str) -> NetFuture<'a, Box<dyn Acceptor>> {
        Box::pin(async move {
            let (reply, acceptor) = oneshot::channel();
            let call = Call::Bind { address: address.to_owned(), reply };
            self.0.send(call).await.map_err(host_is_down)?;
            Ok(Box::new(acceptor.await.map_err(host_is_down)??) as Box<dyn Acceptor>)
        })
    }
}

struct KernelAcceptor {
    local: SocketAddr,
    waiting: Mutex<mpsc::Receiver<Stream>>,
}

impl Acceptor for KernelAcceptor {
    fn accept(&self) -> NetFuture<'_, Stream> {
        Box::pin(async move {
            let next = self.waiting.lock().await.recv().await;
            next.ok_or_else(|| host_is_down(()))
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }
}
