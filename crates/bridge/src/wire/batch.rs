//! What one socket read brought for the exposed actors: one message per target.

use super::Wire;
use crate::expose::{Exposure, Table, TargetBatch};
use crate::frame::{CallBody, CastBody, FailCode, FrameError, PayloadError};
use crate::protocol::RawReply;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;

/// Gathers, then delivers. Casts that fail are reported once per name and reason, not once each.
pub(super) struct Gathering<'a> {
    wire: &'a Arc<Wire>,
    table: &'a Table,
    /// By exposure generation, in order of exposure: deterministic, and found without hashing names twice.
    batches: BTreeMap<u64, (Arc<Exposure>, Box<dyn TargetBatch>)>,
    failed: BTreeMap<(String, FailCode), (u64, String)>,
}

impl<'a> Gathering<'a> {
    pub(super) fn new(wire: &'a Arc<Wire>, table: &'a Table) -> Self {
        Self { wire, table, batches: BTreeMap::new(), failed: BTreeMap::new() }
    }

    pub(super) fn cast(&mut self, body: &[u8]) -> Result<(), FrameError> {
        let to = CastBody::read(body)?;
        match self.resolve(&to) {
            Err((code, detail)) => self.cast_failed(to.name, code, detail),
            Ok(exposure) => match self.push(exposure, to.payload, None) {
                Ok(()) => {}
                Err((error, _)) if error.is_malformed() => return Err(payload_error("Cast", &error)),
                Err((error, _)) => self.cast_failed(to.name, FailCode::Malformed, error.to_string()),
            },
        }
        Ok(())
    }

    pub(super) fn call(&mut self, body: &[u8]) -> Result<(), FrameError> {
        let CallBody { call, class, timeout_ms, to } = CallBody::read(body)?;
        if !self.wire.inbound_call_starts() {
            let max = self.wire.limits.calls_inbound_max;
            let detail = format!("{max} calls of this connection wait for their reply (calls_inbound_max)");
            self.wire.send_call_failed(call, FailCode::Busy, &detail);
            return Ok(());
        }
        let deadline = Instant::now().checked_add(Duration::from_millis(timeout_ms));
        let reply = RawReply { wire: self.wire.clone(), call, class, deadline, answered: false };
        match self.resolve(&to) {
            Err((code, detail)) => reply.refuse(code, &detail),
            Ok(exposure) => match self.push(exposure, to.payload, Some(reply)) {
                Ok(()) => {}
                Err((error, reply)) => {
                    if let Some(reply) = reply {
                        reply.refuse(FailCode::Malformed, &error.to_string());
                    }
                    if error.is_malformed() {
                        return Err(payload_error("Call", &error));
                    }
                }
            },
        }
        Ok(())
    }

    fn resolve(&self, to: &CastBody<'_>) -> Result<Arc<Exposure>, (FailCode, String)> {
        let exposure = self.table.get(to.name).filter(|exposure| exposure.gone.is_none());
        let Some(exposure) = exposure else {
            return Err((FailCode::NoSuchActor, format!("{} is not exposed", to.name)));
        };
        exposure.understands(to.protocol, to.version).map_err(|detail| (FailCode::Unsupported, detail))?;
        Ok(exposure.clone())
    }

    fn push(
        &mut self,
        exposure: Arc<Exposure>,
        payload: &[u8],
        reply: Option<RawReply>,
    ) -> Result<(), (PayloadError, Option<RawReply>)> {
        let (_, batch) = self.batches.entry(exposure.generation).or_insert_with(|| {
            let batch = exposure.target.batch();
            (exposure, batch)
        });
        batch.push(&self.wire.peer, payload, reply)
    }

    fn cast_failed(&mut self, name: &str, code: FailCode, detail: String) {
        // A flood of names not exposed must not grow without bound within one read; the rest is only counted there.
        if self.failed.len() < 64 || self.failed.contains_key(&(name.to_owned(), code)) {
            self.failed.entry((name.to_owned(), code)).or_insert((0, detail)).0 += 1;
        }
    }

    /// Hands every target its batch. Nothing is delivered once the wire is closed.
    pub(super) fn deliver(self, gone: &mut dyn FnMut(&Arc<Exposure>)) {
        for ((name, code), (count, detail)) in self.failed {
            self.wire.send_cast_failed(&name, code, count, &detail);
        }
        if self.batches.is_empty() {
            return;
        }
        let _gate = self.wire.gate.lock();
        if self.wire.is_closed() {
            return;
        }
        for (exposure, batch) in self.batches.into_values() {
            self.wire.counters.messages_in.fetch_add(batch.len() as u64, Ordering::Relaxed);
            if batch.deliver().is_err() {
                gone(&exposure);
            }
        }
    }
}

fn payload_error(kind: &'static str, error: &PayloadError) -> FrameError {
    match error {
        PayloadError::Depth => FrameError::Depth { kind },
        PayloadError::Trailing => FrameError::Trailing { kind, bytes: None },
        PayloadError::Truncated(detail) | PayloadError::Mismatch(detail) => {
            FrameError::Body { kind, detail: format!("payload: {detail}") }
        }
    }
}
