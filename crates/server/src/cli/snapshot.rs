//! `quorate snapshot`: backups, and a new cluster of one.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use quorate::ByteCount;
use quorate::store::{SnapshotError, SnapshotInfo, inspect_snapshot};
use quorate_server::http::{CallError, Connection, Endpoint, Method, Request, Response};
use quorate_server::{RestoreError, restore};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::arguments::Snapshot;
use super::client::{Effect, refused};
use super::context::Context;
use super::exit::{Exit, Failure};
use super::log::rfc_3339;
use super::node_options::options;
use super::output::took_effect;
use super::runtime::block_on;

/// A node that takes a snapshot of a large state is silent for a while.
const STALL_MAX: Duration = Duration::from_secs(60);
/// What was written is said so often.
const SAID_EVERY_BYTES: u64 = 256 << 20;

pub(crate) fn run(context: &Context, verb: &Snapshot) -> Result<(), Failure> {
    match verb {
        Snapshot::Take { stale } => block_on(take(context, *stale)),
        Snapshot::Save { file, latest, stale } => {
            let taken = if *latest { None } else { Some(request(context, *stale)?) };
            block_on(save(context, file, taken))
        }
        Snapshot::Inspect { file } => inspect(context, file),
        Snapshot::Restore { file } => restored(context, file),
    }
}

fn request(context: &Context, stale: bool) -> Result<Request, Failure> {
    let timeout_ms = context.api()?.timeout.as_millis();
    let freshness = if stale { "stale" } else { "linearizable" };
    let path = format!("/v1/snapshots?timeout_ms={timeout_ms}&consistency={freshness}");
    Ok(Request::new(Method::POST, path))
}

async fn take(context: &Context, stale: bool) -> Result<(), Failure> {
    let request = request(context, stale)?;
    let answer = context.api()?.json(&request, Effect::Write).await?;
    took_effect("the snapshot", context.output.record(vec!["node", "index"], &answer))
}

/// From the first endpoint that can be reached: the snapshot that is taken there is the one that is read there.
async fn save(context: &Context, file: &Path, taken: Option<Request>) -> Result<(), Failure> {
    if file.symlink_metadata().is_ok() {
        let said = format!("{} is there already: name another file, or move it away", file.display());
        return Err(Failure::failed(said));
    }
    let api = context.api()?;
    let mut unreached = Vec::new();
    for endpoint in &api.endpoints {
        match Connection::open(endpoint, Instant::now() + api.timeout).await {
            Ok(connection) => return save_from(context, connection, endpoint, file, taken).await,
            Err(error) => unreached.push(error.to_string()),
        }
    }
    Err(Failure::new(Exit::Unreachable, unreached.join("; ")))
}

async fn save_from(
    context: &Context,
    mut connection: Connection,
    endpoint: &Endpoint,
    file: &Path,
    taken: Option<Request>,
) -> Result<(), Failure> {
    let timeout = context.api()?.timeout;
    if let Some(request) = taken {
        let answer = connection.send(&request, Instant::now() + timeout + Duration::from_secs(1)).await;
        success(endpoint, answer, Effect::Write)?;
    }
    let part = part_of(file);
    let written = download(context, &mut connection, endpoint, &part).await.and_then(|()| {
        let info = inspect_snapshot(&part).map_err(|error| unreadable(&error))?;
        publish(&part, file)?;
        Ok(info)
    });
    match written {
        Ok(info) => context.output.record(COLUMNS.to_vec(), &shown(file, &info)),
        Err(failure) => {
            // It is of no use, and takes room.
            drop(std::fs::remove_file(&part));
            Err(failure)
        }
    }
}

fn part_of(file: &Path) -> PathBuf {
    let mut part = file.as_os_str().to_owned();
    part.push(".part");
    part.into()
}

async fn download(
    context: &Context,
    connection: &mut Connection,
    endpoint: &Endpoint,
    part: &Path,
) -> Result<(), Failure> {
    let cannot =
        |error: &std::io::Error| Failure::failed(format!("cannot write {}: {error}", part.display()));
    // It holds what the data directory holds, which is private.
    let out = File::options().write(true).create(true).truncate(true).mode(0o600).open(part);
    let mut out = out.map_err(|error| cannot(&error))?;
    let (mut bytes, mut said) = (0, 0);
    let sink = |piece: &bytes::Bytes| {
        bytes += piece.len() as u64;
        if bytes - said >= SAID_EVERY_BYTES {
            said = bytes;
            context.output.note(&format!("{} written", ByteCount(bytes)));
        }
        out.write_all(piece)
    };
    let deadline = Instant::now() + STALL_MAX;
    let request = Request::get("/v1/snapshots/latest");
    let answer = connection.download(&request, deadline, STALL_MAX, sink).await;
    success(endpoint, answer, Effect::Read)?;
    out.sync_all().map_err(|error| cannot(&error))
}

fn success(
    endpoint: &Endpoint,
    answer: Result<Response, CallError>,
    effect: Effect,
) -> Result<Response, Failure> {
    match answer {
        Ok(response) if response.status.is_success() => Ok(response),
        Ok(response) => Err(refused(endpoint, &response, effect)),
        Err(error) => Err(Failure::failed(error.to_string())),
    }
}

fn publish(part: &Path, file: &Path) -> Result<(), Failure> {
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    let renamed = std::fs::rename(part, file);
    let synced = renamed.and_then(|()| File::open(directory.unwrap_or_else(|| Path::new(".")))?.sync_all());
    synced.map_err(|error| Failure::failed(format!("cannot write {}: {error}", file.display())))
}

const COLUMNS: [&str; 9] =
    ["file", "cluster", "group", "index", "term", "taken", "members", "bytes", "state_bytes"];

fn shown(file: &Path, info: &SnapshotInfo) -> Value {
    let SnapshotInfo { head, bytes, payload_bytes } = info;
    let members: Vec<String> =
        head.membership.members.iter().map(|(id, member)| format!("{id}={}", member.raft)).collect();
    json!({
        "file": file.display().to_string(),
        "cluster": head.cluster.to_string(),
        "group": head.name,
        "index": head.at.index.0,
        "term": head.at.term.0,
        "taken": rfc_3339(head.made_ms),
        "members": members.join(","),
        "bytes": bytes,
        "state_bytes": payload_bytes,
    })
}

fn inspect(context: &Context, file: &Path) -> Result<(), Failure> {
    let info = inspect_snapshot(file).map_err(|error| unreadable(&error))?;
    context.output.record(COLUMNS.to_vec(), &shown(file, &info))
}

fn unreadable(error: &SnapshotError) -> Failure {
    let exit = match error {
        SnapshotError::Gone { .. } => Exit::NotFound,
        error if error.is_no_room() => Exit::DiskFull,
        _ => Exit::Failed,
    };
    Failure::new(exit, error.to_string())
}

fn restored(context: &Context, file: &Path) -> Result<(), Failure> {
    let options = options(&context.settings)?;
    if !options.join.is_empty() {
        let detail = "a snapshot is made a new cluster here, which joins no other; leave it out";
        return Err(context.settings.wrong("join", detail).into());
    }
    let info = restore(&options, file).map_err(|error| match &error {
        RestoreError::Restore(quorate::RestoreFailed::Snapshot(snapshot)) => unreadable(snapshot),
        RestoreError::Restore(quorate::RestoreFailed::Copy { source, .. })
            if source.kind() == ErrorKind::StorageFull =>
        {
            Failure::new(Exit::DiskFull, error.to_string())
        }
        _ => Failure::failed(error.to_string()),
    })?;
    let record = json!({
        "node": options.id,
        "data_dir": options.data_dir.display().to_string(),
        "group": info.head.name,
        "index": info.head.at.index.0,
    });
    context
        .output
        .note("restore every other node of the list of the same file, then start them with the same flags, but without --cluster and --cluster-token");
    context.output.record(vec!["node", "data_dir", "group", "index"], &record)
}
