//! The API's description, made from the handlers. `docs/reference/openapi.json` is a copy that a test compares.

use axum::Json;
use utoipa::OpenApi;

use super::params::{NoParams, Params};
use super::{
    actors, cluster, command, counters, describe, drain, health, kv, leader, log, members, page, problem,
    snapshots, status,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Quorate",
        description = "Keys and counters on every node of a cluster; a follower passes a write on to the leader, one hop. \
            An answer is 200 only once the command is applied by the leader, from a majority of disks. An error says \
            whether it is refused, failed or unknown."
    ),
    paths(
        command::command,
        kv::get_key, kv::put_key, kv::delete_key, kv::list_keys,
        counters::add, counters::get_counter, counters::set_counter, counters::delete_counter, counters::list_counters,
        cluster::cluster, members::members, members::add, members::remove,
        members::promote, members::demote, members::replace, members::readdress, leader::transfer, actors::actors, actors::stop_actor, drain::drain,
        status::status, snapshots::take, snapshots::latest,
        log::log,
        health::livez, health::readyz,
        page::page, openapi_json
    ),
    components(schemas(problem::ProblemBody, problem::OutcomeName, super::params::Freshness)),
    tags(
        (name = "command", description = "One command in JSON"),
        (name = "keys", description = "Keys, with their values as raw bytes"),
        (name = "counters", description = "Named totals"),
        (name = "cluster", description = "The cluster"),
        (name = "node", description = "The node that answers")
    )
)]
struct Api;

/// Paths that are answered like another one: the alias, the other, and the alias's operation id.
const ALIASES: [(&str, &str, &str); 3] = [
    ("/api/command", "/command", "api_command"),
    ("/api/status", "/v1/status", "api_status"),
    ("/api/logs", "/v1/log", "api_logs"),
];

/// The API's description, made from the handlers: the answer to `GET /openapi.json`.
pub fn openapi() -> serde_json::Value {
    let mut api = serde_json::to_value(Api::openapi()).expect("the description is plain data");
    describe::complete(&mut api);
    for (alias, path, id) in ALIASES {
        let mut item = api["paths"][path].clone();
        for operation in item.as_object_mut().into_iter().flat_map(|methods| methods.values_mut()) {
            operation["operationId"] = id.into();
            operation["summary"] = "The same at another path.".into();
            operation.as_object_mut().and_then(|operation| operation.remove("description"));
        }
        api["paths"][alias] = item;
    }
    api
}

/// This description.
#[utoipa::path(
    get, path = "/openapi.json", tag = "node",
    responses((status = 200, description = "This description", content_type = "application/json", body = serde_json::Value), problem::Problems)
)]
pub(crate) async fn openapi_json(_: Params<NoParams>) -> Json<serde_json::Value> {
    Json(openapi())
}

/// Compares a page of `docs/reference` with the code; with `REWRITE=1` in the environment, and where
/// the page is wholly made from the code, writes it.
#[cfg(test)]
#[track_caller]
pub(crate) fn same_as_file(name: &str, is_same: impl Fn(&str) -> bool, made: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    if is_same(&text) {
        return;
    }
    let whole = std::path::Path::new(name).extension().is_some_and(|extension| extension == "json");
    if whole && std::env::var_os("REWRITE").is_some() {
        std::fs::write(&path, made).expect("the page can be written");
        return;
    }
    panic!("{} differs from the code, which makes:\n{made}\n(REWRITE=1 writes openapi.json)", path.display());
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn operations() -> BTreeSet<(String, String)> {
        let api = openapi();
        let paths = api["paths"].as_object().expect("paths");
        let of_path = |(path, item): (&String, &serde_json::Value)| {
            let methods = item.as_object().expect("methods").keys().cloned().collect::<Vec<_>>();
            methods.into_iter().map(|method| (method.to_uppercase(), path.clone())).collect::<Vec<_>>()
        };
        paths.iter().flat_map(of_path).collect()
    }

    #[test]
    fn the_checked_in_description_is_what_the_handlers_say() {
        let made = format!("{}\n", serde_json::to_string_pretty(&openapi()).expect("plain data"));
        same_as_file("openapi.json", |text| text == made, &made);
    }

    #[test]
    fn every_reference_in_the_description_leads_somewhere() {
        let api = openapi();
        let text = api.to_string();
        for found in text.split("\"$ref\":\"#").skip(1) {
            let pointer = found.split('"').next().expect("a string");
            assert!(api.pointer(pointer).is_some(), "{pointer} leads nowhere");
        }
    }

    #[test]
    fn the_page_of_calls_names_every_call_and_no_other() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/rest.md");
        let page = std::fs::read_to_string(path).expect("docs/reference/rest.md is there");
        let named = |line: &str| {
            let (method, path) = line.strip_prefix("### `")?.split_once('`')?.0.split_once(' ')?;
            Some((method.to_owned(), path.to_owned()))
        };
        let named: BTreeSet<_> = page.lines().filter_map(named).collect();
        assert_eq!(named, operations());
    }
}
