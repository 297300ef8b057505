//! A node of a new cluster, made of a snapshot file: how a cluster comes back from a backup.
//!
//! The new cluster has an id of its own, so no node of the old one talks to it; and it goes on where the snapshot ends, so no index
//! falls. All is made beside the directory and renamed into its place: a restore that is interrupted leaves no directory to start from.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use quorate_core::{Hash, Membership, NodeId, SnapshotBase};
use quorate_store::{
    DiskError, FjallDisk, FjallOptions, GroupError, Install, OpenError, SnapshotError, SnapshotFile,
    SnapshotHead, SnapshotInfo, Store, StoreError, StoreOptions, open_snapshot,
};

use crate::node::error::StartError;
use crate::node::founding::{Members, cluster_id, list};

/// What a directory was made of, and the cluster that its node belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// What was in the snapshot.
    pub info: SnapshotInfo,
    /// The members of the new cluster, as `id=host:port,..`.
    pub members: String,
    /// Its id, which is the same in every directory that was made of the same list, token and snapshot.
    pub cluster: Hash,
}

/// Why a directory was not made of a snapshot. Nothing was changed, but for what the error names.
#[derive(Debug, thiserror::Error)]
pub enum RestoreFailed {
    /// The node's settings.
    #[error(transparent)]
    Node(#[from] StartError),
    /// The snapshot cannot be read, or not be written.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// There is something where the directory, or what is made beside it first, is to be.
    #[error("{} is there already: name another directory, or move this one away", .0.display())]
    Exists(PathBuf),
    /// What an earlier run began.
    #[error("{} is there already, of a restore that was interrupted: delete it, and run this again", .0.display())]
    Begun(PathBuf),
    /// A rename would replace the link.
    #[error("{} is a symlink: name the directory that it leads to", .0.display())]
    Symlink(PathBuf),
    /// What is made beside it could not be renamed to it.
    #[error("{} is where a volume is mounted: name a directory below it", .0.display())]
    MountPoint(PathBuf),
    /// The node keeps no directory, or its path has no name at its end.
    #[error("a snapshot is restored into a directory that is named, as `data/node0`")]
    NoDirectory,
    /// The new database.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The new database could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The group could not be made.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// The log could not be begun where the snapshot ends.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The state could not be copied.
    #[error("cannot copy the state of the snapshot to {}: {source}", place.display())]
    Copy {
        /// Where to.
        place: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The directory could not get its name.
    #[error("cannot give {} its name: {source}", place.display())]
    Rename {
        /// What was made.
        place: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// What a directory is to be made of, and whose it is to be.
pub(super) struct Restore<'a> {
    pub(super) node: NodeId,
    pub(super) members: Members,
    pub(super) token: &'a str,
    pub(super) fingerprint: u64,
    pub(super) entropy: u64,
}

/// Makes the directory, which must not be there. It blocks.
pub(super) fn restore(
    snapshot: &Path,
    directory: &Path,
    restore: Restore<'_>,
) -> Result<Restored, RestoreFailed> {
    let file = open_snapshot(snapshot)?;
    let info = file.verify()?;
    let cluster = restored_id(&restore.members, restore.token, &info.head);
    let mut beside = directory.file_name().ok_or(RestoreFailed::NoDirectory)?.to_owned();
    beside.push(".restoring");
    let beside = directory.with_file_name(beside);
    if directory.is_symlink() {
        return Err(RestoreFailed::Symlink(directory.to_owned()));
    }
    if !is_free(directory) {
        return Err(RestoreFailed::Exists(directory.to_owned()));
    }
    if !is_free(&beside) {
        return Err(RestoreFailed::Begun(beside));
    }
    if is_mounted(directory) {
        return Err(RestoreFailed::MountPoint(directory.to_owned()));
    }
    let members = list(&restore.members);
    if let Err(error) = fill(&beside, &file, cluster, restore) {
        // It is of no use, takes room, and would be in the way of the next run; but one that is locked is another run's.
        if !matches!(error, RestoreFailed::Disk(_)) {
            drop(std::fs::remove_dir_all(&beside));
        }
        return Err(error);
    }
    let renamed = std::fs::rename(&beside, directory).and_then(|()| sync_parent(directory));
    renamed.map_err(|source| RestoreFailed::Rename { place: beside, source })?;
    Ok(Restored { info, members, cluster })
}

fn fill(
    directory: &Path,
    file: &SnapshotFile,
    cluster: Hash,
    restore: Restore<'_>,
) -> Result<(), RestoreFailed> {
    let SnapshotInfo { head, .. } = file.info();
    let membership = Membership::of_voters(restore.members, restore.fingerprint);
    let disk = FjallDisk::lock(directory, FjallOptions::default())?;
    let (mut store, _) =
        Store::open(Box::new(disk), StoreOptions::new(restore.node, Some(cluster), restore.entropy))?;
    let new = SnapshotHead { cluster, membership: membership.clone(), ..head };
    let base = SnapshotBase { at: new.at, time_ms: new.time_ms, membership: membership.clone() };
    let name = new.name.clone();
    let mut writer = store.snapshots().begin(new)?;
    let copied = io::copy(&mut file.reader(), &mut writer);
    copied.map_err(|source| RestoreFailed::Copy { place: directory.to_owned(), source })?;
    writer.finish()?.publish()?;
    let group = store.open_group(&name, &membership)?;
    store.install(group, &Install::of_new_cluster(base))?;
    Ok(())
}

/// The id of the new cluster: of its list and token, and of what is in the snapshot. No list and token give it without the snapshot, so a node
/// that was not restored, or of another snapshot, is refused by those that were: such nodes alone would elect a leader with an empty log.
fn restored_id(members: &Members, token: &str, head: &SnapshotHead) -> Hash {
    let of = format!(
        "restored\n{}\n{}\n{}\n{}",
        cluster_id(members, token),
        head.cluster,
        head.at.index,
        head.at.chain
    );
    Hash::of(of.as_bytes())
}

fn is_mounted(directory: &Path) -> bool {
    let device = |path: &Path| std::fs::metadata(path).ok().map(|found| found.dev());
    let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty());
    device(directory).is_some_and(|own| device(parent.unwrap_or_else(|| Path::new("."))) != Some(own))
}

/// Nothing, or an empty directory, which a rename replaces.
fn is_free(place: &Path) -> bool {
    match std::fs::read_dir(place) {
        Ok(mut found) => found.next().is_none(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

fn sync_parent(directory: &Path) -> io::Result<()> {
    let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty());
    std::fs::File::open(parent.unwrap_or_else(|| Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use quorate_core::{GroupId, Index, Member, Position, Term};

    use super::*;

    /// A node that starts with list and token alone must not have it: it would begin with nothing.
    #[test]
    fn the_id_of_a_restored_cluster_is_that_of_no_list() {
        let node = NodeId::new("node0").expect("a name");
        let members: Members = [(node, Member::default())].into_iter().collect();
        let head = |index: u64| SnapshotHead {
            cluster: cluster_id(&members, "old"),
            group: GroupId::of_name("main"),
            name: "main".to_owned(),
            at: Position { index: Index(index), term: Term(1), chain: Hash::of(&index.to_be_bytes()) },
            time_ms: 0,
            membership: Membership::default(),
            machine: 0,
            made_ms: 0,
        };
        let id = restored_id(&members, "t", &head(7));
        assert_eq!(id, restored_id(&members, "t", &head(7)), "it is the same at every node");
        for other in [
            cluster_id(&members, "t"),
            cluster_id(&members, "old"),
            restored_id(&members, "t", &head(8)),
            restored_id(&members, "u", &head(7)),
        ] {
            assert_ne!(id, other);
        }
    }
}
