//! What a supervisor needs of an event: whose end it reports, and why.

use ractor::{ActorCell, SupervisionEvent};

/// The child that ended and the reason; `None` for what reports no end.
pub(crate) fn ended(event: SupervisionEvent) -> Option<(ActorCell, String)> {
    match event {
        SupervisionEvent::ActorTerminated(who, _, reason) => {
            Some((who, reason.unwrap_or_else(|| "stopped".into())))
        }
        SupervisionEvent::ActorFailed(who, error) => Some((who, error.to_string())),
        // Starts, changes of process groups, and whatever a feature of ractor that is off here would add.
        _ => None,
    }
}
