//! `quorate log`: the log of a node that is not running. A running node's directory is refused as in use.

use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use quorate::machine::Envelope;
use quorate::store::{DiskError, FjallDisk, FjallOptions, Offline, OfflineGroup, OpenError};
use quorate::{Entry, EntryKind, Index};
use quorate_server::api::LoggedCommand;
use quorate_server::machine::DataCommand;
use serde_json::{Value, json};

use super::arguments::Log;
use super::context::Context;
use super::exit::{Exit, Failure};
use super::node_options::default_data_dir;
use super::output::{Rows, after_printing};

pub(crate) fn run(context: &Context, verb: &Log) -> Result<(), Failure> {
    let directory = directory(context);
    match verb {
        Log::Inspect { group, from, limit, .. } => inspect(context, &directory, group, Index(*from), *limit),
        Log::Verify => verify(context, &directory),
    }
}

fn directory(context: &Context) -> PathBuf {
    let id = context.settings.text("id").unwrap_or("node0");
    context.settings.text("data_dir").map_or_else(|| default_data_dir(id), PathBuf::from)
}

/// Looks before it locks, because locking makes the directory: a mistyped path must not leave one.
fn open(directory: &Path) -> Result<Offline, Failure> {
    let shown = directory.display();
    if !directory.is_dir() {
        return Err(Failure::new(
            Exit::NotFound,
            format!("there is no data directory {shown}; name one with --data-dir, or the node with --id"),
        ));
    }
    let nothing =
        || Failure::new(Exit::NotFound, format!("{shown} is not a node's data directory: it has no anchor"));
    if !directory.join("anchor").exists() && !directory.join("db").exists() {
        return Err(nothing());
    }
    let failed = |error: &OpenError| cannot_open(directory, error);
    let disk = FjallDisk::lock(directory, FjallOptions::default()).map_err(|error| failed(&error.into()))?;
    Offline::open(Box::new(disk)).map_err(|error| failed(&error))?.ok_or_else(nothing)
}

/// The engine opens a database for writing, also to read it: it cuts an unfinished last write off.
fn cannot_open(directory: &Path, error: &OpenError) -> Failure {
    let shown = directory.display();
    match error {
        OpenError::Disk(DiskError::Locked { .. }) => Failure::failed(format!(
            "{shown} is in use by a running node: stop it first, or ask it with `quorate status`"
        )),
        OpenError::Disk(DiskError::Io { source, .. }) if is_not_writable(source) => Failure::failed(format!(
            "{error}; a log is read in a directory that can be written, as an unfinished last write is cut off: copy {shown} with all \
             that is in it (cp -a) to another file system, and name the copy with --data-dir"
        )),
        other => Failure::failed(other.to_string()),
    }
}

fn is_not_writable(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied)
}

fn inspect(context: &Context, directory: &Path, group: &str, from: Index, limit: u64) -> Result<(), Failure> {
    let offline = open(directory)?;
    let (mut rows, mut more) = (Vec::new(), None);
    let walked = offline.entries(group, from, &mut |entry| {
        if rows.len() as u64 == limit {
            more = Some(entry.index);
            return ControlFlow::Break(());
        }
        rows.push(shown(entry));
        ControlFlow::Continue(())
    });
    let columns = vec!["index", "term", "time", "kind", "operation", "key", "value", "bytes", "chain"];
    let printed = context.output.rows(&Rows { columns, rows }, None);
    let own = match walked {
        Ok(true) => Ok(()),
        Ok(false) => {
            let known: Vec<String> = offline.verify().groups.into_iter().map(|group| group.name).collect();
            let message = format!("there is no group {group:?} here; known are: {}", known.join(", "));
            Err(Failure::new(Exit::NotFound, message))
        }
        Err(error) => Err(Failure::failed(error.to_string())),
    };
    after_printing(printed, own)?;
    if let Some(index) = more {
        context.output.note(&format!("there is more: --from {index}"));
    }
    Ok(())
}

fn shown(entry: &Entry) -> Value {
    let kind = match entry.kind {
        EntryKind::Noop => "noop",
        EntryKind::Command => "command",
        EntryKind::Membership => "membership",
    };
    let mut row = json!({
        "index": entry.index.0,
        "term": entry.term.0,
        "time": rfc_3339(entry.time_ms),
        "time_ms": entry.time_ms,
        "kind": kind,
        "bytes": entry.payload.len(),
        "chain": entry.chain.to_string(),
    });
    // Of another machine, or a newer one: then it is bytes.
    let command = (entry.kind == EntryKind::Command).then(|| Envelope::decode(&entry.payload).ok()).flatten();
    let command =
        command.and_then(|envelope| envelope.command::<DataCommand>().ok()).map(LoggedCommand::from);
    if let Some(LoggedCommand { operation, key, value, encoding, expected, amount }) = command {
        row["operation"] = operation.into();
        row["key"] = key.into();
        row["value"] = amount.map_or_else(|| json!(value), Value::from);
        row["encoding"] = json!(encoding);
        row["expected"] = json!(expected);
    }
    row
}

/// The time in UTC, as RFC 3339 has it; a time beyond the year 9999 stays a number.
pub(super) fn rfc_3339(time_ms: u64) -> String {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_millis(time_ms);
    // The last moment that it can write.
    if time_ms < 253_402_300_800_000 {
        humantime::format_rfc3339_millis(time).to_string()
    } else {
        time_ms.to_string()
    }
}

fn verify(context: &Context, directory: &Path) -> Result<(), Failure> {
    let report = open(directory)?.verify();
    let rows: Vec<Value> =
        report.groups.iter().map(|group| of_group(group, report.damage.is_empty())).collect();
    let whole = report.damage.is_empty() && report.groups.iter().all(|group| group.damage.is_empty());
    let torn = report.torn.as_ref().map(
        |torn| json!({"journal": torn.journal, "kept_bytes": torn.kept_bytes, "cut_bytes": torn.cut_bytes}),
    );
    let document = json!({
        "ok": whole,
        "node": report.identity.node,
        "cluster": report.identity.cluster.to_string(),
        "incarnation": report.identity.incarnation.to_string(),
        "boot": report.identity.boot.0,
        "torn_tail": torn,
        "damage": report.damage,
        "groups": rows,
    });
    let columns = vec!["group", "first", "last", "term", "entries", "bytes", "chain", "state"];
    let printed = context.output.rows(&Rows { columns, rows }, Some(&document));
    if let Some(torn) = &report.torn {
        let cut = torn.cut_bytes;
        context
            .output
            .note(&format!("{}: an unfinished last write of {cut} bytes was cut off", torn.journal));
    }
    let of_groups = report
        .groups
        .iter()
        .flat_map(|group| group.damage.iter().map(|clause| format!("group {}: {clause}", group.name)));
    let damage: Vec<String> = report.damage.iter().cloned().chain(of_groups).collect();
    if damage.is_empty() {
        return printed;
    }
    let remedy = "the node repairs itself from its peers at its next start, or says why it cannot";
    let own = Failure::failed(format!("damaged: {}; {remedy}", damage.join("; ")));
    after_printing(printed, Err(own))
}

/// What is damaged in the database is no group's alone, and none of them is whole then.
fn of_group(group: &OfflineGroup, database_is_whole: bool) -> Value {
    let whole = database_is_whole && group.damage.is_empty();
    let hard_state = group.hard_state.as_hard_state();
    json!({
        "group": group.name,
        "first": group.start.index.0 + 1,
        "last": group.last.index.0,
        "term": hard_state.term.0,
        "vote": hard_state.voted_for,
        "recovering": hard_state.recovering,
        "entries": group.entries,
        "bytes": group.bytes,
        "chain": group.last.chain.to_string(),
        "ok": whole,
        "state": if whole { "whole" } else { "damaged" },
        "damage": group.damage,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ext4 is mounted read-only after an error, and that is when someone wants to verify a log.
    #[test]
    fn what_cannot_be_written_is_to_be_copied() {
        let said = |kind: ErrorKind| {
            let (action, place) = ("open", "m2/d/lock".to_owned());
            let error = OpenError::Disk(DiskError::Io { action, place, source: kind.into() });
            cannot_open(Path::new("m2/d"), &error).message
        };
        for kind in [ErrorKind::ReadOnlyFilesystem, ErrorKind::PermissionDenied] {
            assert!(said(kind).contains("copy m2/d "), "{}", said(kind));
        }
        assert!(!said(ErrorKind::Other).contains("copy"));
    }

    #[test]
    fn times_are_written_for_people() {
        assert_eq!(rfc_3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc_3339(1_796_040_000_123), "2026-11-30T12:00:00.123Z");
        assert_eq!(rfc_3339(u64::MAX), u64::MAX.to_string());
    }
}
