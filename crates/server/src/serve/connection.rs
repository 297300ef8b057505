//! One connection of the API: with a place, or in the [`lobby`](super::lobby) while there is none.
//!
//! A client that is slow to send its request or to take its answer is closed. Once the API drains, a request under way is answered,
//! and its connection closed.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

use super::begun::{Asks, Begun};
use super::explain::{Answers, Explaining};
use super::listening::{Listening, until_draining};
use super::lobby::{Lobby, Pass};
use super::places::{Place, Places};
use super::stall::{HoldsPlace, Stalling};
use crate::api::{ApiOptions, Caller, Client, Code, Download, Problem};

/// What is read ahead of a connection, at most: a request's headers must fit, with a key of the greatest length.
const BUFFER_BYTES_MAX: usize = 128 << 10;
/// How long a connection that gives way, or drains, waits for the rest of a request whose head has begun to arrive.
const GIVES_WAY_MAX: Duration = Duration::from_secs(1);
/// How long a connection that was told to go, with its request read, has to send its answer: that needs no wait.
const ANSWERS_MAX: Duration = Duration::from_millis(50);
/// How much of a body is read and dropped, so that a client that is turned away reads why.
const DROPPED_BYTES_MAX: usize = 1 << 20;
/// For how long.
const DROPPED_FOR_MAX: Duration = Duration::from_secs(1);

/// What every connection is served by.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    pub(super) node: String,
    idle_timeout: Duration,
    write_timeout: Duration,
    lobby_timeout: Duration,
    /// How long a connection may wait for a place.
    wait_max: Duration,
    places: Places,
    lobby: Lobby,
}

/// What a connection is served with.
#[derive(Debug, Clone)]
pub(super) struct Serving {
    pub(super) router: Router,
    pub(super) limits: Limits,
    pub(super) listening: watch::Receiver<Listening>,
}

/// Where a new connection stands.
#[derive(Debug)]
pub(super) enum Entered {
    WithPlace(Place),
    InTheLobby(Pass),
}

impl Limits {
    pub(super) fn new(node: &str, options: &ApiOptions) -> Self {
        Self {
            node: node.to_owned(),
            idle_timeout: options.idle_timeout,
            write_timeout: options.write_timeout,
            lobby_timeout: options.lobby_timeout,
            wait_max: options.call_timeout,
            places: Places::new(options.connections_max),
            lobby: Lobby::new(),
        }
    }

    /// A place, or the lobby if there is none.
    pub(super) async fn enter(&self) -> Entered {
        match self.places.free() {
            Some(place) => Entered::WithPlace(place),
            None => Entered::InTheLobby(self.lobby.enter().await),
        }
    }
}

/// Serves a connection to its end.
pub(super) async fn serve(stream: TcpStream, entered: Entered, serving: Serving) {
    // Without it, answers wait for the client's delayed ACK. A closed socket is reported below.
    drop(stream.set_nodelay(true));
    let stream = Begun::new(stream);
    match entered {
        Entered::WithPlace(place) => requests(stream, place, serving).await,
        Entered::InTheLobby(pass) => in_the_lobby(stream, pass, serving).await,
    }
}

/// One after the other, until the client has enough of it, the place is needed, or the API drains.
async fn requests(stream: Begun<TcpStream>, place: Place, serving: Serving) {
    let Serving { router, limits, mut listening } = serving;
    let (answers, holds_place) = (Answers::default(), HoldsPlace::default());
    let (own, other) = (stream.stream().local_addr().ok(), stream.stream().peer_addr().ok());
    let (caller, client) = (Caller::of(own, other), other.map(Client));
    let stream = Stalling::new(stream, limits.write_timeout, holds_place.clone());
    let stream = Explaining::new(stream, answers.clone());
    let router = TowerToHyperService::new(router);
    let service = service_fn(|mut request: hyper::Request<Incoming>| {
        if let Some(client) = client {
            request.extensions_mut().insert(client);
        }
        request.extensions_mut().insert(caller);
        let (busy, answer, answers) = (place.busy(), router.call(request), answers.clone());
        let holds_place = holds_place.clone();
        async move {
            answer.await.map(|answer| {
                holds_place.set(answer.extensions().get::<Download>().is_some());
                answers.begin(answer, Some(busy))
            })
        }
    });
    let http = http1(limits.idle_timeout);
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

fn http1(head_timeout: Duration) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(head_timeout);
    // A client that has sent its request and closed its side still reads the answer.
    http.max_buf_size(BUFFER_BYTES_MAX).half_close(true);
    http
}

/// A connection gives way to newer ones, except while it waits for a place, or a probe has arrived and is not answered yet.
async fn in_the_lobby(mut stream: Begun<TcpStream>, pass: Pass, mut serving: Serving) {
    let asks = tokio::select! {
        asks = timeout(serving.limits.idle_timeout, stream.asks()) => asks,
        () = pass.gives_way() => return,
        () = until_draining(&mut serving.listening) => return,
    };
    // It was silent for too long, or it is gone.
    let Ok(Ok(asks)) = asks else { return };
    if asks == Asks::Other
        && let Some(place) = waited(&pass, &mut serving).await
    {
        drop(pass);
        return requests(stream, place, serving).await;
    }
    drop(timeout(serving.limits.lobby_timeout, one_request(stream, asks, &pass, &serving)).await);
}

/// A place, if it may wait for one, and gets it in time.
async fn waited(pass: &Pass, serving: &mut Serving) -> Option<Place> {
    let _stays = pass.waits()?;
    tokio::select! {
        place = timeout(serving.limits.wait_max, serving.limits.places.take()) => place.ok(),
        () = until_draining(&mut serving.listening) => None,
    }
}

/// Answers the first request, and closes the connection.
async fn one_request(stream: Begun<TcpStream>, asks: Asks, pass: &Pass, serving: &Serving) {
    let limits = &serving.limits;
    let answers = Answers::default();
    let stream = Stalling::new(stream, limits.write_timeout, HoldsPlace::default());
    let stream = Explaining::new(stream, answers.clone());
    let router = TowerToHyperService::new(serving.router.clone());
    let arrived = AtomicBool::new(false);
    let service = service_fn(|request: hyper::Request<Incoming>| {
        arrived.store(true, Ordering::Relaxed);
        let (router, answers) = (router.clone(), answers.clone());
        async move {
            let answer = match asks {
                Asks::Probe => {
                    let _stays = pass.stays();
                    router.call(request).await
                }
                Asks::Other => Ok(turned_away(request.map(Body::new), pass.gives_way()).await),
            };
            answer.map(|answer| answers.begin(answer, None))
        }
    });
    let mut http = http1(limits.lobby_timeout);
    let mut served = pin!(http.keep_alive(false).serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        // An answer that is ready goes out first.
        biased;
        ended = served.as_mut() => ended,
        () = pass.gives_way() => {
            let answers = arrived.load(Ordering::Relaxed);
            if answers { timeout(ANSWERS_MAX, served).await.unwrap_or(Ok(())) } else { Ok(()) }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "API connection broke off in the lobby");
    }
}

/// The answer where no place became free. What still comes of the body is dropped for a while, unless the connection is to go.
async fn turned_away(request: Request, gives_way: impl Future<Output = ()>) -> Response {
    let mut body = Limited::new(request.into_body(), DROPPED_BYTES_MAX);
    let dropped = async { while let Some(Ok(_)) = body.frame().await {} };
    tokio::select! {
        _ = timeout(DROPPED_FOR_MAX, dropped) => {}
        () = gives_way => {}
    }
    let detail = "all places for connections to this node are taken by clients at work, and none became free for this one";
    Problem::new(Code::Busy, detail).into_response()
}
