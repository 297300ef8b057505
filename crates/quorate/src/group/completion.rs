//! Stage 3 of 7, Persisted, on its way back: the log store's completions, passed on to the role that ordered the write.

use std::sync::Arc;

use quorate_core::RoleEvent;
use quorate_store::{StoreEvent, StoreSink};

use crate::messages::applier::ApplierMessage;
use crate::route_watch::RouteReceiver;

/// The sink of an epoch's completions. It runs on the I/O thread and only forwards.
pub(crate) fn completion_sink(routes: RouteReceiver) -> StoreSink {
    Arc::new(move |event| forward_completion(&routes, &event))
}

/// Tells the role, without a hop through Group. A completion of an older epoch is dropped; a change of free space concerns
/// any epoch.
fn forward_completion(routes: &RouteReceiver, event: &StoreEvent) {
    if *event == StoreEvent::DiskFull(true)
        && let Some(applier) = &routes.borrow().applier
    {
        // Lost if it is being restarted: the next one looks by itself after each job.
        let _ = applier.cast(ApplierMessage::DiskFull);
    }
    let (epoch, event) = match *event {
        StoreEvent::Persisted { epoch, sequence, .. } => (Some(epoch), RoleEvent::Persisted(sequence)),
        StoreEvent::DiskFull(full) => (None, RoleEvent::DiskFull(full)),
    };
    routes.borrow().tell_role_of(epoch, event);
}
