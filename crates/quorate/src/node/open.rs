//! Opens a node's data, starts the store's thread and binds the bridge.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use quorate_bridge::{Bridge, BridgeHandle, BridgeOptions, PeerKind};
use quorate_core::NodeId;
use tokio::sync::watch;

use crate::config::MESSAGE_HEAD_BYTES_MAX;
use crate::context::StoreRoute;
use crate::error::BROKEN_TARGET;
use crate::failure::NodeFailure;
use crate::instance;
use crate::node::admission::Gate;
use crate::node::error::StartError;
use crate::node::founding::{Cluster, Members, cluster_id, settle};
use crate::node::owner::Owner;
use crate::node::spec::NodeSpec;
use crate::node::stop::close_store;
use crate::protocol::LEVEL;
use crate::roster::Roster;
use quorate_store::{
    Disk, FatalSink, GroupReport, OpenNotice, Shortage, Store, StoreFatal, StoreHandle, StoreOptions,
    StoreThread, TornTail,
};

pub(super) async fn open(spec: NodeSpec, disk: Box<dyn Disk>) -> Result<Arc<Owner>, StartError> {
    let (failure, _) = watch::channel(None);
    let (store, cluster) = open_store(&spec, disk, &failure)?;
    let first = cluster.members.iter().map(|(id, member)| (id.clone(), member.raft.clone())).collect();
    let identity = store.identity();
    let roster = Arc::new(Roster::new(spec.id.clone(), identity.incarnation, cluster.has_joined, first));
    let name_prefix = instance::unique_name(&spec.id);
    let (store_route, store_seen) = watch::channel(None);
    let bridge = match &spec.listen {
        Some(listen) => {
            let options = bridge_options(&spec, &cluster, &name_prefix, &store, (store_seen, roster.clone()));
            match start_bridge(&spec, &cluster, listen, options).await {
                Ok(bridge) => Some(bridge),
                Err(error) => {
                    close_store(&store).await;
                    return Err(error);
                }
            }
        }
        None => None,
    };
    if let Some(bridge) = &bridge {
        roster.dial_by(bridge.clone());
    }
    Ok(Arc::new(Owner::new(spec, &cluster, name_prefix, (store, store_route), (bridge, roster), failure)))
}

fn open_store(
    spec: &NodeSpec,
    disk: Box<dyn Disk>,
    failure: &watch::Sender<Option<NodeFailure>>,
) -> Result<(StoreHandle, Cluster), StartError> {
    let cluster = spec.given.joins.unwrap_or_else(|| cluster_id(&spec.given.members, &spec.given.token));
    let mut options = StoreOptions::new(spec.id.clone(), Some(cluster), spec.entropy);
    let reserve_bytes = spec.config.node.disk_reserve_bytes;
    options.reserve_bytes_min = (reserve_bytes > 0).then_some(reserve_bytes);
    let (mut store, report) = Store::open(disk, options)?;
    log_open_notices(&spec.id, &report.notices);
    for GroupReport { name, last, .. } in report.groups.iter().filter(|group| group.recovering) {
        // At each start: it may be long, and the node counts for no majority until it ends.
        tracing::warn!(node = %spec.id, group = name, log_last = %last.index, "recovering: no vote until a leader confirms that nothing is missing");
    }
    let cluster = settle(&mut store, &spec.id, &spec.given)?;
    let fatal: FatalSink = {
        let (failure, node) = (failure.clone(), spec.id.clone());
        Arc::new(move |fatal: StoreFatal| {
            tracing::error!(%node, error = %fatal, "log store failed");
            let _ = failure.send_if_modified(|known: &mut Option<NodeFailure>| {
                let first = known.is_none();
                known.get_or_insert(NodeFailure::Store { kind: fatal.kind(), detail: fatal.to_string() });
                first
            });
        })
    };
    let deadline = Duration::from_millis(spec.config.node.store_silence_ms_max);
    if spec.inline {
        return Ok((StoreThread::inline(store, deadline, fatal), cluster));
    }
    Ok((StoreThread::start(store, deadline, fatal)?, cluster))
}

/// Bytes queued on the control lane, at most: one confirmed round may answer thousands of reads.
const CONTROL_BYTES_MAX: usize = 4 << 20;

fn bridge_options(
    spec: &NodeSpec,
    cluster: &Cluster,
    name_prefix: &str,
    disk: &StoreHandle,
    (store, roster): (StoreRoute, Arc<Roster>),
) -> BridgeOptions {
    let identity = disk.identity();
    let fingerprint = spec.config.cluster.fingerprint();
    let usual = BridgeOptions::new(String::new(), quorate_bridge::Identity::client());
    let sessions_max = spec.connections_max.unwrap_or(usual.sessions_max);
    BridgeOptions {
        name_prefix: name_prefix.to_owned(),
        identity: quorate_bridge::Identity {
            kind: PeerKind::Peer,
            cluster: identity.cluster.0,
            node: spec.id.to_string(),
            incarnation: identity.incarnation.0,
            boot: identity.boot.0,
            process: identity.starts.last().map_or(0, |(_, drawn)| *drawn),
            earlier: identity.starts.iter().rev().skip(1).map(|(boot, drawn)| (boot.0, *drawn)).collect(),
            level: LEVEL,
            fingerprint,
            api_address: spec.api.clone(),
            members: cluster.founded_as.clone(),
        },
        admission: Arc::new(Gate::new(spec.id.clone(), fingerprint, roster, store, disk.clone())),
        net: spec.net.clone(),
        seed: spec.entropy,
        control_bytes_max: CONTROL_BYTES_MAX,
        message_bytes_max: quorate_core::PAYLOAD_BYTES_MAX + MESSAGE_HEAD_BYTES_MAX,
        sessions_max,
        // They take descriptors as well.
        handshakes_max: (sessions_max / 4).clamp(16, usual.handshakes_max),
        ..usual
    }
}

/// Its actor is soon replaced by a child of Node's; what stays is the listening socket and the tables.
async fn start_bridge(
    spec: &NodeSpec,
    cluster: &Cluster,
    listen: &str,
    options: BridgeOptions,
) -> Result<BridgeHandle, StartError> {
    let listen = Some(listen_at(spec, cluster, listen)?);
    let bridge = Bridge::start(BridgeOptions { listen, ..options }, None).await?;
    warn_if_hidden(spec, cluster, &bridge);
    Ok(bridge)
}

/// A node that the others dial at an address where it does not listen. Behind a proxy that is right, so it is no error; who gave a list
/// or an address to advertise was told by that.
fn warn_if_hidden(spec: &NodeSpec, cluster: &Cluster, bridge: &BridgeHandle) {
    let own = cluster.members.get(&spec.id).filter(|_| cluster.members.len() > 1 && !spec.given.is_list);
    let (Some(own), Some(listens)) = (own, bridge.local_addr()) else { return };
    let advertised = spec.given.members.get(&spec.id).is_some_and(|given| given.raft == own.raft);
    let host = own.raft.rsplit_once(':').map_or("", |(host, _)| host).trim_matches(['[', ']']);
    if advertised {
        return;
    }
    if let Some(why) = hidden_from(host, listens.ip()) {
        tracing::warn!(
            node = %spec.id, %listens, members_dial = own.raft,
            "{why}; listen at 0.0.0.0, or at the address that they dial"
        );
    }
}

/// Why members that dial this host do not reach who listens at this address. A name is not looked up: it may be any address but
/// one of the own machine.
fn hidden_from(host: &str, listens: IpAddr) -> Option<&'static str> {
    let dialled = host.parse::<IpAddr>().ok();
    let is_here = host.eq_ignore_ascii_case("localhost") || dialled.is_some_and(|ip| ip.is_loopback());
    if listens.is_unspecified() {
        None
    } else if listens.is_loopback() && !is_here {
        Some("listens to this machine alone, and the members dial it from elsewhere")
    } else if dialled.is_some_and(|dialled| dialled != listens) || (is_here && !listens.is_loopback()) {
        Some("listens at another address than the one that the members dial")
    } else {
        None
    }
}

/// Where to listen: at the port that the members know this node by, if none was chosen. One that was chosen must lead there, too: no
/// peer would reach the node at another one, and it would only say that it knows no leader.
fn listen_at(spec: &NodeSpec, cluster: &Cluster, listen: &str) -> Result<String, StartError> {
    let raft = |members: &Members| members.get(&spec.id).map(|own| own.raft.clone()).unwrap_or_default();
    let (known, given) = (raft(&cluster.members), raft(&spec.given.members));
    let (Some((_, known_port)), Some((host, port))) = (known.rsplit_once(':'), listen.rsplit_once(':'))
    else {
        return Ok(listen.to_owned());
    };
    let number = |port: &str| port.parse::<u16>().ok();
    if spec.port_as_founded && number(known_port) != Some(0) {
        return Ok(format!("{host}:{known_port}"));
    }
    // What is advertised is what the members dial: the way from there to the port is known to who gave both. And one that joins tells the
    // leader where it is dialled from now on.
    if number(port) == number(known_port) || given == known || spec.joins.is_some() {
        return Ok(listen.to_owned());
    }
    if cluster.members.len() > 1 {
        let (node, port) = (spec.id.clone(), port.to_owned());
        return Err(StartError::OtherPort { node, port, known });
    }
    tracing::warn!(node = %spec.id, port, known, "listens elsewhere than its membership says, which clients may learn from it");
    Ok(listen.to_owned())
}

/// A damaged store is an error in the log even where it was repaired: an operator has to see it.
fn log_open_notices(node: &NodeId, notices: &[OpenNotice]) {
    for notice in notices {
        match notice {
            OpenNotice::TornTail(TornTail { journal, kept_bytes, cut_bytes }) => {
                tracing::info!(%node, journal, kept_bytes, cut_bytes, "torn write cut off");
            }
            OpenNotice::NoRoom(space) => {
                let Shortage { resource, free, reserve, again, .. } = space.shortage();
                tracing::warn!(%node, %resource, free, reserve, again, "disk below its reserve, this node takes no entries until there is more");
            }
            OpenNotice::BallastDropped { bytes } => {
                tracing::info!(%node, bytes, "ballast file deleted, disk full");
            }
            OpenNotice::ReadAgain { detail } => {
                tracing::warn!(%node, detail, "the store could be read at the second attempt only");
            }
            OpenNotice::BadSector { sector, detail } => {
                tracing::error!(%node, sector, detail, "the store was damaged: anchor sector rewritten");
            }
            OpenNotice::Lost { group, detail } => {
                tracing::error!(target: BROKEN_TARGET, %node, %group, detail, "the store was damaged: entries lost, recovering from peers");
            }
            OpenNotice::UnknownFiles { first, count } => {
                let first = first.join(", ");
                tracing::warn!(%node, count, first, "unknown files in the store, left alone");
            }
            OpenNotice::PutBack { database, proven: true } => {
                tracing::info!(%node, database, "store put back, nothing is missing in it");
            }
            OpenNotice::PutBack { database, proven: false } => {
                tracing::warn!(%node, database, "store put back, recovering from peers what it may lack");
            }
            OpenNotice::SetAside { to, detail } => {
                tracing::error!(target: BROKEN_TARGET, %node, to, detail, "the store was damaged: database set aside, recovering from peers");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It started without a word at an address that no member dials, and heard no leader.
    #[test]
    fn a_node_that_listens_where_no_member_dials_is_told() {
        for (dialled, listens, hidden) in [
            ("127.0.0.1", "127.0.0.1", false),
            ("127.0.0.1", "127.0.0.9", true),
            ("127.0.0.1", "10.0.0.1", true),
            ("localhost", "127.0.0.1", false),
            ("localhost", "::1", false),
            ("localhost", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.1", false),
            ("10.0.0.1", "10.0.0.2", true),
            ("10.0.0.1", "127.0.0.1", true),
            ("10.0.0.1", "0.0.0.0", false),
            ("10.0.0.1", "::", false),
            ("node2.example", "10.0.0.2", false),
            ("node2.example", "127.0.0.1", true),
        ] {
            let ip = listens.parse().expect("an address");
            assert_eq!(hidden_from(dialled, ip).is_some(), hidden, "{dialled} dialled, at {listens}");
        }
    }
}
