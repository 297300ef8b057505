//! `quorate config`: what the settings come to, without starting anything.

use serde_json::json;

use super::arguments::Config;
use super::context::Context;
use super::exit::Failure;
use super::node_options::{checked_options, doubts};
use super::output::Rows;
use crate::settings::{SETTINGS, Setting};

pub(crate) fn run(context: &Context, verb: &Config) -> Result<(), Failure> {
    match verb {
        Config::Check => check(context),
        Config::Print => print(context),
    }
}

/// Checks what can be checked without touching a port or a directory.
fn check(context: &Context) -> Result<(), Failure> {
    let options = checked_options(&context.settings)?;
    context.api()?;
    for doubt in doubts(&options) {
        context.output.note(&format!("warning: {doubt}"));
    }
    let nodes: Vec<_> =
        options.cluster.iter().map(|node| format!("{}={}", node.id, node.address())).collect();
    let record = json!({"ok": true, "id": options.id, "cluster": nodes, "data_dir": options.data_dir});
    context.output.record(vec!["ok", "id", "cluster", "data_dir"], &record)
}

fn print(context: &Context) -> Result<(), Failure> {
    let row = |setting: &Setting| {
        let value = context.settings.value(setting.key);
        json!({
            "key": setting.path(),
            "value": value.map(|value| value.text.as_str()),
            "source": value.map_or_else(|| "not set".to_owned(), |value| value.source.to_string()),
            "variable": setting.variable(),
        })
    };
    let rows = SETTINGS.iter().map(row).collect();
    context.output.rows(&Rows { columns: vec!["key", "value", "source"], rows }, None)
}
