//! The side that was dialled: casts, calls and monitor requests. Each exposure gets one batch per socket read.

use super::expose::{Batch, Exposure};
use super::exposures::{Exposures, Table};
use super::monitored::Monitored;
use super::reply::{RawReply, send_call_failed};
use crate::connection::{Connection, Receiver, serve};
use crate::frame::{
    self, CallBody, CastBody, CastFailed, FailCode, FrameError, FrameKind, Name, PayloadError, clip_text,
};
use crate::net::Stream;
use bytes::{Bytes, BytesMut};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Failed names reported per socket read: a flood of unknown names must not grow without bound.
const FAILED_NAMES_MAX: usize = 64;

/// Serves an inbound connection until it ends; returns the reason. `buffer` holds what arrived after the Hello.
pub(crate) async fn serve_inbound(
    exposures: Arc<Exposures>,
    connection: Arc<Connection>,
    stream: Stream,
    buffer: BytesMut,
) -> String {
    let monitored = Monitored::new(connection.clone(), exposures.clone());
    let receiver = RequestReceiver {
        connection: connection.clone(),
        exposures,
        monitored: &monitored,
        table: None,
        batches: BTreeMap::new(),
        failed: BTreeMap::new(),
    };
    tokio::select! {
        biased;
        () = monitored.report_changes() => "the bridge has ended".into(),
        reason = serve(&connection, stream, buffer, receiver) => reason,
    }
}

struct RequestReceiver<'a> {
    connection: Arc<Connection>,
    exposures: Arc<Exposures>,
    monitored: &'a Monitored,
    /// The exposures as they were when the current socket read began; `None` between reads.
    table: Option<Table>,
    /// By exposure generation, in order of exposure: deterministic, and found without hashing names twice.
    batches: BTreeMap<u64, (Arc<Exposure>, Box<dyn Batch>)>,
    /// Casts that were not delivered: their number and the first detail, by name and code.
    failed: BTreeMap<(String, FailCode), (u64, String)>,
}

impl Receiver for RequestReceiver<'_> {
    fn begin(&mut self) {
        self.table = Some(self.exposures.table());
    }

    fn frame(&mut self, kind: FrameKind, body: &Bytes) -> Result<bool, FrameError> {
        match kind {
            FrameKind::Cast => self.cast(body)?,
            FrameKind::Call => self.call(body)?,
            FrameKind::Monitor => self.monitored.add(Name::read(kind, body)?),
            FrameKind::Demonitor => self.monitored.remove(&Name::read(kind, body)?),
            FrameKind::Hello
            | FrameKind::Refused
            | FrameKind::Reply
            | FrameKind::CallFailed
            | FrameKind::Ping
            | FrameKind::Pong
            | FrameKind::Down
            | FrameKind::Up
            | FrameKind::CastFailed
            | FrameKind::Unsupported
            | FrameKind::Fragment => return Ok(false),
        }
        Ok(true)
    }

    /// Reports failed casts and delivers the batches. Nothing is delivered once the connection is closed.
    fn finish(&mut self) {
        self.table = None;
        for ((name, code), (count, detail)) in std::mem::take(&mut self.failed) {
            let failed = CastFailed { name, code, count, detail: clip_text(&detail) };
            self.connection.send_system(frame::cold(FrameKind::CastFailed, &failed));
        }
        let batches = std::mem::take(&mut self.batches);
        if batches.is_empty() {
            return;
        }
        let Some(_delivering) = self.connection.deliver() else { return };
        for (exposure, batch) in batches.into_values() {
            if batch.deliver().is_err() {
                self.exposures.mark_ended(&exposure, "its mailbox is closed");
            }
        }
    }
}

impl RequestReceiver<'_> {
    fn cast(&mut self, body: &[u8]) -> Result<(), FrameError> {
        let to = CastBody::read(body)?;
        match self.resolve(&to) {
            Err((code, detail)) => self.cast_failed(to.name, code, detail),
            Ok(exposure) => match self.push(exposure, to.payload, None) {
                Ok(()) => {}
                Err((error, _)) if error.is_malformed() => return Err(error.in_frame(FrameKind::Cast)),
                Err((error, _)) => self.cast_failed(to.name, FailCode::Malformed, error.to_string()),
            },
        }
        Ok(())
    }

    fn call(&mut self, body: &[u8]) -> Result<(), FrameError> {
        let CallBody { call, class, timeout_ms, to } = CallBody::read(body)?;
        if !self.connection.inbound_call_starts() {
            let max = self.connection.options.calls_inbound_max;
            let detail = format!("{max} calls of this connection wait for their reply (calls_inbound_max)");
            send_call_failed(&self.connection, call, FailCode::Busy, &detail);
            return Ok(());
        }
        let deadline = Instant::now().checked_add(Duration::from_millis(timeout_ms));
        let reply = RawReply::new(self.connection.clone(), call, class, deadline);
        match self.resolve(&to) {
            Err((code, detail)) => reply.refuse(code, &detail),
            Ok(exposure) => {
                if let Err((error, reply)) = self.push(exposure, to.payload, Some(reply)) {
                    if let Some(reply) = reply {
                        reply.refuse(FailCode::Malformed, &error.to_string());
                    }
                    if error.is_malformed() {
                        return Err(error.in_frame(FrameKind::Call));
                    }
                }
            }
        }
        Ok(())
    }

    fn resolve(&self, to: &CastBody<'_>) -> Result<Arc<Exposure>, (FailCode, String)> {
        let table = self.table.as_ref().expect("frames come between begin and finish");
        let Some(exposure) = table.get(to.name).filter(|exposure| exposure.ended.is_none()) else {
            return Err((FailCode::NoSuchActor, format!("{} is not exposed", to.name)));
        };
        exposure.check_protocol(to.protocol, to.version).map_err(|detail| (FailCode::Unsupported, detail))?;
        Ok(exposure.clone())
    }

    fn push(
        &mut self,
        exposure: Arc<Exposure>,
        payload: &[u8],
        reply: Option<RawReply>,
    ) -> Result<(), (PayloadError, Option<RawReply>)> {
        let (_, batch) = self.batches.entry(exposure.generation).or_insert_with(|| {
            let batch = exposure.new_batch();
            (exposure, batch)
        });
        batch.push(&self.connection.peer, payload, reply)
    }

    /// Counts a failed cast, to be reported once per name and code and not once per cast.
    fn cast_failed(&mut self, name: &str, code: FailCode, detail: String) {
        if self.failed.len() < FAILED_NAMES_MAX || self.failed.contains_key(&(name.to_owned(), code)) {
            self.failed.entry((name.to_owned(), code)).or_insert((0, detail)).0 += 1;
        }
    }
}
