//! `quorate status`.

use quorate::{Resource, Shortage, Space};
use quorate_server::http::Request;
use serde_json::Value;

use super::client::Effect;
use super::context::Context;
use super::exit::Failure;
use super::output::{Format, Rows};

pub(crate) async fn run(context: &Context) -> Result<(), Failure> {
    let answer = context.api()?.json(&Request::get("/v1/status"), Effect::Read).await?;
    context.output.rows(&rows_of(&answer, context.output.format), Some(&answer))
}

/// A row for each node of the answer.
fn rows_of(answer: &Value, format: Format) -> Rows {
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
    if format == Format::Table {
        rows.iter_mut().for_each(add_disk);
        columns.push("disk");
    } else {
        columns.extend(["disk_free_bytes", "disk_reserve_bytes"]);
    }
    // Last, because a reason is long. A node that answers may have one as well.
    if format == Format::Table {
        rows.iter_mut().for_each(add_error);
        if rows.iter().any(|row| row["error"].is_string()) {
            columns.push("error");
        }
    }
    Rows { columns, rows }
}

/// A replica that has stopped says why elsewhere.
fn add_error(row: &mut Value) {
    if row["error"].is_null() && row["halted"].is_string() {
        row["error"] = row["halted"].clone();
    }
}

/// For people: what is free, and what must stay free. A full disk says of what it has too little, by the node's own rule.
fn add_disk(row: &mut Value) {
    let field = |name: &str| row[name].as_u64();
    let (Some(free_bytes), Some(reserve_bytes)) = (field("disk_free_bytes"), field("disk_reserve_bytes"))
    else {
        return;
    };
    // Both are null on a volume without a table of inodes.
    let (free_files, reserve_files) =
        (field("disk_free_files").unwrap_or(u64::MAX), field("disk_reserve_files").unwrap_or_default());
    let space =
        Space { free_bytes, reserve_bytes, live_bytes: 0, total_bytes: u64::MAX, free_files, reserve_files };
    let short_of = (row["disk_full"] == true).then(|| space.short_of());
    let shown = |resource| {
        let Shortage { free, reserve, again, .. } = space.shortage_of(resource);
        let full =
            if short_of == Some(resource) { format!(", full until {again} are") } else { String::new() };
        format!("{free} free, {reserve} kept{full}")
    };
    let few_files = reserve_files > 0 && free_files <= reserve_files.saturating_mul(2);
    let inodes = if few_files { format!("; {}", shown(Resource::Inodes)) } else { String::new() };
    row["disk"] = format!("{}{inodes}", shown(Resource::Bytes)).into();
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_node_that_answers_may_have_an_error_too() {
        let error = |mut row: Value| {
            add_error(&mut row);
            row["error"].clone()
        };
        assert_eq!(error(json!({"halted": "upgrade it"})), "upgrade it");
        assert_eq!(error(json!({"halted": null, "error": "silent"})), "silent");
        assert_eq!(error(json!({"halted": null})), Value::Null);
    }

    /// In the table a node that recovers was a follower like any other.
    #[test]
    fn a_node_that_recovers_is_seen_in_the_table_and_by_scripts() {
        let nodes = json!({"nodes": [
            {"id": "node0", "role": "leader", "standing": "voter", "reachable": true},
            {"id": "node1", "role": "follower", "standing": "recovering", "reachable": true},
        ]});
        for format in [Format::Table, Format::Plain] {
            let Rows { columns, rows } = rows_of(&nodes, format);
            assert_eq!(columns[..3], ["id", "role", "standing"], "{format:?}");
            let standings: Vec<_> = rows.iter().map(|row| row[columns[2]].clone()).collect();
            assert_eq!(standings, ["voter", "recovering"]);
        }
    }

    fn disk(fields: &Value) -> String {
        let mut row =
            json!({"disk_free_bytes": 3_u64 << 30, "disk_reserve_bytes": 1 << 30, "disk_full": true});
        for (name, value) in fields.as_object().into_iter().flatten() {
            row[name] = value.clone();
        }
        add_disk(&mut row);
        row["disk"].as_str().expect("it is known").to_owned()
    }

    /// A volume with bytes and without inodes was told to be full until more bytes are free.
    #[test]
    fn a_full_disk_says_what_it_has_too_little_of_and_how_much_it_needs() {
        let inodes = json!({
            "disk_again_bytes": 1088 << 20, "disk_free_files": 12, "disk_reserve_files": 128, "disk_again_files": 136
        });
        assert_eq!(
            disk(&inodes),
            "3 GiB free, 1 GiB kept; 12 inodes free, 128 inodes kept, full until 136 inodes are"
        );
        let mut room = inodes.clone();
        room["disk_full"] = false.into();
        assert_eq!(disk(&room), "3 GiB free, 1 GiB kept; 12 inodes free, 128 inodes kept");
        room["disk_free_files"] = 100_000.into();
        assert_eq!(disk(&room), "3 GiB free, 1 GiB kept");
        let mut bytes = inodes;
        bytes["disk_free_bytes"] = (1_u64 << 29).into();
        bytes["disk_free_files"] = 100_000.into();
        assert_eq!(disk(&bytes), "512 MiB free, 1 GiB kept, full until 1 GiB are");
        let no_table = json!({"disk_again_bytes": 1088 << 20, "disk_free_bytes": 1 << 29});
        assert_eq!(disk(&no_table), "512 MiB free, 1 GiB kept, full until 1 GiB are");
    }
}
