//! `quorate config`: what the settings come to, without starting anything.

use std::collections::BTreeMap;

use quorate_server::Listed;
use quorate_server::address::join;
use serde_json::json;

use super::arguments::Config;
use super::context::Context;
use super::exit::Failure;
use super::node_options::{checked_options, doubts};
use super::output::Rows;
use super::serve::dialled;
use crate::settings::{SETTINGS, Setting, Source};

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
    let effective = effective(context);
    let row = |setting: &Setting| {
        let value = context.settings.value(setting.key);
        let follows = effective.get(setting.key).filter(|_| value.is_none());
        let source = match (value, follows) {
            (Some(value), _) => value.source.to_string(),
            (None, Some(_)) => Source::Default.to_string(),
            (None, None) => "not set".to_owned(),
        };
        json!({
            "key": setting.path(),
            "value": value.map(|value| value.text.as_str()).or(follows.map(String::as_str)),
            "source": source,
            "variable": setting.variable(),
        })
    };
    let rows = SETTINGS.iter().map(row).collect();
    context.output.rows(&Rows { columns: vec!["key", "value", "source"], rows }, None)
}

/// What a node would be started with where a setting follows from others. Empty where they contradict each other: `config check` says
/// how.
fn effective(context: &Context) -> BTreeMap<&'static str, String> {
    let Ok(options) = checked_options(&context.settings) else { return BTreeMap::new() };
    let own = options.cluster.iter().find(|entry| entry.id == options.id);
    let host = own.map_or(dialled(&options.host), |entry| entry.host.clone());
    let advertise = own.map_or_else(|| join(&host, options.port), Listed::address);
    BTreeMap::from([
        ("port", options.port.to_string()),
        ("advertise", advertise),
        ("api_advertise", join(&host, options.api_port)),
        ("data_dir", options.data_dir.display().to_string()),
    ])
}
