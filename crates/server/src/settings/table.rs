//! Everything that can be set: each setting has one row, from which its flags, its variable, its key in the file, its line
//! in docs/reference/config.md and its line of `config print` are made.

use std::sync::LazyLock;

use quorate::SettingRange;

use super::types::SettingType::{self, List, Number, OneOf, Port, Span, Switch, Text, Word};

/// The commands that read a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// All commands.
    Any,
    /// Commands that talk to a cluster.
    Client,
    /// `serve`, and `dev` where it has the flag.
    Server,
    /// `serve` and `dev`, by `--set KEY=VALUE`; the section of the file and of `quorate::Config`.
    Tuning(&'static str),
}

/// The commands that have a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// All commands.
    Global,
    /// `serve`, `config check` and `config print`.
    Serve,
    Dev,
    /// `log inspect` and `log verify`.
    Log,
}

/// A flag that is a setting.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flag {
    pub(crate) places: &'static [Place],
    /// The placeholder of its value in the help.
    pub(crate) value_name: &'static str,
    /// A second paragraph is shown by `--help` and not by `-h`.
    pub(crate) help: &'static str,
}

/// One setting.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    /// Its key in the file; the name of its flag has hyphens in place of underscores.
    pub(crate) key: &'static str,
    pub(crate) scope: Scope,
    pub(crate) form: SettingType,
    pub(crate) default: Option<String>,
    /// For docs/reference/config.md.
    pub(crate) about: &'static str,
    pub(crate) flags: &'static [Flag],
}

impl Setting {
    /// `QUORATE_API_PORT` for `api_port`.
    pub(crate) fn variable(&self) -> String {
        format!("QUORATE_{}", self.key.to_ascii_uppercase())
    }

    /// The key with the section of the file before it.
    pub(crate) fn path(&self) -> String {
        match self.scope {
            Scope::Tuning(section) => format!("tuning.{section}.{}", self.key),
            Scope::Any | Scope::Client | Scope::Server => self.key.to_owned(),
        }
    }

    pub(crate) fn is_tuning(&self) -> bool {
        matches!(self.scope, Scope::Tuning(_))
    }
}

/// The most nodes of one process: each has threads and a database.
const DEV_NODES_MAX: u64 = 9;

/// Formats of output.
const FORMATS: &[&str] = &["table", "json", "jsonl", "plain"];

/// Key, scope, type, default, line of config.md; then its flags, each with its places, placeholder and help.
macro_rules! rows {
    ($($key:ident $scope:ident $form:expr, $default:expr, $about:literal
        $([$($place:ident)+: $value_name:literal $help:literal])*;)+
    ) => {
        [$(Setting {
            key: stringify!($key),
            scope: Scope::$scope,
            form: $form,
            default: Option::<&str>::from($default).map(str::to_owned),
            about: $about,
            flags: &[$(Flag { places: &[$(Place::$place),+], value_name: $value_name, help: $help }),*],
        }),+]
    };
}

/// The table.
pub(crate) static SETTINGS: LazyLock<Vec<Setting>> = LazyLock::new(|| {
    let rows = rows! {
        config Any Word, None, "The TOML file with settings. No file is read unless named."
            [Global: "FILE" "The TOML file with settings"];
        endpoints Client List, "http://localhost:8000",
            "REST addresses of the cluster. A read asks the next one when the one before has failed or is slow; a write goes to the first that is reached, and to another only if it was refused."
            [Global: "URL,..." "REST addresses of the cluster, between commas; one that is slow or down does not hold up the others"];
        output Client OneOf(FORMATS), "table",
            "How data is printed. In `plain` a value that is no text is `\\base64:` and its base64; in a text a backslash is doubled."
            [Global: "FORMAT" "How data is printed: table, json, jsonl or plain"];
        timeout Client Span { min_ms: 1 }, "5s", "How long a command may take."
            [Global: "TIME" "How long a command may take, as 5s or 300ms"];
        quiet Client Switch, "false", "No messages but errors."
            [Global: "" "No messages but errors"];
        id Server Word, "node0", "This node: selects its entry of the cluster list."
            [Serve: "ID" "This node: selects its entry of --cluster [default: node0]"]
            [Log: "ID" "The node, if its directory is the default one"];
        host Server Word, "localhost",
            "Name or interface to bind for both ports; may be a wildcard. localhost means all its addresses."
            [Serve: "HOST" "Name or interface to bind for both ports; may be a wildcard [default: localhost, all its addresses]"]
            [Dev: "HOST" "Name or interface to bind [default: localhost]"];
        port Server Port, None, "Port for the other nodes. If not given, that of the membership in its directory once it was founded, before that of this node's entry, or 7000. One that the other members do not dial is refused."
            [Serve: "PORT" "Port for the other nodes [default: that of the entry, or of the membership, or 7000]"]
            [Dev: "PORT" "The first node's port for the others; the next nodes take the next ones [default: 7000]"];
        cluster Server List, None,
            "The initial nodes: id=host:port, or host:port, then named node0, node1, ... in order. Needed until the cluster has a leader; \
             afterwards its replicated membership is the truth, and the list may be left out."
            [Serve: "NODE,..." "The initial nodes: id=host:port, or host:port, then named node0, node1, ... in order\n\n\
                Needed until the cluster has a leader: each node must be reached once before that. Afterwards the replicated \
                membership is the truth; the list may be left out, and one that differs is warned of and not used."];
        join Server List, None,
            "host:port of nodes of a cluster that this node is to join, in place of `cluster`. It is taken in as a learner and becomes a \
             voter once it has caught up; under the id of a member it waits for `member replace`. One that is a member already may keep it."
            [Serve: "HOST:PORT,..." "Nodes of a cluster that this one is to join, in place of --cluster\n\n\
                It is taken in as a learner and becomes a voter once it has caught up. Under the id of a member whose disk is lost it \
                waits until `quorate member replace` takes it in. A start with an empty data directory fails if none of the nodes \
                answers within 30 s. One that is a member already may keep the flag: it then tells the cluster where it is."];
        learner Server Switch, "false", "A node that joins stays a learner, which has no vote, until it is promoted by command."
            [Serve: "" "Stay a learner after joining, until promoted by `quorate member promote`"];
        cluster_token Server Text, "", "Keeps apart clusters with the same list."
            [Serve: "TEXT" "Keeps apart clusters with the same list"];
        advertise Server Word, None, "host:port other nodes dial: this node's entry, or of one that joins, `host` and `port`. Given, it says that address translation or a proxy leads from there to `host` and `port`, which may differ then."
            [Serve: "HOST:PORT" "What other nodes dial: this node's entry. Given, --host and --port may differ from it"];
        api_port Server Port, "8000", "Port for the REST API."
            [Serve: "PORT" "Port for the REST API [default: 8000]"]
            [Dev: "PORT" "The first node's port for REST; the next nodes take the next ones [default: 8000]"];
        api_advertise Server Word, None, "host:port told to clients. The host of `advertise` with `api_port` if not given."
            [Serve: "HOST:PORT" "What clients are told to dial [default: the host of the entry with --api-port]"];
        allowed_hosts Server List, None,
            "Names by which clients reach the API beside those the node knows itself, as that of a load balancer. `*`: any name."
            [Serve Dev: "NAME,..." "Names by which clients reach the API beside its own, as that of a load balancer\n\n\
                A request that changes something, or comes from a web page, is refused if its Host header is not an IP \
                address, localhost, the name of this machine, or a name in --host, --cluster, --advertise, --api-advertise or \
                this list. * allows any name, and with it a web page whose name was made to point at this node."];
        ui_actions Server Switch, "false",
            "Allows actors to be stopped by `actors stop` and `POST /v1/actors/{name}:stop`, and the node to be drained from other machines; `dev` always does."
            [Serve: "" "Allow actors to be stopped by `actors stop`, and `drain` from other machines [dev: always]"];
        drain_delay Server Span { min_ms: 0 }, "0s",
            "How long the API goes on while `/readyz` says 503, after SIGTERM or a drain and before the node ends, so that load balancers see it."
            [Serve: "TIME" "How long the API goes on after SIGTERM or a drain while /readyz says 503, as 5s [default: 0s]"];
        idle_timeout Server Span { min_ms: 1 }, "90s",
            "How long a client's connection to the API is kept while no request arrives on it; longer than its pool keeps it."
            [Serve Dev: "TIME" "How long a client's idle connection to the API is kept [default: 90s]"];
        data_dir Server Word, None,
            "Where this node keeps its data. quorate-data/<id> if not given; for `dev`, a temporary directory."
            [Serve: "DIR" "Where this node keeps its data [default: quorate-data/<id>]"]
            [Dev: "DIR" "Keep the data here [default: a temporary directory, deleted at the end]"]
            [Log: "DIR" "The node's data directory [default: quorate-data/<id>]"];
        log Server Word, "info,fjall=warn,lsm_tree=warn",
            "Which messages are logged, in the words of tracing's EnvFilter; `dev` logs warnings only if not given."
            [Serve Dev: "FILTER" "Which messages are logged [default: info for serve, warn for dev]"];
        log_format Server OneOf(&["text", "json"]), "text", "How messages are logged."
            [Serve Dev: "FORMAT" "How messages are logged: text or json"];
        nodes Server Number { min: 1, max: DEV_NODES_MAX }, "3", "Nodes of `dev`."
            [Dev: "NUMBER" "How many nodes [default: 3]"];
    };
    rows.into_iter().chain(tuning()).collect()
});

/// Pairs of a name and a text.
macro_rules! pairs {
    ($($key:ident $about:literal;)+) => { &[$((stringify!($key), $about)),+] };
}

/// What each setting of `quorate::Config` does. A test holds this list against the struct.
const TUNING: &[(&str, &str)] = pairs! {
    election_timeout_ms "A follower that hears nothing starts an election after one to two times this. The same on every node.";
    clock_drift_ppm_max
        "By how much two nodes' clocks may differ in rate, in parts per million. The same on every node.";
    heartbeat_interval_ms "How often an idle leader says that it leads; at most a third of the election timeout.";
    persist_stall_ms_max "A leader whose disk has kept a write waiting this long gives leadership away.";
    store_silence_ms_max "A disk that is silent for this long counts as failed and stops the node; until then nothing is acknowledged.";
    disk_reserve_bytes "Bytes that must stay free on the disk: below that, or below twice the log if that is more, the node takes no entries. 0: 256 MiB, or a quarter of a volume smaller than 1 GiB.";
    append_entries_max "Entries in one message to a peer, at most.";
    append_bytes_max "Bytes of entries in one message to a peer, at most.";
    window_messages_max "Unacknowledged messages to one peer, at most.";
    window_bytes_max "Unacknowledged bytes to one peer, at most.";
    tail_bytes_max "Bytes of entries a replica keeps in memory beyond what it needs.";
    uncommitted_bytes_max "Bytes appended and not committed above which a leader answers busy.";
    command_bytes_max "The largest command that this node takes as the leader or from its own callers, in bytes of MessagePack.";
    apply_threads "Threads on which state machines run; 0: as many as there are cores, but two at least and four at most.";
    snapshot_log_bytes "A snapshot is taken after so many bytes of entries, or as many as the last one has if that is more. A log holds at most twice that. 0: none.";
    snapshot_log_entries "A snapshot is also taken after so many entries, unless they are less than a quarter of the last one in bytes. 0: none.";
    snapshot_fetch_bytes_per_s "Bytes in a second that fetching a snapshot from another node may take of the link.";
    machine_restarts_max "Restarts of the state machine at the same entry before the replica counts as faulted.";
    proposals_max "Proposals that may be under way from this node.";
    queries_max "Linearizable queries that may be under way from this node, and as many stale ones beside them.";
    call_timeout_ms "How long a proposal or query waits for its answer if the caller names no deadline.";
};

/// The settings of `quorate::Config`, with its defaults. A field that [`TUNING`] lacks can be set all the same.
fn tuning() -> Vec<Setting> {
    let defaults = serde_json::to_value(quorate::Config::default()).expect("a struct of numbers");
    let mut settings = Vec::new();
    for section in ["cluster", "node", "live"] {
        for (key, default) in defaults[section].as_object().into_iter().flatten() {
            let about = TUNING.iter().find(|(name, _)| name == key);
            // Once per process, for a table that lives as long as the process.
            let (key, about) = about.copied().unwrap_or_else(|| (&*key.clone().leak(), ""));
            // A test of the library holds its ranges against its settings.
            let range = SettingRange::of(key).expect("a range for each setting");
            let form = Number { min: range.min, max: range.max };
            let (scope, default) = (Scope::Tuning(section), Some(default.to_string()));
            settings.push(Setting { key, scope, form, default, about, flags: &[] });
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
        for (key, _) in TUNING {
            assert!(seen.contains(key), "{key} is not a setting of quorate::Config any more");
        }
    }
}
