//! `quorate snapshot`: backups, and a new cluster of one.

mod new_file;
mod save;
mod unreadable;

use std::io::ErrorKind;
use std::path::Path;

use quorate::store::{SnapshotInfo, inspect_snapshot};
use quorate_server::http::{Method, Request};
use quorate_server::{RestoreError, Restored, ServeOptions, restore};
use serde_json::{Value, json};

use super::arguments::Snapshot;
use super::client::{Effect, READ_FIRST};
use super::context::Context;
use super::exit::{Exit, Failure};
use super::log::rfc_3339;
use super::node_options::options;
use super::output::took_effect;
use super::runtime::{Threads, block_on, run_until_interrupted};
use unreadable::unreadable;

pub(crate) fn run(context: &Context, verb: &Snapshot) -> Result<(), Failure> {
    match verb {
        Snapshot::Take { stale } => block_on(take(context, *stale)),
        Snapshot::Save { file, latest, stale } => {
            if file.as_os_str() == "-" {
                return Err(Failure::usage("a backup is verified when it is whole: name a file, not `-`"));
            }
            let taken = (!latest).then(|| request(*stale));
            let saving = async {
                let info = save::save(context, file, taken).await?;
                context.output.record(COLUMNS.to_vec(), &shown(file, &info))
            };
            run_until_interrupted(Threads::One, saving, "interrupted; no file was made")
        }
        Snapshot::Inspect { file } => inspect(context, file),
        Snapshot::Restore { file } => restored(context, file),
    }
}

/// The node learns from a header how long it may take.
fn request(stale: bool) -> Request {
    let freshness = if stale { "stale" } else { "linearizable" };
    Request::new(Method::POST, format!("/v1/snapshots?consistency={freshness}"))
}

async fn take(context: &Context, stale: bool) -> Result<(), Failure> {
    let answer = context.api()?.json(&request(stale), Effect::Write).await.map_err(|failure| {
        let message = failure.message.replace(READ_FIRST, "taking one again does no harm");
        Failure { message, ..failure }
    })?;
    took_effect("the snapshot", context.output.record(vec!["node", "index"], &answer))
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
    // A pipe would be waited for without an end, and cannot be read twice.
    if file.metadata().is_ok_and(|found| !found.is_file()) {
        return Err(Failure::failed(format!("{} is no regular file", file.display())));
    }
    let info = inspect_snapshot(file).map_err(|error| unreadable(file, &error))?;
    context.output.record(COLUMNS.to_vec(), &shown(file, &info))
}

fn restored(context: &Context, file: &Path) -> Result<(), Failure> {
    let options = options(&context.settings)?;
    if !options.join.is_empty() {
        let detail = "a snapshot is made a new cluster here, which joins no other; leave it out";
        return Err(context.settings.wrong("join", detail).into());
    }
    let Restored { info, members, cluster } = restore(&options, file).map_err(|error| match &error {
        RestoreError::Restore(quorate::RestoreFailed::Snapshot(snapshot)) => unreadable(file, snapshot),
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
        "cluster": cluster.to_string(),
        "members": members,
    });
    context.output.note(next_step(&options));
    let columns = vec!["node", "data_dir", "group", "index", "cluster", "members"];
    context.output.record(columns, &record)
}

/// What is to be done with what was made. A list that was forgotten makes as many clusters as there are nodes.
fn next_step(options: &ServeOptions) -> &'static str {
    if options.cluster.is_empty() {
        "warning: without --cluster this is a cluster of this node alone; for a cluster of more, delete the directory and restore it with the \
         list"
    } else {
        "restore every other node of the list of the same file, each shows the same cluster; then start them with the same flags, but without \
         --cluster and --cluster-token"
    }
}
