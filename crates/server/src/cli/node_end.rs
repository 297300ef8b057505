//! From the way a node ended, or why it did not start, to an exit code and a remedy.

use std::error::Error as _;
use std::io::ErrorKind;

use quorate::NodeFailure;
use quorate::store::{DiskError, FailureKind, OpenError};
use quorate_server::address::join;
use quorate_server::{Ended, ServeError};

use super::exit::{Exit, Failure};
use super::runtime::MORE_THREADS;

pub(crate) fn ended(ended: Ended) -> Result<(), Failure> {
    match ended {
        Ended::Stopped => Ok(()),
        Ended::Unasked => Err(Failure::failed(
            "the node ended by itself and gave no reason: that is a defect; start it again, and report it with its log",
        )),
        Ended::Forced => Err(Failure::new(Exit::Interrupted, "ended at once by a second signal")),
        Ended::Failed(failure) => Err(failed(&failure)),
    }
}

fn failed(failure: &NodeFailure) -> Failure {
    let full = matches!(failure, NodeFailure::Store { kind: FailureKind::DiskFull, .. });
    Failure::new(if full { Exit::DiskFull } else { Exit::Failed }, failure.to_string())
}

/// The failure with its remedy.
pub(crate) fn not_served(error: &ServeError, host: &str, port: u16, api_port: u16) -> Failure {
    if let ServeError::Ended(failure) = error {
        return failed(failure);
    }
    let mut message = in_one_line(error);
    let mut exit = Exit::Failed;
    match error {
        ServeError::Start(quorate::StartError::Disk(error)) => exit = of_disk(error, &mut message),
        ServeError::Start(quorate::StartError::Open(OpenError::Disk(error))) => {
            exit = of_disk(error, &mut message);
        }
        ServeError::NotListed { .. }
        | ServeError::OtherNodes { .. }
        | ServeError::Advertise { .. }
        | ServeError::Start(
            quorate::StartError::Name(_)
            | quorate::StartError::Config(_)
            | quorate::StartError::NotListening { .. }
            | quorate::StartError::Twice { .. }
            | quorate::StartError::Address { .. }
            | quorate::StartError::OtherPort { .. }
            | quorate::StartError::ListAndJoin { .. }
            | quorate::StartError::Join { .. }
            | quorate::StartError::ListLost { .. },
        ) => exit = Exit::Usage,
        ServeError::Start(quorate::StartError::NotReached { .. }) => exit = Exit::Unreachable,
        ServeError::DataDir { source, .. } => exit = of_directory(source, &mut message),
        ServeError::Start(quorate::StartError::Thread { .. }) => {
            message = format!("{message}; {MORE_THREADS}");
        }
        _ => {}
    }
    if is_address_in_use(error) {
        message.push_str("; ");
        message.push_str(&who_listens(error, &join(host, port), &join(host, api_port)));
    }
    Failure::new(exit, message)
}

/// Who has the address.
fn who_listens(error: &ServeError, raft: &str, api: &str) -> String {
    match error {
        ServeError::Start(error) => in_the_way_of_members(error.not_bound().unwrap_or(raft), api),
        _ => another_listens(api, "--api-port"),
    }
}

/// A node that was founded listens where its members dial, which may be another address than that of its settings.
fn in_the_way_of_members(at: &str, api: &str) -> String {
    if at == api {
        return "the API of this node listens there, and the members dial that port: give another --api-port"
            .to_owned();
    }
    another_listens(at, "--port")
}

fn another_listens(at: &str, flag: &str) -> String {
    format!("another process listens at {at}, perhaps an earlier quorate: end it, or give another {flag}")
}

fn of_disk(error: &DiskError, message: &mut String) -> Exit {
    match error {
        DiskError::Full { .. } => Exit::DiskFull,
        DiskError::Io { source, .. } if source.kind() == ErrorKind::StorageFull => Exit::DiskFull,
        DiskError::Io { action, source, .. } => {
            let remedy = match (*action, source.kind()) {
                ("start thread", _) => MORE_THREADS,
                ("lock", _) => "its file system has no locks (flock): give a --data-dir on another",
                (_, ErrorKind::PermissionDenied) => {
                    "check who owns the directory, or give another --data-dir"
                }
                (_, ErrorKind::ReadOnlyFilesystem) => "mount it for writing, or give another --data-dir",
                (_, _) => "mend that, or give another --data-dir",
            };
            message.push_str("; ");
            message.push_str(remedy);
            Exit::Failed
        }
        _ => Exit::Failed,
    }
}

/// The data directory could not be made.
fn of_directory(source: &std::io::Error, message: &mut String) -> Exit {
    let (exit, remedy) = match source.kind() {
        ErrorKind::StorageFull => (Exit::DiskFull, "free some space, or give another --data-dir"),
        ErrorKind::AlreadyExists | ErrorKind::NotADirectory => (
            Exit::Failed,
            "a file, or a link that leads nowhere, has that name: move it away, or give another --data-dir",
        ),
        ErrorKind::PermissionDenied => (Exit::Failed, "make it writable, or give another --data-dir"),
        ErrorKind::ReadOnlyFilesystem => (Exit::Failed, "mount it for writing, or give another --data-dir"),
        _ => (Exit::Failed, "give another --data-dir"),
    };
    message.push_str("; ");
    message.push_str(remedy);
    exit
}

/// Whether another socket has the port.
fn is_address_in_use(error: &ServeError) -> bool {
    let io = causes(error).filter_map(|cause| cause.downcast_ref::<std::io::Error>());
    io.map(std::io::Error::kind).any(|kind| kind == std::io::ErrorKind::AddrInUse)
}

/// An error and its causes in one line; a cause that an error before it has quoted is not repeated.
fn in_one_line(error: &ServeError) -> String {
    causes(error).map(ToString::to_string).fold(error.to_string(), |line, cause| {
        if line.contains(&cause) { line } else { format!("{line}: {cause}") }
    })
}

/// The sources of an error, the nearest first.
fn causes(error: &ServeError) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(error.source(), |&cause| cause.source())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use quorate::store::{Lacking, StoreError, StoreFatal};

    use super::*;

    /// Who owns the directory was the advice for everything.
    #[test]
    fn the_remedy_is_for_what_the_system_said() {
        let said = |action, kind: ErrorKind| {
            let place = "data".to_owned();
            let error = DiskError::Io { action, place, source: kind.into() };
            let error = ServeError::Start(quorate::StartError::Disk(error));
            not_served(&error, "localhost", 7_000, 8_000).message
        };
        assert!(said("start thread", ErrorKind::WouldBlock).ends_with(MORE_THREADS));
        assert!(said("lock", ErrorKind::Unsupported).contains("(flock)"));
        assert!(said("open", ErrorKind::PermissionDenied).contains("who owns"));
        assert!(!said("open", ErrorKind::Other).contains("who owns"));
        let directory = |kind: ErrorKind| {
            let error = ServeError::DataDir { path: "data".into(), source: kind.into() };
            not_served(&error, "localhost", 7_000, 8_000)
        };
        let failure = directory(ErrorKind::AlreadyExists);
        assert!(failure.message.contains("a link that leads nowhere, has that name"), "{failure}");
        assert_eq!(directory(ErrorKind::StorageFull).exit, Exit::DiskFull);
        assert!(directory(ErrorKind::PermissionDenied).message.contains("writable"));
    }

    /// A founded node listens where its members dial: the port of the settings was blamed, at which no one listened.
    #[test]
    fn the_address_that_is_in_use_is_blamed() {
        let taken = || std::io::Error::from(ErrorKind::AddrInUse);
        let api = ServeError::Api { address: "h:8000".to_owned(), source: taken() };
        let said = not_served(&api, "h", 7_000, 8_000).message;
        assert!(said.contains("listens at h:8000") && said.ends_with("--api-port"), "{said}");
        let other = in_the_way_of_members("h:7100", "h:8000");
        assert!(other.contains("listens at h:7100") && other.ends_with("--port"), "{other}");
        assert!(in_the_way_of_members("h:7100", "h:7100").ends_with("give another --api-port"));
    }

    #[test]
    fn a_cluster_that_is_not_reached_is_no_mistake_of_its_flags() {
        let (addresses, detail) = ("10.0.0.1:7000".to_owned(), "10.0.0.1:7000: no answer".to_owned());
        let error = quorate::StartError::NotReached { addresses, detail, waited_ms: 30_000 };
        let failure = not_served(&error.into(), "localhost", 7_000, 8_000);
        assert_eq!(failure.exit, Exit::Unreachable);
        assert!(failure.message.contains("none of 10.0.0.1:7000 answers within 30000 ms"), "{failure}");
    }

    #[test]
    fn only_a_node_that_was_told_to_end_ends_with_zero() {
        assert_eq!(ended(Ended::Stopped), Ok(()));
        for other in [Ended::Unasked, Ended::Forced] {
            assert_ne!(ended(other.clone()).expect_err("a failure").exit, Exit::Ok, "{other:?}");
        }
    }

    /// It ended with 1, and said that an earlier write had failed.
    #[test]
    fn what_is_used_up_is_named_where_a_node_ends_for_it() {
        for (what, name) in [
            (Lacking::Bytes, "no space left"),
            (Lacking::Inodes, "no inode left"),
            (Lacking::Quota, "no quota left"),
            (Lacking::FileSize, "file sizes left"),
        ] {
            let full = || DiskError::Full { place: "data/db".into(), what };
            let fatal = StoreFatal::Failed(Arc::new(StoreError::Disk(full())));
            let failure = NodeFailure::Store { kind: fatal.kind(), detail: fatal.to_string() };
            let running = ended(Ended::Failed(failure)).expect_err("a failure");
            let starting = ServeError::Start(quorate::StartError::Disk(full()));
            let starting = not_served(&starting, "localhost", 7_000, 8_000);
            for failure in [running, starting] {
                assert_eq!(failure.exit.code(), 9, "{failure}");
                assert!(failure.message.contains(name), "{failure}");
            }
        }
    }
}
