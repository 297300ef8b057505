//! Keepalive: pings, and notices a peer that has gone silent or does not read.

use super::shared::Connection;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

/// Times as long a silence is borne on a link that takes what is written to it, slowly.
const SLOW_LINK: u32 = 4;

/// So much has arrived since a ping was sent: its answer may wait behind it at the other end.
const BACKLOG_BYTES: u64 = 32 << 10;

/// Runs until the peer is given up; returns the reason.
pub(super) async fn keepalive(connection: &Connection) -> String {
    let mut ticks = interval(Duration::from_millis(connection.options.keepalive_interval_ms));
    // A stalled process must not send a burst of pings when it wakes.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let usual = Duration::from_millis(connection.options.keepalive_timeout_ms);
    let mut bytes_at_ping = 0;
    loop {
        ticks.tick().await;
        // Pings wait behind what the kernel holds. While the other end takes that, and until it has taken the rest, it is slow
        // and not gone.
        let timeout = if connection.since_taken() < 2 * usual { SLOW_LINK * usual } else { usual };
        let silence = connection.silence();
        if silence >= timeout {
            return format!("nothing heard for {} ms: the node or the network is down", silence.as_millis());
        }
        // The peer sends but does not read: cut one way, or stuck. Twice the time, since a ping waits behind bulk in
        // the kernel.
        let unanswered = connection.send_ping();
        let bytes_in = connection.counters.bytes_in.get();
        if unanswered.is_zero() {
            bytes_at_ping = bytes_in;
        }
        let is_behind_bulk = bytes_in - bytes_at_ping >= BACKLOG_BYTES;
        let timeout = if is_behind_bulk { SLOW_LINK * usual } else { timeout };
        if unanswered >= timeout * 2 {
            return format!("a ping is unanswered for {} ms: the node does not read", unanswered.as_millis());
        }
    }
}
