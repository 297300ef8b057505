//! From settings to the options of a node or of a whole cluster.

use std::path::PathBuf;
use std::time::Duration;

use quorate_server::address::{is_wildcard, join, split};
use quorate_server::{DevOptions, ServeOptions};

use crate::settings::{SettingError, Settings, resolve};

/// The most nodes of one process: each has threads and a database.
const DEV_NODES_MAX: u16 = 9;

/// Reads and checks all settings before a port or a directory is touched.
pub(crate) fn options(settings: &Settings) -> Result<ServeOptions, SettingError> {
    let cluster = resolve(settings)?;
    let id = cluster.own.id.clone();
    let data_dir = settings.text("data_dir").map_or_else(|| default_data_dir(&id), PathBuf::from);
    let mut options = ServeOptions::new(id, data_dir);
    bind_host(settings).clone_into(&mut options.host);
    options.port = cluster.own.port;
    options.api_port = settings.number("api_port")?.unwrap_or(8000);
    if options.port == options.api_port && options.port != 0 {
        let detail = format!("peers connect to port {} already; give two different ports", options.port);
        return Err(settings.wrong("api_port", &detail));
    }
    if !settings.list("cluster").is_empty() {
        options.cluster = cluster.entries;
    }
    settings.text("cluster_token").unwrap_or_default().clone_into(&mut options.cluster_token);
    options.advertise = advertised(settings, "advertise")?;
    options.api_advertise = advertised(settings, "api_advertise")?;
    options.config = settings.tuning()?;
    options.api.call_timeout = Duration::from_millis(options.config.live.call_timeout_ms);
    Ok(options)
}

/// Where a node keeps its data by default.
pub(crate) fn default_data_dir(id: &str) -> PathBuf {
    PathBuf::from("quorate-data").join(id)
}

/// `*` is every interface, by IPv4 only; `::` binds both families where the system does.
fn bind_host(settings: &Settings) -> &str {
    match settings.text("host") {
        Some("*") => "0.0.0.0",
        Some(host) => host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host),
        None => "localhost",
    }
}

fn advertised(settings: &Settings, key: &str) -> Result<Option<String>, SettingError> {
    let Some(text) = settings.text(key) else { return Ok(None) };
    let (host, port) = split(text).map_err(|error| settings.wrong(key, &error.to_string()))?;
    if is_wildcard(&host) || port == 0 {
        return Err(settings.wrong(key, "that cannot be dialled; name a host and a port"));
    }
    Ok(Some(join(&host, port)))
}

pub(crate) fn dev_options(settings: &Settings) -> Result<DevOptions, SettingError> {
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
