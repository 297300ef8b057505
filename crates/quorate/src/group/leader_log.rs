//! What the log says of roles and leaders: a line when the leader that this node knows changes, and while there is none a line at
//! intervals that double. Without a majority a voter campaigns every second or two: only the first campaign is a line.
//!
//! It decides nothing, and knows nothing but what Group tells it.

use std::time::Duration;

use quorate_core::{NodeId, Time};

/// How long no leader is known before that is worth a line. An election takes less.
pub(super) const SILENCE_MIN: Duration = Duration::from_secs(5);
/// The longest interval between two such lines.
const SILENCE_MAX: Duration = Duration::from_secs(3_600);

/// No leader is known.
#[derive(Debug, Clone, Copy)]
struct Leaderless {
    since: Time,
    /// The interval after which it is said next.
    interval: Duration,
    /// A campaign was told of since.
    campaign_told: bool,
}

/// What was said last.
#[derive(Debug, Default)]
pub(super) struct LeaderLog {
    /// The leader named last.
    named: Option<NodeId>,
    leaderless: Option<Leaderless>,
    /// Of the timer; an older one is stale.
    timer: u64,
}

/// A change that is worth a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Changed {
    /// The leader named before.
    pub(super) from: Option<NodeId>,
    /// For how long none was known.
    pub(super) after: Duration,
}

/// When to look again whether there is a leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LookAgain {
    pub(super) timer: u64,
    pub(super) after: Duration,
}

impl LeaderLog {
    /// A leader is known: what to say, unless it is the one named last, without a break.
    pub(super) fn known(&mut self, now: Time, leader: &NodeId) -> Option<Changed> {
        let leaderless = self.leaderless.take();
        let same = self.named.as_ref() == Some(leader);
        let from = self.named.replace(leader.clone());
        let after = leaderless.map_or(Duration::ZERO, |leaderless| now.since(leaderless.since));
        (!same || after >= SILENCE_MIN).then_some(Changed { from, after })
    }

    /// No leader is known: when to look again, unless that is known already.
    pub(super) fn lost(&mut self, now: Time) -> Option<LookAgain> {
        if self.leaderless.is_some() {
            return None;
        }
        self.leaderless = Some(Leaderless { since: now, interval: SILENCE_MIN, campaign_told: false });
        self.timer += 1;
        Some(LookAgain { timer: self.timer, after: SILENCE_MIN })
    }

    /// The timer fired: for how long no leader is known, and when to look again. `None` if there is one.
    pub(super) fn still_lost(&mut self, now: Time, timer: u64) -> Option<(Duration, LookAgain)> {
        if timer != self.timer {
            return None;
        }
        let leaderless = self.leaderless.as_mut()?;
        leaderless.interval = SILENCE_MAX.min(2 * leaderless.interval);
        let again = LookAgain { timer, after: leaderless.interval };
        Some((now.since(leaderless.since), again))
    }

    /// Whether the start or the end of a campaign is worth a line.
    pub(super) fn is_campaign_new(&mut self, begins: bool) -> bool {
        let Some(leaderless) = &mut self.leaderless else { return true };
        let new = !leaderless.campaign_told;
        leaderless.campaign_told |= begins;
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time(0) + Duration::from_secs(seconds)
    }

    fn node(name: &str) -> NodeId {
        NodeId::new(name).expect("a name")
    }

    #[test]
    fn a_leader_is_named_when_it_changes_or_is_back_after_a_while() {
        let mut log = LeaderLog::default();
        let changed = |from: Option<&str>, after| {
            Some(Changed { from: from.map(node), after: Duration::from_secs(after) })
        };
        assert!(log.lost(at(0)).is_some(), "at the start");
        assert_eq!(log.known(at(1), &node("a")), changed(None, 1));
        assert_eq!(log.known(at(2), &node("a")), None);
        log.lost(at(3));
        assert_eq!(log.known(at(4), &node("a")), None, "a moment");
        log.lost(at(10));
        assert_eq!(log.known(at(20), &node("a")), changed(Some("a"), 10));
        assert_eq!(log.known(at(21), &node("b")), changed(Some("a"), 0));
    }

    #[test]
    fn a_lost_majority_is_said_at_intervals_that_double() {
        let mut log = LeaderLog::default();
        let mut look = log.lost(at(0)).expect("it begins");
        assert_eq!(log.lost(at(1)), None, "it is known");
        let (mut now, mut said) = (Duration::ZERO, Vec::new());
        for _ in 0..5 {
            now += look.after;
            let (silent, again) = log.still_lost(Time(0) + now, look.timer).expect("there is none");
            said.push(silent.as_secs());
            look = again;
        }
        assert_eq!(said, [5, 15, 35, 75, 155]);
        assert!((0..100).filter(|_| log.is_campaign_new(true)).count() == 1, "one campaign is told of");
        log.known(at(200), &node("a"));
        assert_eq!(log.still_lost(at(201), look.timer), None, "there is a leader");
        let new = log.lost(at(300)).expect("it begins again");
        assert_eq!(log.still_lost(at(301), look.timer), None, "a timer of before");
        assert!(log.still_lost(at(305), new.timer).is_some());
    }
}
