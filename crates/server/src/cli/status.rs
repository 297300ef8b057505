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
    // Last, because a reason is long.
    if context.output.format == Format::Table && rows.iter().any(|row| row["error"].is_string()) {
        columns.push("error");
    }
    context.output.rows(&Rows { columns, rows }, Some(&answer))
}

/// For people: what is free, and what must stay free.
fn add_disk(row: &mut Value) {
    let bytes = |field: &str| row[field].as_u64().map(ByteCount);
    if let (Some(free), Some(reserve)) = (bytes("disk_free_bytes"), bytes("disk_reserve_bytes")) {
        // As the node says, which may be full with its reserve free: it takes entries again with a little more.
        let full = match (row["disk_full"].as_bool(), bytes("disk_again_bytes")) {
            (Some(true), Some(again)) => format!(", full until {again} are"),
            (Some(true), None) => ", full".to_owned(),
            (Some(false) | None, _) => String::new(),
        };
        let files = |field: &str| row[field].as_u64();
        let inodes = match (files("disk_free_files"), files("disk_reserve_files")) {
            (Some(free), Some(reserve)) if free <= 2 * reserve => {
                format!("; {free} inodes free, {reserve} kept")
            }
            (_, _) => String::new(),
        };
        row["disk"] = format!("{free} free, {reserve} kept{full}{inodes}").into();
    }
}
