//! The API's ports: binds every address of a host, accepts connections, and ends in order.
//!
//! Bound: connections, by their [`places`](super::places) and by those in the [`lobby`](super::lobby), and one more for each listener,
//! which waits to get in. Once it drains, no connection is accepted.
//!
//! While the node starts, [`answer_while_starting`] answers the probes at the same ports.
//!
//! A connection that cannot be accepted ends nothing: the listener pauses, longer each time, and says so once.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use rustix::io::Errno;
use tokio::net::{TcpListener, lookup_host};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::connection::{Limits, Serving, serve};
use super::error::ServeError;
use super::listening::{Listening, until_draining};
use crate::address::join;
use crate::api::{AppState, router};

/// How long accepting pauses after the first of several errors, for example when the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause: a descriptor that is free again is used within this time.
const ACCEPT_PAUSE_MAX: Duration = Duration::from_secs(1);
/// Connections are accepted again once none failed for so long: at the limit, one that ends makes room for just one more.
const ACCEPT_TROUBLE_OVER: Duration = Duration::from_secs(10);
/// Tries to find one free port on all addresses of a host.
const FREE_PORT_TRIES: usize = 8;

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
        let (router, limits, listening) = (router.clone(), limits.clone(), heard.clone());
        loops.spawn(accept(listener.clone(), Serving { router, limits, listening }));
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
        let (router, limits, listening) = (router(state.clone()), limits.clone(), heard.clone());
        loops.spawn(accept(listener, Serving { router, limits, listening }));
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

async fn accept(listener: Arc<TcpListener>, serving: Serving) {
    let (limits, mut listening) = (serving.limits.clone(), serving.listening.clone());
    let mut connections = JoinSet::new();
    let mut trouble: Option<Trouble> = None;
    // Accepted, and not in yet. It is no part of what is dropped when another branch is taken.
    let mut waits = None;
    loop {
        let accepted = async {
            if waits.is_none() {
                waits = Some(listener.accept().await?.0);
            }
            let entered = limits.enter().await;
            Ok((waits.take().expect("it was accepted"), entered))
        };
        tokio::select! {
            () = until_draining(&mut listening) => break,
            Some(_) = connections.join_next() => {}
            accepted = accepted => match accepted {
                Ok((stream, entered)) => {
                    if trouble.take_if(|trouble| trouble.failed.elapsed() > ACCEPT_TROUBLE_OVER).is_some() {
                        tracing::info!(node = %limits.node, "API accepts connections again");
                    }
                    connections.spawn(serve(stream, entered, serving.clone()));
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
