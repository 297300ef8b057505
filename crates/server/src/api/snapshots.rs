//! `/v1/snapshots`: has this node take one, and sends the newest one as a file, which is a backup.
//!
//! A file goes to its client part by part as the client takes it, to four clients at once: one part in memory for each. No other node is asked, for each has its own.

use std::net::SocketAddr;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures_util::stream::try_unfold;
use quorate::{Outcome, SnapshotFailed};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::call::{Call, ReadCall};
use super::code::Code;
use super::headers::{INDEX_HEADER, applied_header};
use super::params::{ReadParams, WriteParams};
use super::problem::{Problem, Problems};

/// Who asks, as the socket has it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client(pub(crate) SocketAddr);

/// An answer that holds one of few places for as long as its client takes it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Download;

fn shown(client: Option<&Extension<Client>>) -> String {
    client.map_or_else(String::new, |Extension(Client(address))| address.to_string())
}

/// A snapshot was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SnapshotTaken {
    /// Always true.
    pub ok: bool,
    /// The node that took it.
    pub node: String,
    /// The last entry that is in it.
    pub index: u64,
}

/// Has this node take a snapshot of all that was acknowledged before, and answers once it is on disk. The log before the snapshot before it is
/// forgotten then. With `consistency=stale` it is of what this node has applied, and no leader is asked.
#[utoipa::path(
    post, path = "/v1/snapshots", tag = "node", params(ReadParams),
    responses((status = 200, description = "It is on disk, and was read back", body = SnapshotTaken), Problems)
)]
pub(crate) async fn take(client: Option<Extension<Client>>, call: ReadCall) -> Result<Response, Problem> {
    let (node, index) = call.snapshot().await?;
    let client = shown(client.as_ref());
    tracing::info!(%node, index, client, "snapshot taken for a client");
    Ok((applied_header(index), Json(SnapshotTaken { ok: true, node, index })).into_response())
}

/// The newest snapshot of this node, as a file that `quorate snapshot inspect` verifies and `quorate snapshot restore` makes a cluster of.
#[utoipa::path(
    get, path = "/v1/snapshots/latest", tag = "node", params(WriteParams),
    responses(
        (status = 200, description = "The file. `Quorate-Index` is the last entry in it", body = String, content_type = "application/octet-stream"),
        Problems
    )
)]
pub(crate) async fn latest(
    client: Option<Extension<Client>>,
    method: Method,
    Call { state, .. }: Call<WriteParams>,
) -> Result<Response, Problem> {
    let place = state.download_place()?;
    let newest = state.group().newest_snapshot().await?;
    let Some(newest) = newest else {
        return Err(Problem::new(Code::NoSnapshot, "this node has no snapshot yet"));
    };
    let mut headers = HeaderMap::new();
    let file_name = format!("attachment; filename=\"quorate-{:020}.snap\"", newest.index());
    let said: [(HeaderName, String); 4] = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, newest.file_bytes().to_string()),
        (header::CONTENT_DISPOSITION, file_name),
        (INDEX_HEADER, newest.index().to_string()),
    ];
    for (name, value) in said {
        headers.insert(name, HeaderValue::try_from(value).expect("digits and plain words"));
    }
    // All that the store holds leaves the node. A HEAD takes nothing of it.
    let (node, client) = (state.node().id().to_string(), shown(client.as_ref()));
    let (index, bytes) = (newest.index(), newest.file_bytes());
    if method == Method::GET {
        tracing::info!(node, client, index, bytes, "sending a snapshot to a client");
    }
    // An error ends the connection before all bytes were sent, which the client sees.
    let parts = try_unfold((newest, place), async |(mut newest, place)| {
        let part = newest.next().await.inspect_err(|error| {
            tracing::warn!(index = newest.index(), %error, "snapshot not sent to its end");
        })?;
        Ok::<_, SnapshotFailed>(part.map(|part| (part, (newest, place))))
    });
    Ok((Extension(Download), headers, Body::from_stream(parts)).into_response())
}

impl From<SnapshotFailed> for Problem {
    fn from(failed: SnapshotFailed) -> Self {
        let code = match failed.outcome {
            Outcome::Unknown => Code::SnapshotUnfinished,
            Outcome::Failed | Outcome::Refused => Code::SnapshotFailed,
        };
        Self::new(code, failed.reason)
    }
}
