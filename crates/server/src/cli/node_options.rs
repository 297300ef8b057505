//! From settings to the options of a node or of a whole cluster.

use std::path::PathBuf;
use std::time::Duration;

use quorate_server::address::{is_loopback, is_wildcard, join, split};
use quorate_server::descriptors::{places, raise_file_limit};
use quorate_server::{ApiOptions, DevOptions, Listed, ServeOptions};
use tracing_subscriber::EnvFilter;

use super::exit::Failure;
use crate::settings::{SettingError, Settings, resolve};

/// What a node is started with, with as many connections as the limit of open files leaves it.
pub(crate) fn options(settings: &Settings) -> Result<ServeOptions, Failure> {
    let mut options = checked_options(settings)?;
    limit(1, &mut options.api, &mut options.raft_connections_max)?;
    Ok(options)
}

/// Raises the limit of open files, and takes from it what is left for connections.
fn limit(nodes: u16, api: &mut ApiOptions, raft_connections_max: &mut usize) -> Result<(), Failure> {
    let places = places(raise_file_limit(), nodes).map_err(|error| Failure::failed(error.to_string()))?;
    api.connections_max = api.connections_max.min(places.api);
    *raft_connections_max = places.raft.min(*raft_connections_max);
    Ok(())
}

/// Reads and checks all settings before a port or a directory is touched.
pub(crate) fn checked_options(settings: &Settings) -> Result<ServeOptions, SettingError> {
    let cluster = resolve(settings)?;
    let id = cluster.own.id.clone();
    let data_dir = settings.text("data_dir").map_or_else(|| default_data_dir(&id), PathBuf::from);
    let mut options = ServeOptions::new(id, data_dir);
    bind_host(settings).clone_into(&mut options.host);
    options.port = cluster.port;
    // That of an entry is no choice either: once it is founded, the list founds nothing more.
    // One that joins tells the members where it listens, and not the other way round.
    options.port_as_founded = !settings.is_given("port") && !settings.is_given("join");
    options.api_port = settings.number("api_port")?.unwrap_or(8000);
    if options.port == options.api_port && options.port != 0 {
        let detail = format!("peers connect to port {} already; give two different ports", options.port);
        return Err(settings.wrong("api_port", &detail));
    }
    if !settings.list("cluster").is_empty() {
        options.cluster = cluster.entries;
    }
    options.join = settings.list("join");
    options.learner = settings.switch("learner");
    settings.text("cluster_token").unwrap_or_default().clone_into(&mut options.cluster_token);
    options.advertise = advertised(settings, "advertise")?;
    let listed = options.cluster.iter().find(|entry| entry.id == options.id).map(Listed::address);
    if let (Some(advertise), Some(listed)) = (&options.advertise, listed)
        && *advertise != listed
    {
        let detail = format!(
            "the cluster list has {listed} for {}, and all nodes dial what the list says: give both the same. Behind address \
             translation that is the outside address, and --host and --port say what is bound",
            options.id
        );
        return Err(settings.wrong("advertise", &detail));
    }
    options.api_advertise = advertised(settings, "api_advertise")?;
    options.config = settings.tuning()?;
    options.api = api_options(settings, &options.config)?;
    options.api.actions = settings.switch("ui_actions");
    options.api.drain_delay = settings.span("drain_delay").unwrap_or_default();
    log_filter(settings, None)?;
    Ok(options)
}

fn api_options(settings: &Settings, config: &quorate::Config) -> Result<ApiOptions, SettingError> {
    let call_timeout = Duration::from_millis(config.live.call_timeout_ms);
    let allowed_hosts = settings.list("allowed_hosts");
    if let Some(name) = allowed_hosts.iter().find(|name| name.contains([':', '/'])) {
        let detail = format!("{name:?}: give the name alone, without http:// and without a port");
        return Err(settings.wrong("allowed_hosts", &detail));
    }
    let usual = ApiOptions::default();
    let idle_timeout = settings.span("idle_timeout").unwrap_or(usual.idle_timeout);
    Ok(ApiOptions { call_timeout, idle_timeout, allowed_hosts, ..usual })
}

/// Which messages are logged; `otherwise` if nothing is said about it.
pub(crate) fn log_filter(settings: &Settings, otherwise: Option<&str>) -> Result<EnvFilter, SettingError> {
    let otherwise = otherwise.filter(|_| !settings.is_given("log"));
    let filter = otherwise.or_else(|| settings.text("log")).unwrap_or_default();
    EnvFilter::try_new(filter).map_err(|error| settings.wrong("log", &error.to_string()))
}

/// What is allowed, and probably not meant.
pub(crate) fn doubts(options: &ServeOptions) -> Vec<String> {
    let own = options.cluster.iter().find(|entry| entry.id == options.id);
    let hidden = own.filter(|own| {
        // Given, it says that the way there is known.
        options.advertise.is_none() && is_loopback(&options.host) && !is_loopback(&own.host)
    });
    let say = |own: &Listed| {
        format!(
            "{own} is listed, but host is {:?}: only this machine can connect; give --host 0.0.0.0, or the address of the \
             interface",
            options.host
        )
    };
    let of_another = own.and_then(|own| {
        let mut others = options.cluster.iter().filter(|entry| entry.id != own.id);
        others.find(|entry| entry.host.eq_ignore_ascii_case(&own.host) && entry.port == options.api_port)
    });
    let taken = |entry: &Listed| {
        format!(
            "the API is to listen at port {}, where peers connect to {entry}, on the same host; give another --api-port",
            entry.port
        )
    };
    let joins_afar = options.advertise.is_none() && is_loopback(&options.host);
    let afar = options.join.iter().find(|address| split(address).is_ok_and(|(host, _)| !is_loopback(&host)));
    let joiner = afar.filter(|_| joins_afar).map(|afar| {
        format!(
            "this node joins by {afar}, but host is {:?}, and the members are told to dial it there: only this machine can; give --host \
             with the address of the interface, or --advertise",
            options.host
        )
    });
    hidden.map(say).into_iter().chain(joiner).chain(of_another.map(taken)).collect()
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

/// The same for a whole cluster.
pub(crate) fn dev_options(settings: &Settings) -> Result<DevOptions, Failure> {
    let mut options = checked_dev_options(settings)?;
    limit(options.nodes, &mut options.api, &mut options.raft_connections_max)?;
    Ok(options)
}

fn checked_dev_options(settings: &Settings) -> Result<DevOptions, SettingError> {
    let nodes: u16 = settings.number("nodes")?.unwrap_or(3);
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
    let config = settings.tuning()?;
    log_filter(settings, None)?;
    Ok(DevOptions {
        nodes,
        host: bind_host(settings).to_owned(),
        port,
        api_port,
        data_dir: settings.text("data_dir").map(PathBuf::from),
        api: ApiOptions { actions: true, ..api_options(settings, &config)? },
        config,
        ..DevOptions::default()
    })
}

#[cfg(test)]
mod tests {
    use clap::{Arg, Command};

    use super::*;
    use crate::settings::{Place, flags};

    #[test]
    fn the_port_of_an_entry_founds_and_one_that_is_given_holds() {
        let founded = |arguments: &[&str]| {
            let command = Command::new("serve").no_binary_name(true).arg(Arg::new("config").long("config"));
            let matches = command.args(flags(Place::Serve)).get_matches_from(arguments);
            let options = checked_options(&Settings::gather(&matches).expect("gathered")).expect("valid");
            (options.port, options.port_as_founded)
        };
        assert_eq!(founded(&[]), (7_000, true));
        assert_eq!(founded(&["--port=7001"]), (7_001, false));
        assert_eq!(founded(&["--cluster=localhost:7009"]), (7_009, true));
        assert_eq!(founded(&["--cluster=localhost:7009", "--port=7009"]), (7_009, false));
    }
}
