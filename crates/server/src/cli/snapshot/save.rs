//! Has a node take a snapshot, and reads it from there into a file.

use std::path::Path;
use std::time::Duration;

use quorate::ByteCount;
use quorate::store::{SnapshotInfo, inspect_snapshot};
use quorate_server::http::{CallError, Connection, Endpoint, Method, Request, Response, StatusCode};
use tokio::time::Instant;

use super::super::client::{Effect, refused, send_on};
use super::super::context::Context;
use super::super::exit::{Exit, Failure};
use super::new_file::NewFile;
use super::unreadable::unreadable;

/// A node whose disk is busy is silent for a while, between two pieces.
const STALL_MAX: Duration = Duration::from_secs(60);
/// What was written is said so often.
const SAID_EVERY_BYTES: u64 = 256 << 20;
const LATEST: &str = "/v1/snapshots/latest";

/// Why there is no backup from one node.
enum Lacks {
    /// Another node may give one.
    OfNode(Failure),
    /// No other node would help.
    OfFile(Failure),
}

/// From one endpoint after the other, each with all of the timeout: the snapshot that is taken there is the one that is read there. `taken`
/// has it taken first.
pub(super) async fn save(
    context: &Context,
    file: &Path,
    taken: Option<Request>,
) -> Result<SnapshotInfo, Failure> {
    let mut lacks = Vec::new();
    for endpoint in &context.api()?.endpoints {
        match save_from(context, endpoint, file, taken.as_ref()).await {
            Ok(info) => return Ok(info),
            Err(Lacks::OfFile(failure)) => return Err(failure),
            Err(Lacks::OfNode(failure)) => lacks.push(failure),
        }
    }
    Err(of_all(lacks))
}

/// What tells most counts: that a node was not reached tells least.
fn of_all(lacks: Vec<Failure>) -> Failure {
    let told = |exit: Exit| match exit {
        Exit::Unreachable => 0,
        Exit::Unknown => 1,
        _ => 2,
    };
    let exit = lacks.iter().map(|failure| failure.exit).max_by_key(|exit| told(*exit));
    let messages: Vec<String> = lacks.into_iter().map(|failure| failure.message).collect();
    Failure::new(exit.unwrap_or(Exit::Unreachable), messages.join("; "))
}

async fn save_from(
    context: &Context,
    endpoint: &Endpoint,
    file: &Path,
    taken: Option<&Request>,
) -> Result<SnapshotInfo, Lacks> {
    let timeout = context.api().map_err(Lacks::OfFile)?.timeout;
    let opened = Connection::open(endpoint, Instant::now() + timeout).await;
    let mut connection = opened.map_err(|error| not_reached(&error))?;
    if let Some(request) = taken {
        has_place(&mut connection, endpoint, timeout).await?;
        let answer = send_on(&mut connection, request, Instant::now() + timeout).await;
        success(endpoint, answer, Effect::Write)?;
    }
    let mut new = NewFile::begin(file).map_err(Lacks::OfFile)?;
    download(context, &mut connection, endpoint, &mut new).await?;
    new.sync().map_err(Lacks::OfFile)?;
    let info = inspect_snapshot(new.part()).map_err(|error| Lacks::OfNode(unreadable(new.part(), &error)))?;
    new.publish().map_err(Lacks::OfFile)?;
    Ok(info)
}

/// A node that sends to as many as it can is found out before it takes a snapshot for nothing.
async fn has_place(connection: &mut Connection, endpoint: &Endpoint, timeout: Duration) -> Result<(), Lacks> {
    let request = Request::new(Method::HEAD, LATEST);
    let answer = connection.send(&request, Instant::now() + timeout).await;
    let answer = answer.map_err(|error| not_reached(&error))?;
    if answer.status == StatusCode::TOO_MANY_REQUESTS {
        let said = format!("{endpoint} sends as many snapshots as it can: try again later [busy]");
        return Err(Lacks::OfNode(Failure::new(Exit::Busy, said)));
    }
    Ok(())
}

async fn download(
    context: &Context,
    connection: &mut Connection,
    endpoint: &Endpoint,
    new: &mut NewFile,
) -> Result<(), Lacks> {
    let timeout = context.api().map_err(Lacks::OfFile)?.timeout;
    let (mut bytes, mut said) = (0, 0);
    let sink = |piece: &bytes::Bytes| {
        bytes += piece.len() as u64;
        if bytes - said >= SAID_EVERY_BYTES {
            said = bytes;
            context.output.note(&format!("{} written", ByteCount(bytes)));
        }
        new.write(piece)
    };
    let answer = connection.download(&Request::get(LATEST), Instant::now() + timeout, STALL_MAX, sink).await;
    match (new.wrong(), answer) {
        (Some(wrong), _) => Err(Lacks::OfFile(wrong)),
        (None, Err(error)) if bytes > 0 => Err(Lacks::OfNode(Failure::failed(error.to_string()))),
        (None, answer) => success(endpoint, answer, Effect::Read),
    }
}

fn success(endpoint: &Endpoint, answer: Result<Response, CallError>, effect: Effect) -> Result<(), Lacks> {
    match answer {
        Ok(response) if response.status.is_success() => Ok(()),
        Ok(response) => Err(Lacks::OfNode(refused(endpoint, &response, effect))),
        Err(error) if error.may_be_sent() && effect == Effect::Write => {
            let said = format!(
                "outcome unknown: {error}; the snapshot may have been taken, and taking it again does no harm"
            );
            Err(Lacks::OfNode(Failure::new(Exit::Unknown, said)))
        }
        Err(error) => Err(not_reached(&error)),
    }
}

fn not_reached(error: &CallError) -> Lacks {
    Lacks::OfNode(Failure::new(Exit::Unreachable, error.to_string()))
}
