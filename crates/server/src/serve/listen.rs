//! The API's ports: binds every address of a host, accepts connections, and ends in order.
//!
//! Bound: connections, by their [`places`](super::places), and one more for each listener, which waits for a place. A connection
//! that is slow to send its request or to take its answer is closed. Once it drains, no connection is accepted; a request under way is answered, and its connection closed.
//!
//! While the node starts, [`answer_while_starting`] answers the probes at the same ports.
//!
//! A connection that cannot be accepted ends nothing: the listener pauses, longer each time, and says so once.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustix::io::Errno;
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::error::ServeError;
use super::explain::{Answers, Explaining};
use super::places::{Place, Places};
use super::stall::Stalling;
use crate::address::join;
use crate::api::{ApiOptions, AppState, router};

/// How long accepting pauses after the first of several errors, for example when the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause: a descriptor that is free again is used within this time.
const ACCEPT_PAUSE_MAX: Duration = Duration::from_secs(1);
/// Connections are accepted again once none failed for so long: at the limit, one that ends makes room for just one more.
const ACCEPT_TROUBLE_OVER: Duration = Duration::from_secs(10);
/// What is read ahead of a connection, at most: a request's headers must fit, with a key of the greatest length.
const BUFFER_BYTES_MAX: usize = 128 << 10;
/// How long a connection that gives way, or drains, waits for the rest of a request whose head has begun to arrive.
const GIVES_WAY_MAX: Duration = Duration::from_secs(1);
/// Tries to find one free port on all addresses of a host.
const FREE_PORT_TRIES: usize = 8;

/// How far the API is from its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listening {
    /// Connections are accepted.
    Accepting,
    /// No connection is accepted; requests under way are answered.
    Draining,
    /// Requests under way are dropped.
    Closed,
}

/// Binds every address of a host at one port; with port 0, a free one.
pub(crate) async fn bind(host: &str, port: u16) -> Result<Vec<Arc<TcpListener>>, ServeError> {
    let address = join(host, port);
    let failed = |source| ServeError::Api { address: address.clone(), source };
    let mut addresses: Vec<SocketAddr> = lookup_host(&address).await.map_err(failed)?.collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    addresses.dedup();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for _ in 0..FREE_PORT_TRIES {
        match bind_all(&addresses).await {
            Ok(listeners) => return Ok(listeners.into_iter().map(Arc::new).collect()),
            Err(error) => last = error,
        }
        if port != 0 || last.kind() != io::ErrorKind::AddrInUse {
            break;
        }
    }
    Err(failed(last))
}

/// The first address decides on the port. A further one that this machine does not have is left out.
async fn bind_all(addresses: &[SocketAddr]) -> io::Result<Vec<TcpListener>> {
    let (mut listeners, mut port, mut missing) = (Vec::new(), 0, None);
    for address in addresses {
        let mut address = *address;
        if port != 0 {
            address.set_port(port);
        }
        match TcpListener::bind(address).await {
            Ok(listener) => {
                port = listener.local_addr()?.port();
                listeners.push(listener);
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
            Err(error) => missing = Some(error),
        }
    }
    match (listeners.is_empty(), missing) {
        (true, Some(error)) => Err(error),
        (true, None) => Err(io::Error::new(io::ErrorKind::NotFound, "the host has no address")),
        (false, _) => Ok(listeners),
    }
}

/// What every connection is served by.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    node: String,
    idle_timeout: Duration,
    write_timeout: Duration,
    places: Places,
}

impl Limits {
    pub(super) fn new(node: &str, options: &ApiOptions) -> Self {
        Self {
            node: node.to_owned(),
            idle_timeout: options.idle_timeout,
            write_timeout: options.write_timeout,
            places: Places::new(options.connections_max),
        }
    }
}

/// Serves `router` until `work` is done, then closes its connections.
pub(super) async fn answer_while_starting<T>(
    listeners: &[Arc<TcpListener>],
    router: &Router,
    limits: &Limits,
    work: impl Future<Output = T>,
) -> T {
    let (_told, heard) = watch::channel(Listening::Accepting);
    let mut loops = JoinSet::new();
    for listener in listeners {
        loops.spawn(accept(listener.clone(), router.clone(), limits.clone(), heard.clone()));
    }
    let done = work.await;
    loops.shutdown().await;
    done
}

/// Serves until it is to drain, or until the node has ended; then answers the requests under way and returns.
pub(crate) async fn run(
    listeners: Vec<Arc<TcpListener>>,
    state: AppState,
    limits: Limits,
    mut listening: watch::Receiver<Listening>,
) {
    let (told, heard) = watch::channel(Listening::Accepting);
    let mut loops = JoinSet::new();
    for listener in listeners {
        loops.spawn(accept(listener, router(state.clone()), limits.clone(), heard.clone()));
    }
    tokio::select! {
        () = until_draining(&mut listening) => {}
        _ = state.node().failed() => {}
    }
    told.send_replace(Listening::Draining);
    let answered = async {
        // The end of the node answers every request that still waits.
        state.node().failed().await;
        let all = async { while loops.join_next().await.is_some() {} };
        let in_time = timeout(state.options().drain_timeout, all).await;
        if in_time.is_err() {
            tracing::warn!(node = %state.node().id(), "requests dropped at shutdown");
        }
    };
    tokio::select! {
        () = answered => {}
        // An error: the sender is dropped, which closes it too.
        _ = listening.wait_for(|listening| *listening == Listening::Closed) => {}
    }
    loops.shutdown().await;
}

/// Accepting has failed, and is tried again after a pause.
#[derive(Debug, Clone, Copy)]
struct Trouble {
    pause: Duration,
    /// The last time.
    failed: Instant,
}

async fn accept(
    listener: Arc<TcpListener>,
    router: Router,
    limits: Limits,
    mut listening: watch::Receiver<Listening>,
) {
    let mut connections = JoinSet::new();
    let mut trouble: Option<Trouble> = None;
    // Accepted, and without a place. It is no part of what is dropped when another branch is taken.
    let mut waits = None;
    loop {
        let accepted = async {
            if waits.is_none() {
                waits = Some(listener.accept().await?.0);
            }
            let place = limits.places.take().await;
            Ok((waits.take().expect("it was accepted"), place))
        };
        tokio::select! {
            () = until_draining(&mut listening) => break,
            Some(_) = connections.join_next() => {}
            accepted = accepted => match accepted {
                Ok((stream, place)) => {
                    if trouble.take_if(|trouble| trouble.failed.elapsed() > ACCEPT_TROUBLE_OVER).is_some() {
                        tracing::info!(node = %limits.node, "API accepts connections again");
                    }
                    let serve = connection(stream, place, router.clone(), limits.clone(), listening.clone());
                    connections.spawn(serve);
                }
                Err(error) => {
                    let before = trouble.map(|trouble| trouble.pause);
                    if before.is_none() {
                        let reason = why_not_accepted(&error);
                        tracing::warn!(node = %limits.node, %error, reason, "API cannot accept connections");
                    }
                    let pause = before.map_or(ACCEPT_PAUSE, |pause| ACCEPT_PAUSE_MAX.min(2 * pause));
                    trouble = Some(Trouble { pause, failed: Instant::now() });
                    // Draining is heard meanwhile.
                    drop(timeout(pause, until_draining(&mut listening)).await);
                }
            },
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// What the system's error means, and what to do.
fn why_not_accepted(error: &io::Error) -> &'static str {
    match Errno::from_io_error(error) {
        Some(Errno::MFILE) => "this process has no file descriptor left; raise its limit of open files",
        Some(Errno::NFILE) => "this machine has no file descriptor left; raise fs.file-max",
        Some(Errno::NOBUFS | Errno::NOMEM) => "the system has no memory left for a socket",
        Some(_) | None => "the system refuses it; clients wait meanwhile",
    }
}

/// Returns too if the sender is dropped.
async fn until_draining(listening: &mut watch::Receiver<Listening>) {
    drop(listening.wait_for(|listening| *listening != Listening::Accepting).await);
}

async fn connection(
    stream: TcpStream,
    place: Place,
    router: Router,
    limits: Limits,
    mut listening: watch::Receiver<Listening>,
) {
    // Without it, answers wait for the client's delayed ACK. A closed socket is reported below.
    drop(stream.set_nodelay(true));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.idle_timeout);
    // A client that has sent its request and closed its side still reads the answer.
    http.max_buf_size(BUFFER_BYTES_MAX).half_close(true);
    let answers = Answers::default();
    let stream = Stalling::new(stream, limits.write_timeout);
    let stream = Explaining::new(stream, answers.clone());
    let router = TowerToHyperService::new(router);
    let service = service_fn(|request| {
        let (busy, answer, answers) = (place.busy(), router.call(request), answers.clone());
        async move { answer.await.map(|answer| answers.begin(answer, busy)) }
    });
    let mut serving = pin!(http.serve_connection(TokioIo::new(stream), service).with_upgrades());
    let mut ended = tokio::select! {
        ended = serving.as_mut() => Some(ended),
        () = until_draining(&mut listening) => None,
        () = place.gives_way() => None,
    };
    if ended.is_none() {
        serving.as_mut().graceful_shutdown();
        ended = timeout(GIVES_WAY_MAX, serving.as_mut()).await.ok();
    }
    // A request that is under way is answered; the half of a head is none.
    if ended.is_none() && place.is_busy() {
        ended = Some(serving.await);
    }
    if let Some(Err(error)) = ended {
        tracing::debug!(%error, "API connection broke off");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn localhost_is_all_its_addresses_at_one_port() {
        let listeners = bind("localhost", 0).await.expect("binds");
        let ports: Vec<u16> = listeners.iter().map(|l| l.local_addr().expect("bound").port()).collect();
        assert!(ports.iter().all(|port| *port == ports[0] && *port != 0));
    }

    #[tokio::test]
    async fn a_port_in_use_and_a_wrong_host_are_named() {
        let taken = bind("127.0.0.1", 0).await.expect("binds");
        let port = taken[0].local_addr().expect("bound").port();
        let said = bind("127.0.0.1", port).await.expect_err("in use").to_string();
        assert!(said.contains(&format!("127.0.0.1:{port}")) && said.contains("in use"), "{said}");
        let said = bind("203.0.113.1", 0).await.expect_err("not ours").to_string();
        assert!(said.contains("203.0.113.1:0"), "{said}");
    }
}
