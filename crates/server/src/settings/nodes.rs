//! The list of nodes: which nodes are in it, and which of them this one is.

use std::net::{IpAddr, ToSocketAddrs};

use quorate::NodeId;
use quorate_server::Listed;
use quorate_server::address::{is_wildcard, split};

use super::error::SettingError;
use super::gather::Settings;

/// Reads the list. Every id and every address once.
pub(crate) fn parse(items: &[String]) -> Result<Vec<Listed>, String> {
    let mut entries: Vec<Listed> = Vec::new();
    for (at, item) in items.iter().enumerate() {
        let (id, rest) = match item.split_once('=') {
            Some((id, rest)) => (id.trim().to_owned(), rest.trim()),
            None => (format!("node{at}"), item.as_str()),
        };
        NodeId::new(&id).map_err(|error| format!("entry {} ({item:?}): {error}", at + 1))?;
        let (host, port) = split(rest).map_err(|error| format!("entry {}: {error}", at + 1))?;
        if port == 0 {
            return Err(format!("entry {} ({item:?}): port 0 cannot be dialled; name the port", at + 1));
        }
        let entry = Listed { id, host, port };
        if is_wildcard(&entry.host) {
            return Err(format!("entry {} ({item:?}): a wildcard cannot be dialled; name the host", at + 1));
        }
        if let Some(other) = entries.iter().find(|other| other.id == entry.id) {
            return Err(format!("{other} and {entry} have the same id; give each node its own"));
        }
        if let Some(other) = entries.iter().find(|other| other.address() == entry.address()) {
            return Err(format!("{other} and {entry} have the same address; give each node its own"));
        }
        entries.push(entry);
    }
    Ok(entries)
}

/// The list and this node's place in it.
#[derive(Debug, Clone)]
pub(crate) struct Cluster {
    /// This node.
    pub(crate) own: Listed,
    /// The port to listen at. Peers dial that of the entry, which differs behind address translation.
    pub(crate) port: u16,
    /// All nodes of the list, this one too; only this one without a list.
    pub(crate) entries: Vec<Listed>,
}

/// Reads id, host, port and cluster together, and says what contradicts what.
pub(crate) fn resolve(settings: &Settings) -> Result<Cluster, SettingError> {
    let id = settings.text("id").unwrap_or("node0").to_owned();
    NodeId::new(&id).map_err(|error| settings.wrong("id", &error.to_string()))?;
    let host = settings.text("host").unwrap_or("localhost").to_owned();
    if host.contains('%') {
        let detail = "an address with a zone cannot be bound by name; give :: or an address without one";
        return Err(settings.wrong("host", detail));
    }
    let port: Option<u16> = settings.number("port")?;
    let entries = parse(&settings.list("cluster")).map_err(|error| settings.wrong("cluster", &error))?;
    if entries.is_empty() {
        // A script whose variable is not set would found a cluster of one, for good.
        if settings.is_given("cluster") {
            let detail = "it names no node; list the nodes, or leave it out for a cluster of one";
            return Err(settings.wrong("cluster", detail));
        }
        let dialled = if is_wildcard(&host) { "localhost".to_owned() } else { host.clone() };
        let own = Listed { id, host: dialled, port: port.unwrap_or(7000) };
        check_joiner(settings, &own, &host)?;
        return Ok(Cluster { entries: vec![own.clone()], port: own.port, own });
    }
    if settings.is_given("join") {
        let detail = "there is a cluster list, too: a list founds a cluster, and this node is to join one that there is; give one of the two";
        return Err(settings.wrong("join", detail));
    }
    let Some(own) = entries.iter().find(|entry| entry.id == id).cloned() else {
        let known: Vec<_> = entries.iter().map(|entry| entry.id.as_str()).collect();
        let detail = format!("not in the cluster list, which has {}; name one of them", known.join(", "));
        return Err(settings.wrong("id", &detail));
    };
    let is_advertised = settings.is_given("advertise");
    if let Some(port) = port.filter(|port| *port != own.port && !is_advertised) {
        let detail = format!(
            "the cluster list has {own}; leave the port out, correct the list, or give --advertise {} if address translation \
             leads from there to here",
            own.address()
        );
        return Err(settings.wrong("port", &format!("{port} differs: {detail}")));
    }
    if !is_wildcard(&host) && !is_advertised && contradicts(&host, &own.host) {
        let detail = format!(
            "the cluster list has {own}, which is another machine or interface; correct one of them, bind 0.0.0.0, or \
             give --advertise {} if peers reach this node there by other means",
            own.address()
        );
        return Err(settings.wrong("host", &detail));
    }
    Ok(Cluster { port: port.unwrap_or(own.port), own, entries })
}

/// What a node without a list says of joining.
fn check_joiner(settings: &Settings, own: &Listed, host: &str) -> Result<(), SettingError> {
    if !settings.is_given("join") {
        if settings.switch("learner") {
            return Err(
                settings.wrong("learner", "it is for a node that joins; give --join, or leave it out")
            );
        }
        return Ok(());
    }
    let addresses = settings.list("join");
    if addresses.is_empty() {
        return Err(settings.wrong("join", "it names no node; give host:port of a member"));
    }
    for address in &addresses {
        let (host, port) = split(address).map_err(|error| settings.wrong("join", &error.to_string()))?;
        if is_wildcard(&host) || port == 0 {
            return Err(
                settings.wrong("join", &format!("{address:?} cannot be dialled; name a host and a port"))
            );
        }
    }
    if settings.is_given("advertise") {
        return Ok(());
    }
    if is_wildcard(host) {
        let detail = "a wildcard cannot be dialled, and the members are told where to dial this node; give --advertise host:port";
        return Err(settings.wrong("host", detail));
    }
    if own.port == 0 {
        let detail =
            "the members are told where to dial this node; name the port, or give --advertise host:port";
        return Err(settings.wrong("port", detail));
    }
    Ok(())
}

/// Whether two hosts are known not to be the same: names that cannot be looked up are not held against anyone.
fn contradicts(bound: &str, listed: &str) -> bool {
    if bound.eq_ignore_ascii_case(listed) {
        return false;
    }
    let look_up = |host: &str| -> Vec<IpAddr> {
        (host, 0)
            .to_socket_addrs()
            .map(|found| found.map(|address| address.ip()).collect())
            .unwrap_or_default()
    };
    let (bound, listed) = (look_up(bound), look_up(listed));
    !bound.is_empty() && !listed.is_empty() && !bound.iter().any(|ip| listed.contains(ip))
}

#[cfg(test)]
mod tests {
    use clap::Command;

    use super::*;
    use crate::settings::{Place, flags};

    fn items(text: &str) -> Vec<String> {
        text.split(',').map(str::to_owned).collect()
    }

    fn cluster(arguments: &[&str]) -> Result<Cluster, String> {
        let command = Command::new("serve").no_binary_name(true).args(flags(Place::Serve));
        let settings = Settings::gather(&command.get_matches_from(arguments));
        settings.and_then(|settings| resolve(&settings)).map_err(|error| error.to_string())
    }

    #[test]
    fn bare_entries_are_named_by_their_place() {
        let entries = parse(&items("localhost:7000,db=h:7001,[::1]:7002")).expect("a list");
        let shown: Vec<_> = entries.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["node0=localhost:7000", "db=h:7001", "node2=[::1]:7002"]);
    }

    #[test]
    fn a_wrong_list_names_the_mistake() {
        for (list, part) in [
            ("localhost", "\"localhost\" is not host:port"),
            ("h:x", "the port must be a number"),
            ("h:70000", "the port must be a number"),
            ("::1:7000", "in brackets"),
            ("h:1,node0=h:2", "the same id"),
            ("a=h:1,b=h:1", "the same address"),
            ("0.0.0.0:1", "a wildcard cannot be dialled"),
            ("h:0", "port 0 cannot be dialled"),
            ("[fe80::1%eth0]:7000", "one interface of one machine"),
            ("a b=h:1", "entry 1"),
        ] {
            let message = parse(&items(list)).expect_err(list);
            assert!(message.contains(part), "{list}: {message}");
        }
    }

    #[test]
    fn a_node_joins_in_place_of_a_list_and_can_be_dialled() {
        let join = "--join=10.0.0.1:7000,10.0.0.2:7000";
        assert!(cluster(&[join, "--host=10.0.0.4"]).is_ok());
        assert!(cluster(&[join, "--host=0.0.0.0", "--advertise=10.0.0.4:7000", "--learner"]).is_ok());
        for (arguments, part) in [
            (&["--cluster=localhost:7000", join][..], "give one of the two"),
            (&["--learner"], "give --join, or leave it out"),
            (&["--join="], "it names no node"),
            (&["--join=10.0.0.1"], "is not host:port"),
            (&["--join=0.0.0.0:7000"], "cannot be dialled"),
            (&[join, "--host=0.0.0.0"], "give --advertise"),
            (&[join, "--host=10.0.0.4", "--port=0"], "name the port"),
        ] {
            let message = cluster(arguments).expect_err(part);
            assert!(message.contains(part), "{arguments:?}: {message}");
        }
    }

    #[test]
    fn this_node_is_found_in_the_list_or_the_contradiction_is_named() {
        let list = "--cluster=localhost:7000,localhost:7001";
        let own = cluster(&[list, "--id=node1"]).expect("found").own;
        assert_eq!(own.port, 7001);
        for empty in ["--cluster=", "--cluster= , "] {
            let message = cluster(&[empty]).expect_err("no node");
            assert!(message.contains("it names no node"), "{message}");
        }
        let message = cluster(&[list, "--id=node2"]).expect_err("not there");
        assert!(message.contains("not in the cluster list, which has node0, node1"), "{message}");
        let message = cluster(&[list, "--port=7001"]).expect_err("another port");
        assert!(
            message.contains("the cluster list has node0=localhost:7000; leave the port out"),
            "{message}"
        );
        let message = cluster(&[list, "--host=192.0.2.7"]).expect_err("another host");
        assert!(message.contains("another machine"), "{message}");
        for host in ["0.0.0.0", "::", "*", "127.0.0.1", "localhost"] {
            assert!(cluster(&[list, "--host", host]).is_ok(), "{host}");
        }
        assert!(cluster(&[list, "--host=192.0.2.7", "--advertise=localhost:7000"]).is_ok());
        let translated =
            cluster(&[list, "--port=17000", "--advertise=localhost:7000"]).expect("another port inside");
        assert_eq!((translated.port, translated.own.port), (17_000, 7_000));
        let message = cluster(&["--host=fe80::1%eth0"]).expect_err("a zone");
        assert!(message.contains("zone"), "{message}");
    }
}
