//! Why a disk did not do what it was asked.

use std::fmt;
use std::io;
use std::path::Path;

/// Why a disk did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The operating system refused.
    #[error("cannot {action} {place}: {source}")]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file or directory.
        place: String,
        /// The operating system's error.
        source: io::Error,
    },
    /// What is on the disk is not what was written there.
    #[error("{place} is damaged: {detail}")]
    Damaged {
        /// The file or part.
        place: String,
        /// How the damage was detected.
        detail: String,
    },
    /// A write or sync failed before: what is on the disk is unknown until it is opened again.
    #[error(
        "{place} is poisoned by a write, sync or rename that failed before (if no line above says which, by the database engine's own \
         thread): stop the node and start it again"
    )]
    Poisoned {
        /// The database.
        place: String,
    },
    /// No space, no inode, a quota that is used up, or a file as large as this process may make one.
    #[error("no {what} left for {place}: {}, then start the node again", what.remedy())]
    Full {
        /// What was being written.
        place: String,
        /// What is used up.
        what: Lacking,
    },
    /// Another process, or another node of this process, has it open.
    #[error("{place} is in use by another process: give each node its own data directory")]
    Locked {
        /// The data directory.
        place: String,
    },
    /// A file in the database's directory that the engine would misread, delete or fail on, and that is not part of it.
    #[error(
        "{place} is not part of the database ({detail}), and the engine would misread it, delete it or fail on it: nothing was \
         changed; move it to another directory, or put back what is missing beside it, then start the node again"
    )]
    Stray {
        /// The file or directory.
        place: String,
        /// How it differs from the engine's own.
        detail: String,
    },
    /// The engine panicked, or failed in a way that says nothing about what is on the disk, and every checksum is right.
    #[error(
        "the database engine gave up on {place} ({detail}), and no checksum says that anything in it is damaged: nothing was \
         changed; remove the cause and start the node again, or, if the other nodes have the data, delete the file `version` \
         in it: the node then sets it aside and recovers from them"
    )]
    Engine {
        /// The database.
        place: String,
        /// What it said.
        detail: String,
    },
    /// The engine does not work without a working directory, not even on absolute paths.
    #[error(
        "the working directory of this process cannot be used ({source}), and the database engine needs one: nothing was \
         changed; start the node from a directory that exists"
    )]
    NoWorkingDirectory {
        /// The operating system's error.
        source: io::Error,
    },
    /// What this process has open is no longer what is in the directory.
    #[error(
        "{place} was deleted, moved or replaced while the node was running ({detail}), so what it writes would not be there at \
         the next start: put the directory back as it was, then start the node again"
    )]
    Gone {
        /// The file or directory.
        place: String,
        /// What is there now.
        detail: String,
    },
    /// A file that this process writes has become shorter by someone else's hand.
    #[error(
        "{place} was cut by something else while the node was running ({detail}), so what was in it is lost on this node: end what \
         cuts files there, then start the node again, and it recovers from the other nodes if they have the data"
    )]
    Cut {
        /// The file.
        place: String,
        /// How long it is, and was.
        detail: String,
    },
    /// A newer build wrote it.
    #[error("{place} has format version {found}, this build knows up to {known}: start the newer quorate")]
    Future {
        /// The file or part.
        place: String,
        /// The version found there.
        found: u32,
        /// The newest version this build reads.
        known: u32,
    },
}

/// What a disk has none left of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lacking {
    /// Bytes.
    Bytes,
    /// Inodes, while there are bytes.
    Inodes,
    /// What this user may have of either.
    Quota,
    /// What this process may write to one file.
    FileSize,
}

impl Lacking {
    /// What is used up on the volume of `path`, which may not be there yet; the system says the same for both.
    fn of(path: &Path) -> Self {
        let volume = path.ancestors().find_map(|path| rustix::fs::statvfs(path).ok());
        match volume {
            Some(volume) if volume.f_files > 0 && volume.f_favail == 0 => Self::Inodes,
            Some(_) | None => Self::Bytes,
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Self::Bytes => "free some",
            Self::Inodes => "delete files (`df -i` counts them)",
            Self::Quota => "free some, or raise the quota",
            Self::FileSize => "raise it (`ulimit -f`, `LimitFSIZE` of systemd; the journal needs 128 MiB)",
        }
    }
}

impl fmt::Display for Lacking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bytes => "space",
            Self::Inodes => "inode",
            Self::Quota => "quota",
            Self::FileSize => "room below the limit of file sizes",
        })
    }
}

impl DiskError {
    /// Whether what is there is wrong, so that reading again does not help.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. })
    }

    /// For `map_err`: the operating system refused `action` on `path`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl Fn(io::Error) -> Self {
        move |source| {
            let place = path.display().to_string();
            match source.kind() {
                io::ErrorKind::StorageFull => Self::Full { place, what: Lacking::of(path) },
                io::ErrorKind::QuotaExceeded => Self::Full { place, what: Lacking::Quota },
                io::ErrorKind::FileTooLarge => Self::Full { place, what: Lacking::FileSize },
                _ => Self::Io { action, place, source },
            }
        }
    }

    /// For `map_err`: `path` could not be read. A missing file is corruption; an unreadable one is an I/O error.
    pub(crate) fn unreadable(path: &Path) -> impl Fn(io::Error) -> Self {
        move |source| match source.kind() {
            io::ErrorKind::NotFound => Self::damaged(path, "it is missing"),
            _ => Self::io("read", path)(source),
        }
    }

    pub(crate) fn stray(path: &Path, detail: impl Into<String>) -> Self {
        Self::Stray { place: path.display().to_string(), detail: detail.into() }
    }

    pub(crate) fn damaged(path: &Path, detail: impl Into<String>) -> Self {
        Self::Damaged { place: path.display().to_string(), detail: detail.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A quota that is used up was an error of the disk like any other.
    #[test]
    fn what_the_system_says_is_used_up_is_told_from_a_disk_that_fails() {
        let said = |kind: io::ErrorKind| DiskError::io("write", Path::new("db"))(kind.into());
        let used_up = |kind| match said(kind) {
            DiskError::Full { what, .. } => Some(what),
            _ => None,
        };
        assert_eq!(used_up(io::ErrorKind::QuotaExceeded), Some(Lacking::Quota));
        assert_eq!(used_up(io::ErrorKind::FileTooLarge), Some(Lacking::FileSize));
        assert_eq!(used_up(io::ErrorKind::StorageFull), Some(Lacking::Bytes), "this volume has inodes");
        assert_eq!(used_up(io::ErrorKind::PermissionDenied), None);
    }
}
