//! Opens a node's data, starts the store's thread and binds the bridge.

use std::sync::Arc;
use std::time::Duration;

use quorate_bridge::{Bridge, BridgeHandle, BridgeOptions, PeerAddress, PeerKind};
use quorate_core::NodeId;
use tokio::sync::watch;

use crate::config::MESSAGE_HEAD_BYTES_MAX;
use crate::context::StoreRoute;
use crate::error::{BROKEN_TARGET, NodeFailure};
use crate::instance;
use crate::node::admission::Gate;
use crate::node::error::StartError;
use crate::node::founding::{Cluster, Members, cluster_id, settle};
use crate::node::owner::Owner;
use crate::node::spec::NodeSpec;
use crate::node::stop::close_store;
use quorate_store::{
    Disk, FatalSink, GroupReport, OpenNotice, Shortage, Store, StoreFatal, StoreHandle, StoreOptions,
    StoreThread, TornTail,
};

pub(super) async fn open(spec: NodeSpec, disk: Box<dyn Disk>) -> Result<Arc<Owner>, StartError> {
    let (failure, _) = watch::channel(None);
    let (store, cluster) = open_store(&spec, disk, &failure)?;
    let name_prefix = instance::unique_name(&spec.id);
    let (store_route, store_seen) = watch::channel(None);
    let bridge = match &spec.listen {
        // Its actor is soon replaced by a child of Node's; what stays is the listening socket and the tables.
        Some(listen) => {
            let options = BridgeOptions {
                listen: Some(listen_at(&spec, &cluster, listen)),
                ..bridge_options(&spec, &cluster, &name_prefix, &store, store_seen)
            };
            match Bridge::start(options, None).await {
                Ok(bridge) => Some(bridge),
                Err(error) => {
                    close_store(&store).await;
                    return Err(error.into());
                }
            }
        }
        None => None,
    };
    if let Some(bridge) = &bridge {
        add_peers(bridge, &spec.id, &cluster.members);
    }
    Ok(Arc::new(Owner::new(spec, &cluster.members, name_prefix, store, store_route, bridge, failure)))
}

fn open_store(
    spec: &NodeSpec,
    disk: Box<dyn Disk>,
    failure: &watch::Sender<Option<NodeFailure>>,
) -> Result<(StoreHandle, Cluster), StartError> {
    let cluster = cluster_id(&spec.given.members, &spec.given.token);
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
    store: StoreRoute,
) -> BridgeOptions {
    let identity = disk.identity();
    let fingerprint = spec.config.cluster.fingerprint();
    let members = cluster.members.keys().cloned().collect();
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
            // Not 0, which says nothing.
            process: spec.entropy | 1,
            fingerprint,
            api_address: spec.api.clone(),
            members: cluster.founded_as.clone(),
        },
        admission: Arc::new(Gate::new(spec.id.clone(), fingerprint, members, store, disk.clone())),
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

/// The port that the members know this node by, if it is to listen there and they know one.
fn listen_at(spec: &NodeSpec, cluster: &Cluster, listen: &str) -> String {
    let known = cluster.members.get(&spec.id).and_then(|own| own.raft.rsplit_once(':'));
    match (known, listen.rsplit_once(':')) {
        (Some((_, port)), Some((host, _))) if spec.port_as_founded && port != "0" => format!("{host}:{port}"),
        _ => listen.to_owned(),
    }
}

fn add_peers(bridge: &BridgeHandle, me: &NodeId, members: &Members) {
    for (peer, member) in members.iter().filter(|(peer, _)| *peer != me) {
        let added = bridge.add_peer(PeerAddress::new(peer.as_str(), member.raft.clone()));
        added.expect("node ids and addresses are shorter than the bridge's limits");
    }
}

/// A damaged store is an error in the log even where it was repaired: an operator has to see it.
fn log_open_notices(node: &NodeId, notices: &[OpenNotice]) {
    for notice in notices {
        match notice {
            OpenNotice::TornTail(TornTail { journal, kept_bytes, cut_bytes }) => {
                tracing::info!(%node, journal, kept_bytes, cut_bytes, "torn write cut off");
            }
            OpenNotice::NoRoom(space) => {
                let Shortage { free, reserve, again, .. } = space.shortage();
                tracing::warn!(%node, free, reserve, again, "disk below its reserve, this node takes no entries until there is more");
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
