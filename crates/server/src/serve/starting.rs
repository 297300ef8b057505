//! What the API answers while the node starts. Its log is walked then, which may take minutes: a process that did not answer `/livez`
//! meanwhile would be restarted by its supervisor, and begin again.

use axum::Router;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::api::{Code, Problem};

/// What a start may take long for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Starts {
    Alone,
    /// With an empty directory it first looks for a node of the cluster, for 30 s at most.
    Joining,
}

impl Starts {
    fn text(self) -> &'static str {
        match self {
            Self::Alone => "node: starts, its log is read",
            Self::Joining => {
                "node: starts, its log is read, or a node of the cluster that it joins is looked for"
            }
        }
    }
}

/// Alive, not ready, and nothing else.
pub(super) fn router(starts: Starts) -> Router {
    Router::new()
        .route("/livez", get(move |uri: Uri| async move { probe(&uri, starts, StatusCode::OK) }))
        .route(
            "/readyz",
            get(move |uri: Uri| async move { probe(&uri, starts, StatusCode::SERVICE_UNAVAILABLE) }),
        )
        .fallback(move || async move { not_ready(starts) })
}

fn probe(uri: &Uri, starts: Starts, status: StatusCode) -> Response {
    let alive = status.is_success();
    let verbose =
        uri.query().unwrap_or_default().split('&').any(|part| part.split('=').next() == Some("verbose"));
    match (verbose, alive) {
        (true, _) => {
            (status, format!("[{}] {}\n", if alive { '+' } else { '-' }, starts.text())).into_response()
        }
        (false, true) => "ok\n".into_response(),
        (false, false) => not_ready(starts),
    }
}

fn not_ready(starts: Starts) -> Response {
    Problem::new(Code::NotReady, starts.text()).into_response()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;
    use tokio::time::Instant;

    use super::super::connection::Limits;
    use super::super::listen::{answer_while_starting, bind};
    use super::*;
    use crate::api::ApiOptions;
    use crate::http::{Endpoint, Request, call};

    #[tokio::test]
    async fn probes_are_answered_while_the_log_is_read() {
        let listeners = bind("127.0.0.1", 0).await.expect("binds");
        let endpoint = Endpoint::from(listeners[0].local_addr().expect("bound"));
        let limits = Limits::new("node0", &ApiOptions::default());
        let (read, log) = oneshot::channel();
        let router = router(Starts::Alone);
        let starting = answer_while_starting(&listeners, &router, &limits, log);
        let asking = async {
            let mut said = Vec::new();
            let put = Request::put("/v1/kv/k", "v");
            for request in
                [Request::get("/livez"), Request::get("/readyz"), Request::get("/livez?verbose"), put]
            {
                let deadline = Instant::now() + Duration::from_secs(60);
                let answer = call(&endpoint, &request, deadline).await.expect("an answer");
                said.push((answer.status.as_u16(), String::from_utf8_lossy(&answer.body).into_owned()));
            }
            read.send(()).expect("it waits");
            said
        };
        let (started, said) = tokio::join!(starting, asking);
        started.expect("the log was read");
        let codes: Vec<u16> = said.iter().map(|(code, _)| *code).collect();
        assert_eq!(codes, [200, 503, 200, 503], "{said:?}");
        assert!(said[2].1.starts_with("[+] node: starts"), "{said:?}");
        assert!(said[3].1.contains("\"code\":\"not_ready\"") && said[3].1.contains("refused"), "{said:?}");
    }
}
