//! Which actors a node has, and how to hurt one: what operators look at, and what tests kill.

use quorate_bridge::kill_below;
use ractor::{ActorCell, ActorRef, ActorStatus as Status};
use serde::{Deserialize, Serialize};

use crate::messages::applier::ApplierMessage;
use crate::messages::group::GroupMessage;
use crate::messages::node::NodeMessage;
use crate::messages::replicator::ReplicatorMessage;
use crate::messages::role::{LeaderMessage, RoleMessage};
use crate::messages::snapshotter::SnapshotterMessage;
use crate::messages::store::StoreMessage;
use crate::node::owner::Owner;

/// An actor of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActorStatus {
    /// Its name: a path in the node's tree.
    pub name: String,
    /// The kind of actor: `leader`, `replicator`, `log-store`, ...
    pub kind: String,
    /// Whether it is starting, running or ending.
    pub status: String,
}

/// Ways to hurt an actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Injury {
    /// It panics while it handles a message.
    Panic,
    /// It is told to stop; messages that wait are lost.
    Stop,
    /// It is killed at its next await.
    Kill,
}

pub(crate) fn actors(owner: &Owner) -> Vec<ActorStatus> {
    let mut all: Vec<ActorStatus> = actor_names(owner)
        .filter_map(|name| {
            let cell = ractor::registry::where_is(name.clone())?;
            let path = name.strip_prefix(&owner.name_prefix)?.trim_start_matches('/').to_owned();
            let status = match cell.get_status() {
                Status::Unstarted | Status::Starting => "starting",
                Status::Running | Status::Upgrading => "running",
                Status::Draining | Status::Stopping | Status::Stopped => "ending",
            };
            Some(ActorStatus { kind: kind_of(&path), name: path, status: status.to_owned() })
        })
        .collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

pub(crate) fn injure(owner: &Owner, path: &str, injury: Injury) -> bool {
    let Some(cell) = ractor::registry::where_is(format!("{}/{path}", owner.name_prefix)) else {
        return false;
    };
    match injury {
        Injury::Stop => cell.stop(Some("told to stop".into())),
        Injury::Kill => {
            cell.kill();
            kill_below(&cell);
        }
        Injury::Panic => return panic_in(&cell),
    }
    true
}

fn actor_names(owner: &Owner) -> impl Iterator<Item = String> {
    let prefix = format!("{}/", owner.name_prefix);
    ractor::registry::registered().into_iter().filter(move |name| name.starts_with(&prefix))
}

/// `group/main/leader/3.7` is a leader, `bridge/link/node1#4` a link, `bridge/listener#2` a listener.
fn kind_of(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').collect();
    let kind = match parts.as_slice() {
        ["group", _] => "group",
        ["group", _, kind, ..] | ["bridge", kind, ..] | [kind, ..] => kind,
        [] => "",
    };
    kind.split('#').next().unwrap_or(kind).to_owned()
}

fn panic_in(cell: &ActorCell) -> bool {
    macro_rules! try_each {
        ($($message:ty => $panic:expr),* $(,)?) => {
            $(if cell.is_message_type_of::<$message>() == Some(true) {
                return ActorRef::<$message>::from(cell.clone()).cast($panic).is_ok();
            })*
        };
    }
    try_each!(
        RoleMessage => RoleMessage::Panic,
        LeaderMessage => LeaderMessage::Panic,
        ReplicatorMessage => ReplicatorMessage::Panic,
        ApplierMessage => ApplierMessage::Panic,
        SnapshotterMessage => SnapshotterMessage::Panic,
        GroupMessage => GroupMessage::Panic,
        NodeMessage => NodeMessage::Panic,
        StoreMessage => StoreMessage::panic(),
    );
    quorate_bridge::panic_in(cell)
}

#[cfg(test)]
mod tests {
    use super::kind_of;

    #[test]
    fn a_path_says_what_an_actor_is() {
        for (path, kind) in [
            ("node", "node"),
            ("log-store", "log-store"),
            ("bridge/bridge#1", "bridge"),
            ("bridge/listener#2", "listener"),
            ("bridge/link/node1#4", "link"),
            ("bridge/session#9", "session"),
            ("group/main", "group"),
            ("group/main/leader/3.7", "leader"),
            ("group/main/replicator/node1/2.1", "replicator"),
        ] {
            assert_eq!(kind_of(path), kind, "{path}");
        }
    }
}
