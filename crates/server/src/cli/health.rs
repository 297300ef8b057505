//! `quorate health`.

use std::time::Duration;

use quorate_server::http::{Endpoint, Request};
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::arguments::Health;
use super::client::attempt;
use super::context::Context;
use super::endpoints::all;
use super::exit::{Exit, Failure};
use super::output::{Rows, after_printing};

/// Between two looks of `health --wait`.
const WAIT_PAUSE: Duration = Duration::from_millis(100);
/// How long one look may take, so that `--wait` looks at the others again while one node hangs.
const LOOK_MAX: Duration = Duration::from_secs(2);

pub(crate) async fn run(context: &Context, arguments: &Health) -> Result<(), Failure> {
    let api = context.api()?;
    let deadline = Instant::now() + api.timeout;
    let mut every = interval(WAIT_PAUSE);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let look = deadline.min(Instant::now() + LOOK_MAX);
        let rows = all(&api.endpoints, |endpoint| look_at(endpoint, look)).await;
        let ready = rows.iter().filter(|row| row["ready"] == true).count();
        let (all, done) = (rows.len(), ready == rows.len());
        if !done && arguments.wait && Instant::now() + WAIT_PAUSE < deadline {
            continue;
        }
        let columns = vec!["endpoint", "ready", "detail"];
        let printed = context.output.rows(&Rows { columns, rows }, None);
        if done {
            return printed;
        }
        let waited = if arguments.wait { format!(" after {:?}", api.timeout) } else { String::new() };
        let own = Failure::new(Exit::NotHealthy, format!("{ready} of {all} endpoints are ready{waited}"));
        return after_printing(printed, Err(own));
    }
}

async fn look_at(endpoint: Endpoint, deadline: Instant) -> Value {
    let (ready, detail) = match attempt(&endpoint, &Request::get("/readyz?verbose"), deadline).await {
        Ok(response) => (response.status.is_success(), summary(&response.body)),
        Err(lost) => (false, lost.to_string()),
    };
    json!({"endpoint": endpoint.to_string(), "ready": ready, "detail": detail})
}

/// The checks that failed, on one line.
fn summary(body: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(body).chars().take(1_000).collect();
    let failed: Vec<&str> = text.lines().filter_map(|line| line.trim().strip_prefix("[-] ")).collect();
    failed.join("; ")
}
