//! `quorate serve` and `quorate dev`: from settings to a running node, and from how it ended to an exit code.

use std::io::IsTerminal;
use std::path::PathBuf;

use quorate::NodeFailure;
use quorate::store::{DiskError, FailureKind, OpenError};
use quorate_server::{DevOptions, Ended, Listed, ServeError, ServeOptions};
use serde_json::json;
use tracing_subscriber::EnvFilter;

use super::Context;
use super::arguments::{Dev, Serve};
use super::exit::{Exit, Failure};
use super::output::Rows;
use crate::config::Settings;
use crate::config::cluster::{Entry, address, is_wildcard, resolve, split_address};

/// Nodes of one process, at most: each has threads and a database.
const DEV_NODES_MAX: u16 = 9;

/// Runs a node until it ends.
pub(crate) fn serve(context: &Context, _: &Serve) -> Result<(), Failure> {
    let options = options(&context.settings)?;
    start_log(&context.settings, None)?;
    let (id, data_dir) = (options.id.clone(), options.data_dir.clone());
    let (host, port, api_port) = (options.host.clone(), options.port, options.api_port);
    run(async {
        let running = quorate_server::serve(options)
            .await
            .map_err(|error| not_served(&error, &host, port, api_port))?;
        let record = json!({
            "id": id,
            "api": format!("http://{}", address(&shown(&host), running.api_addr().port())),
            "raft": address(&shown(&host), running.raft_addr().port()),
            "data_dir": data_dir,
        });
        context.output.record(vec!["id", "api", "raft", "data_dir"], &record)?;
        ended(running.until_signal().await)
    })
}

/// Runs a cluster until it ends.
pub(crate) fn dev(context: &Context, _: &Dev) -> Result<(), Failure> {
    let options = dev_options(&context.settings)?;
    // Nodes that start one after the other miss each other at first: that is no news here.
    start_log(&context.settings, Some("warn,quorate_bridge=error"))?;
    let (host, port, api_port) = (options.host.clone(), options.port, options.api_port);
    run(async {
        let running =
            quorate_server::dev(options).await.map_err(|error| not_served(&error, &host, port, api_port))?;
        let row = |node: &quorate_server::Running| {
            json!({
                "id": node.node().id(),
                "api": format!("http://{}", address(&shown(&host), node.api_addr().port())),
                "raft": address(&shown(&host), node.raft_addr().port()),
            })
        };
        let rows: Vec<_> = running.nodes().iter().map(row).collect();
        let first = rows.first().and_then(|row| row["api"].as_str()).unwrap_or_default().to_owned();
        context.output.rows(&Rows { columns: vec!["id", "api", "raft"], rows }, None)?;
        let data_dir = running.data_dir().display();
        context.output.say(&format!(
            "Cluster of {} nodes in this process; data in {data_dir}. Dashboard and API: {first}\n\
             In another terminal: quorate kv put greeting hello, then quorate status. Ctrl-C ends it.",
            running.nodes().len()
        ));
        ended(running.until_signal().await)
    })
}

/// What a client on this machine dials when this is bound.
fn shown(host: &str) -> String {
    if is_wildcard(host) { "localhost".to_owned() } else { host.to_owned() }
}

/// Runs to the end, and does not wait for threads that will not: a second signal ends the process.
fn run(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start: {error}")))?;
    let ended = runtime.block_on(work);
    runtime.shutdown_background();
    ended
}

/// Reads and checks everything that can be wrong before a port or a directory is touched.
pub(crate) fn options(settings: &Settings) -> Result<ServeOptions, Failure> {
    let cluster = resolve(settings)?;
    let id = cluster.own.id.clone();
    let data_dir = settings.text("data_dir").map_or_else(|| default_data_dir(&id), PathBuf::from);
    let mut options = ServeOptions::new(id, data_dir);
    bind_host(settings).clone_into(&mut options.host);
    options.port = cluster.own.port;
    options.api_port = settings.number("api_port")?.unwrap_or(8000);
    if options.port == options.api_port && options.port != 0 {
        let detail = format!("peers are heard at port {} already; give two different ports", options.port);
        return Err(settings.wrong("api_port", &detail));
    }
    if !settings.list("cluster").is_empty() {
        let listed = |Entry { id, host, port }| Listed { id, host, port };
        options.cluster = cluster.entries.into_iter().map(listed).collect();
    }
    settings.text("cluster_token").unwrap_or_default().clone_into(&mut options.cluster_token);
    options.advertise = advertised(settings, "advertise")?;
    options.api_advertise = advertised(settings, "api_advertise")?;
    options.config = settings.tuning()?;
    options.api.call_timeout = std::time::Duration::from_millis(options.config.live.call_timeout_ms);
    Ok(options)
}

/// Where a node keeps its data if nobody says.
pub(crate) fn default_data_dir(id: &str) -> PathBuf {
    PathBuf::from("quorate-data").join(id)
}

/// `*` is written in no other tool than ours: every interface, by IPv4 and, where there is any, IPv6.
fn bind_host(settings: &Settings) -> &str {
    match settings.text("host") {
        Some("*") => "0.0.0.0",
        Some(host) => host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host),
        None => "localhost",
    }
}

fn advertised(settings: &Settings, key: &str) -> Result<Option<String>, Failure> {
    let Some(text) = settings.text(key) else { return Ok(None) };
    let (host, port) = split_address(text).map_err(|error| settings.wrong(key, &error))?;
    if is_wildcard(&host) || port == 0 {
        return Err(settings.wrong(key, "nobody can dial that; name a host and a port"));
    }
    Ok(Some(address(&host, port)))
}

fn dev_options(settings: &Settings) -> Result<DevOptions, Failure> {
    let nodes: u16 = settings.number("nodes")?.unwrap_or(3);
    if !(1..=DEV_NODES_MAX).contains(&nodes) {
        return Err(
            settings.wrong("nodes", &format!("a cluster in one process has 1 to {DEV_NODES_MAX} nodes"))
        );
    }
    let port: u16 = settings.number("port")?.unwrap_or(7000);
    let api_port: u16 = settings.number("api_port")?.unwrap_or(8000);
    for (key, first) in [("port", port), ("api_port", api_port)] {
        if first.checked_add(nodes - 1).is_none() {
            return Err(settings.wrong(key, &format!("{nodes} ports from {first} on would pass 65535")));
        }
    }
    let overlap = port != 0 && api_port != 0 && port.abs_diff(api_port) < nodes;
    if overlap {
        let detail =
            format!("{nodes} ports from here on overlap those from {port} on; leave room for each node");
        return Err(settings.wrong("api_port", &detail));
    }
    Ok(DevOptions {
        nodes,
        host: bind_host(settings).to_owned(),
        port,
        api_port,
        data_dir: settings.text("data_dir").map(PathBuf::from),
        config: settings.tuning()?,
    })
}

/// Logs to standard error; colours only for a terminal.
fn start_log(settings: &Settings, otherwise: Option<&str>) -> Result<(), Failure> {
    let otherwise = otherwise.filter(|_| !settings.is_given("log"));
    let filter = otherwise.or_else(|| settings.text("log")).unwrap_or_default();
    let filter = EnvFilter::try_new(filter).map_err(|error| settings.wrong("log", &error.to_string()))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = if settings.text("log_format") == Some("json") {
        builder.json().try_init()
    } else {
        builder.with_ansi(std::io::stderr().is_terminal()).try_init()
    };
    started.map_err(|error| Failure::failed(format!("cannot log: {error}")))
}

fn ended(ended: Ended) -> Result<(), Failure> {
    match ended {
        Ended::Stopped => Ok(()),
        Ended::Forced => Err(Failure::new(Exit::Interrupted, "ended at once by a second signal")),
        Ended::Failed(failure) => {
            let full = matches!(failure, NodeFailure::Store { kind: FailureKind::DiskFull, .. });
            Err(Failure::new(if full { Exit::DiskFull } else { Exit::Failed }, failure.to_string()))
        }
    }
}

/// The mistake with its remedy.
fn not_served(error: &ServeError, host: &str, port: u16, api_port: u16) -> Failure {
    let mut message = causes(error);
    let mut exit = Exit::Failed;
    match error {
        ServeError::Start(quorate::StartError::Disk(error)) => exit = of_disk(error, &mut message),
        ServeError::Start(quorate::StartError::Open(OpenError::Disk(error))) => {
            exit = of_disk(error, &mut message);
        }
        ServeError::NotListed { .. }
        | ServeError::Advertise { .. }
        | ServeError::Start(
            quorate::StartError::Name(_)
            | quorate::StartError::Config(_)
            | quorate::StartError::NotListening { .. }
            | quorate::StartError::Twice { .. }
            | quorate::StartError::Address { .. },
        ) => exit = Exit::Usage,
        ServeError::DataDir { path, .. } => {
            message = format!("{message}; make {} writable, or give another --data-dir", path.display());
        }
        _ => {}
    }
    if message.contains("in use") && message.contains("os error") {
        let api = matches!(error, ServeError::Api { .. });
        let (flag, port) = if api { ("--api-port", api_port) } else { ("--port", port) };
        let at = address(host, port);
        message = format!(
            "{message}; another process listens at {at}, perhaps an earlier quorate: end it, or give another {flag}"
        );
    }
    Failure::new(exit, message)
}

fn of_disk(error: &DiskError, message: &mut String) -> Exit {
    match error {
        DiskError::Full { .. } => Exit::DiskFull,
        DiskError::Io { source, .. } => {
            if source.kind() == std::io::ErrorKind::StorageFull {
                return Exit::DiskFull;
            }
            message.push_str("; check who owns the directory, or give another --data-dir");
            Exit::Failed
        }
        _ => Exit::Failed,
    }
}

/// An error and what is behind it, each said once.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        source = cause.source();
    }
    text
}
