//! `quorate status`.

use quorate::ByteCount;
use quorate_server::http::Request;
use serde_json::Value;

use super::client::Effect;
use super::context::Context;
use super::exit::Failure;
use super::output::{Format, Rows};

pub(crate) async fn run(context: &Context) -> Result<(), Failure> {
    let answer = context.api()?.json(&Request::get("/v1/status"), Effect::Read).await?;
    let mut rows = answer["nodes"].as_array().cloned().unwrap_or_default();
    for row in rows.iter_mut().filter(|row| row["reachable"] == false) {
        row["role"] = "unreachable".into();
    }
    let mut columns = vec![
        "id",
        "role",
        "standing",
        "term",
        "leader",
        "last_index",
        "commit_index",
        "applied_index",
        "apply_lag",
        "api",
    ];
    if context.output.format == Format::Table {
        rows.iter_mut().for_each(add_disk);
        columns.push("disk");
    } else {
        columns.extend(["disk_free_bytes", "disk_reserve_bytes"]);
    }
    context.output.rows(&Rows { columns, rows }, Some(&answer))
}

/// For people: what is free, and what must stay free.
fn add_disk(row: &mut Value) {
    let bytes = |field: &str| row[field].as_u64().map(ByteCount);
    if let (Some(free), Some(reserve)) = (bytes("disk_free_bytes"), bytes("disk_reserve_bytes")) {
        let full = if free < reserve { ", full" } else { "" };
        row["disk"] = format!("{free} free, {reserve} kept{full}").into();
    }
}
