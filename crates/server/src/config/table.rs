//! Everything that can be set, once.

use std::sync::LazyLock;

use super::kind::Kind;

/// Which commands read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// All commands.
    Any,
    /// Commands that talk to a cluster.
    Client,
    /// `serve`, and `dev` where it has the flag.
    Server,
    /// `serve` and `dev`, by `--set KEY=VALUE`; the section of the file and of `quorate::Config`.
    Tuning(&'static str),
}

/// One setting.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    /// Its key in the file; the variable and the flag follow from it.
    pub(crate) key: &'static str,
    /// Who reads it.
    pub(crate) side: Side,
    /// What it may be.
    pub(crate) kind: Kind,
    /// What it is if nobody says.
    pub(crate) default: Option<String>,
    /// What it does.
    pub(crate) about: &'static str,
}

/// Formats of output.
pub(crate) const FORMATS: &[&str] = &["table", "json", "jsonl", "plain"];

/// The table.
pub(crate) static SETTINGS: LazyLock<Vec<Setting>> = LazyLock::new(|| {
    let mut settings: Vec<Setting> = COMMON.iter().map(row).collect();
    settings.extend(tuning());
    settings
});

type Row = (&'static str, Side, Kind, Option<&'static str>, &'static str);

fn row((key, side, kind, default, about): &Row) -> Setting {
    Setting { key, side: *side, kind: *kind, default: default.map(str::to_owned), about }
}

const COMMON: &[Row] = &[
    ("config", Side::Any, Kind::Text, None, "The TOML file with settings. No file is read unless named."),
    (
        "endpoints",
        Side::Client,
        Kind::List,
        Some("http://localhost:8000"),
        "REST addresses of the cluster, tried in turn while nothing was sent.",
    ),
    ("output", Side::Client, Kind::OneOf(FORMATS), Some("table"), "How data is printed."),
    ("timeout", Side::Client, Kind::Span, Some("5s"), "How long a command may take."),
    ("quiet", Side::Client, Kind::Switch, Some("false"), "No messages but errors."),
    ("id", Side::Server, Kind::Text, Some("node0"), "This node: selects its entry of the cluster list."),
    (
        "host",
        Side::Server,
        Kind::Text,
        Some("localhost"),
        "Name or interface to bind for both ports; may be a wildcard. localhost means all its addresses.",
    ),
    (
        "port",
        Side::Server,
        Kind::Port,
        None,
        "Port for the other nodes. That of this node's entry if not given, or 7000.",
    ),
    (
        "cluster",
        Side::Server,
        Kind::List,
        None,
        "The initial nodes: id=host:port, or host:port, then named node0, node1, ... in order. Read at the first start only.",
    ),
    ("cluster_token", Side::Server, Kind::Text, Some(""), "Keeps apart clusters with the same list."),
    (
        "advertise",
        Side::Server,
        Kind::Text,
        None,
        "host:port other nodes dial. This node's entry if not given.",
    ),
    ("api_port", Side::Server, Kind::Port, Some("8000"), "Port for REST and the dashboard."),
    (
        "api_advertise",
        Side::Server,
        Kind::Text,
        None,
        "host:port told to clients. The host of `advertise` with `api_port` if not given.",
    ),
    (
        "data_dir",
        Side::Server,
        Kind::Text,
        None,
        "Where this node keeps its data. quorate-data/<id> if not given; for `dev`, a temporary directory.",
    ),
    (
        "log",
        Side::Server,
        Kind::Text,
        Some("info,fjall=warn,lsm_tree=warn"),
        "Which messages are logged, in the words of tracing's EnvFilter; `dev` logs warnings only if not given.",
    ),
    ("log_format", Side::Server, Kind::OneOf(&["text", "json"]), Some("text"), "How messages are logged."),
    ("nodes", Side::Server, Kind::Number, Some("3"), "Nodes of `dev`."),
];

/// What each setting of `quorate::Config` does. A test holds this list against the struct.
const TUNING: &[(&str, &str, &str)] = &[
    (
        "cluster",
        "election_timeout_ms",
        "A follower that hears nothing stands after one to two times this. The same on every node.",
    ),
    (
        "cluster",
        "clock_drift_ppm_max",
        "By how much two nodes' clocks may differ in rate, in parts per million. The same on every node.",
    ),
    (
        "node",
        "heartbeat_interval_ms",
        "How often an idle leader says that it leads; at most a third of the election timeout.",
    ),
    (
        "node",
        "persist_stall_ms_max",
        "A leader whose disk has kept a write waiting this long gives leadership away.",
    ),
    (
        "node",
        "store_silence_ms_max",
        "A disk that is silent for this long counts as failed and stops the node.",
    ),
    ("node", "append_entries_max", "Entries in one message to a peer, at most."),
    ("node", "append_bytes_max", "Bytes of entries in one message to a peer, at most."),
    ("node", "window_messages_max", "Unacknowledged messages to one peer, at most."),
    ("node", "window_bytes_max", "Unacknowledged bytes to one peer, at most."),
    ("node", "tail_bytes_max", "Bytes of entries a replica keeps in memory beyond what it needs."),
    ("node", "uncommitted_bytes_max", "Bytes appended and not committed above which a leader answers busy."),
    ("node", "command_bytes_max", "The largest command, in bytes of MessagePack."),
    (
        "node",
        "machine_restarts_max",
        "Restarts of the state machine at the same entry before the replica counts as faulted.",
    ),
    ("live", "proposals_max", "Proposals that may be under way from this node."),
    ("live", "queries_max", "Queries that may be under way from this node."),
    (
        "live",
        "call_timeout_ms",
        "How long a proposal or query waits for its answer if the caller names no deadline.",
    ),
];

/// The settings of `quorate::Config` with its defaults. A field it has and [`TUNING`] lacks shows up without words, so
/// that it can be set all the same.
fn tuning() -> Vec<Setting> {
    let defaults = serde_json::to_value(quorate::Config::default()).expect("a struct of numbers");
    let mut settings = Vec::new();
    for section in ["cluster", "node", "live"] {
        for (key, default) in defaults[section].as_object().into_iter().flatten() {
            let about = TUNING.iter().find(|(of, name, _)| *of == section && name == key);
            // Once per process, for a table that lives as long as the process.
            let key: &'static str = about.map_or_else(|| &*key.clone().leak(), |(_, name, _)| name);
            let about = about.map_or("", |(_, _, about)| about);
            let (side, kind) = (Side::Tuning(section), Kind::Number);
            settings.push(Setting { key, side, kind, default: Some(default.to_string()), about });
        }
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_explained_once() {
        let mut seen = std::collections::BTreeSet::new();
        for setting in SETTINGS.iter() {
            assert!(!setting.about.is_empty(), "{} has no words in the table", setting.key);
            assert!(seen.insert(setting.key), "{} is there twice", setting.key);
        }
        for (_, key, _) in TUNING {
            assert!(seen.contains(key), "{key} is not a setting of quorate::Config any more");
        }
    }
}
