//! The API's ports: binds every address of a host, accepts, and ends in order.
//!
//! Bound: connections, by permits taken before a connection is accepted. A connection that is slow to say its request
//! is closed. Once told to end, nothing is accepted any more, a request under way is answered, and its connection closed.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use crate::rest::{AppState, router};
use crate::serve::{ServeError, join};

/// How long accepting pauses when the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Tries to find one free port on all addresses of a host.
const FREE_PORT_TRIES: usize = 8;

/// How far the API is from its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It serves.
    Serving,
    /// It accepts nothing, and answers what is under way.
    Ending,
    /// It drops what is under way.
    Over,
}

/// Binds every address of a host at one port; with port 0, a free one.
pub(crate) async fn bind(host: &str, port: u16) -> Result<Vec<TcpListener>, ServeError> {
    let address = join(host, port);
    let failed = |source| ServeError::Api { address: address.clone(), source };
    let mut addresses: Vec<SocketAddr> = lookup_host(&address).await.map_err(failed)?.collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    addresses.dedup();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for _ in 0..FREE_PORT_TRIES {
        match bind_all(&addresses).await {
            Ok(listeners) => return Ok(listeners),
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

/// Serves until told to end, or until the node has ended; then answers what is under way and returns.
pub(crate) async fn run(listeners: Vec<TcpListener>, state: AppState, mut phase: watch::Receiver<Phase>) {
    let permits = Arc::new(Semaphore::new(state.options().connections_max));
    let (told, heard) = watch::channel(Phase::Serving);
    let mut loops = JoinSet::new();
    for listener in listeners {
        loops.spawn(accept(listener, router(state.clone()), state.clone(), permits.clone(), heard.clone()));
    }
    tokio::select! {
        () = told_to_end(&mut phase) => {}
        _ = state.node().failed() => {}
    }
    told.send_replace(Phase::Ending);
    let answered = async {
        // What is under way gets its answer when the node ends at the latest.
        state.node().failed().await;
        let all = async { while loops.join_next().await.is_some() {} };
        let in_time = tokio::time::timeout(state.options().drain_timeout, all).await;
        if in_time.is_err() {
            tracing::warn!(node = %state.node().id(), "requests were still under way at the end");
        }
    };
    tokio::select! {
        () = answered => {}
        // Nobody holds the other end any more: the same.
        _ = phase.wait_for(|phase| *phase == Phase::Over) => {}
    }
    loops.shutdown().await;
}

async fn accept(
    listener: TcpListener,
    router: Router,
    state: AppState,
    permits: Arc<Semaphore>,
    mut phase: watch::Receiver<Phase>,
) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = async {
            let permit = permits.clone().acquire_owned().await.expect("the semaphore is never closed");
            (permit, listener.accept().await)
        };
        tokio::select! {
            () = told_to_end(&mut phase) => break,
            Some(_) = connections.join_next() => {}
            (permit, accepted) = accepted => match accepted {
                Ok((stream, _)) => {
                    let serve = connection(stream, permit, router.clone(), state.clone(), phase.clone());
                    connections.spawn(serve);
                }
                Err(error) => {
                    tracing::warn!(%error, "the API could not accept a connection");
                    drop(permit);
                    drop(tokio::time::timeout(ACCEPT_PAUSE, std::future::pending::<()>()).await);
                }
            },
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Also when nobody is left to tell.
async fn told_to_end(phase: &mut watch::Receiver<Phase>) {
    drop(phase.wait_for(|phase| *phase != Phase::Serving).await);
}

async fn connection(
    stream: TcpStream,
    permit: OwnedSemaphorePermit,
    router: Router,
    state: AppState,
    mut phase: watch::Receiver<Phase>,
) {
    // Without it, answers wait for the client's delayed acknowledgement; a socket that is gone already says so below.
    drop(stream.set_nodelay(true));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(state.options().read_timeout);
    let service = TowerToHyperService::new(router);
    let mut serving = pin!(http.serve_connection(TokioIo::new(stream), service).with_upgrades());
    let mut ended = tokio::select! {
        ended = serving.as_mut() => Some(ended),
        () = told_to_end(&mut phase) => None,
    };
    if ended.is_none() {
        serving.as_mut().graceful_shutdown();
        ended = Some(serving.await);
    }
    if let Some(Err(error)) = ended {
        tracing::debug!(%error, "a connection of the API broke off");
    }
    drop(permit);
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
