//! Deletes the keys of a measurement: page by page, as many at a time as there were clients, within a bound.

use quorate_server::http::{Method, Request, escape};
use tokio::task::JoinSet;

use super::workload::Workload;
use crate::cli::client::{Api, Effect};
use crate::cli::context::Context;
use crate::cli::exit::Failure;

/// Deletes under way, at most.
const DELETES_MAX: usize = 64;

/// Deletes all keys below the prefix. Each page begins at the first key that is left, so a key is asked for until it is gone.
pub(super) async fn run(context: &Context, workload: &Workload) -> Result<(), Failure> {
    let api = context.api()?;
    let at_a_time = (workload.load.clients as usize).min(DELETES_MAX);
    let pages = Request::get(format!("/v1/kv?prefix={}&limit=1000", escape(&workload.prefix)));
    loop {
        let page = api.json(&pages, Effect::Read).await?;
        let keys: Vec<String> = page["items"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|item| item["key"].as_str().map(str::to_owned))
            .collect();
        if keys.is_empty() {
            return Ok(());
        }
        let mut deleting = JoinSet::new();
        for key in keys {
            if deleting.len() >= at_a_time {
                ended(deleting.join_next().await)?;
            }
            deleting.spawn(delete(api.clone(), key));
        }
        while !deleting.is_empty() {
            ended(deleting.join_next().await)?;
        }
    }
}

async fn delete(api: Api, key: String) -> Result<(), Failure> {
    let request = Request::new(Method::DELETE, format!("/v1/kv/{}", escape(&key)));
    api.send(&request, Effect::Write).await.map(drop)
}

fn ended(one: Option<Result<Result<(), Failure>, tokio::task::JoinError>>) -> Result<(), Failure> {
    match one {
        Some(Ok(deleted)) => deleted,
        Some(Err(error)) => Err(Failure::failed(format!("a delete ended: {error}"))),
        None => Ok(()),
    }
}
