//! `quorate drain`.

use quorate_server::http::Request;
use serde_json::json;

use super::arguments::Drain;
use super::client::Effect;
use super::confirm::{Unattended, confirm};
use super::context::Context;
use super::exit::Failure;
use super::output::took_effect;

pub(crate) async fn run(context: &Context, drain: &Drain) -> Result<(), Failure> {
    let api = context.api()?;
    let [endpoint] = &api.endpoints[..] else {
        return Err(Failure::usage("drain ends one node: name it alone with --endpoints"));
    };
    confirm(&format!("end the node at {endpoint}"), drain.yes, Unattended::Proceed)?;
    let mut body = json!({"force": drain.force});
    if let Some(delay) = drain.delay {
        body["delay_ms"] = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX).into();
    }
    let answer = api.json(&Request::post("/v1/node:drain", &body), Effect::Write).await?;
    took_effect("the drain", context.output.record(vec!["node", "leader", "ends_in_ms"], &answer))
}
