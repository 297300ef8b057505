//! What a replicator has sent to its peer and not heard of: how much that may be, and when it counts as lost.
//!
//! The limit in bytes follows what the link takes. While acknowledgements come in about the time that one message takes by
//! itself, it grows; when they take longer, the messages wait in a queue on the way, and it shrinks (as in TCP Vegas and
//! LEDBAT). Otherwise a slow link holds seconds of messages, and what is sent now arrives when it is too late. At its least
//! the window lets itself run empty now and then, to learn what a message takes by itself: a disk may have become slower.
//!
//! Bound: `window_messages_max` messages.

use std::collections::VecDeque;
use std::time::Duration;

use crate::config::Config;
use crate::ids::{Index, Time};

/// The limit of a new window. It doubles with every round trip in which it was used until it shrinks for the first time, and
/// grows by a quarter from then on.
const START_BYTES: usize = 256 << 10;
/// The limit does not shrink below this.
const LEAST_BYTES: usize = 64 << 10;
/// Messages that fill a window.
const MESSAGES_PER_WINDOW: usize = 4;
/// Shortest time between two probes of the smallest window.
const BETWEEN_PROBES: Duration = Duration::from_secs(10);
/// Most doublings of the timeout while nothing is acknowledged.
const DOUBLINGS_MAX: u32 = 6;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct InFlight {
    last: Index,
    bytes: usize,
    sent_at: Time,
    /// Nothing else was in flight.
    was_alone: bool,
}

/// The window of one replicator.
///
/// Invariant: `bytes` is the sum over `in_flight`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Window {
    in_flight: VecDeque<InFlight>,
    bytes: usize,
    limit: usize,
    /// What a message took by itself, at last.
    alone: Option<Duration>,
    alone_at: Time,
    /// Nothing is sent until nothing is in flight.
    runs_empty: bool,
    /// What was sent before this says nothing about the present limit.
    shrunk_at: Option<Time>,
    progressed_at: Time,
    /// What a message took from its sending to its acknowledgement: the last one, or half of an earlier one if that is more.
    took: Duration,
    doublings: u32,
    /// Up to here messages were sent more than once: their acknowledgements do not tell what one takes.
    resent: Index,
}

impl Window {
    pub(crate) fn new(config: &Config, now: Time) -> Self {
        Self {
            in_flight: VecDeque::new(),
            bytes: 0,
            limit: START_BYTES.min(config.window_bytes_max),
            alone: None,
            alone_at: now,
            runs_empty: false,
            shrunk_at: None,
            progressed_at: now,
            took: Duration::ZERO,
            doublings: 0,
            resent: Index::ZERO,
        }
    }

    /// Messages and bytes.
    pub(crate) fn in_flight(&self) -> (usize, usize) {
        (self.in_flight.len(), self.bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.in_flight.is_empty()
    }

    pub(crate) fn is_open(&self, config: &Config) -> bool {
        let may_send = !self.runs_empty || self.in_flight.is_empty();
        may_send && self.in_flight.len() < config.window_messages_max && self.bytes < self.limit
    }

    /// How many bytes may be sent now; one at least.
    pub(crate) fn room(&self) -> usize {
        self.limit.saturating_sub(self.bytes).max(1)
    }

    /// How large a message may be, so that a few fit into the window.
    pub(crate) fn message_bytes_max(&self, config: &Config) -> usize {
        config.append_bytes_max.min(self.limit.max(LEAST_BYTES) / MESSAGES_PER_WINDOW)
    }

    pub(crate) fn sent(&mut self, now: Time, last: Index, bytes: usize) {
        let was_alone = self.in_flight.is_empty();
        self.runs_empty &= !was_alone;
        self.in_flight.push_back(InFlight { last, bytes, sent_at: now, was_alone });
        self.bytes += bytes;
    }

    /// The peer has everything up to here.
    pub(crate) fn acknowledged(&mut self, now: Time, through: Index, config: &Config) {
        let was_used = self.bytes >= self.limit / 2;
        while let Some(oldest) = self.in_flight.front().copied().filter(|oldest| oldest.last <= through) {
            self.in_flight.pop_front();
            self.bytes -= oldest.bytes;
            self.measured(now, oldest, was_used, config);
        }
    }

    /// Everything before this is known at the peer: it makes progress.
    pub(crate) fn progressed(&mut self, now: Time) {
        self.progressed_at = now;
    }

    fn measured(&mut self, now: Time, message: InFlight, was_used: bool, config: &Config) {
        let took = now.since(message.sent_at);
        if message.last > self.resent {
            self.took = took.max(self.took / 2);
            self.doublings = 0;
        }
        if message.was_alone {
            (self.alone, self.alone_at) = (Some(took), now);
        }
        let alone = self.alone.unwrap_or(took);
        if took <= 2 * alone + config.heartbeat_interval {
            if was_used {
                let more = if self.shrunk_at.is_some() { message.bytes / 4 } else { message.bytes };
                self.limit = (self.limit + more).min(config.window_bytes_max);
            }
        } else if self.shrunk_at.is_none_or(|at| message.sent_at >= at) {
            self.runs_empty |= self.limit <= LEAST_BYTES && now.since(self.alone_at) >= BETWEEN_PROBES;
            self.shrink(now, config);
        }
    }

    fn shrink(&mut self, now: Time, config: &Config) {
        self.limit = (self.limit / 2).max(LEAST_BYTES).min(config.window_bytes_max);
        self.shrunk_at = Some(now);
    }

    /// Whether the oldest message has waited longer than a timeout, counted from when the peer last made progress: a
    /// peer that takes one message after the other loses none.
    pub(crate) fn is_lost(&self, now: Time, config: &Config) -> bool {
        let timeout = self.timeout(config);
        let waits = |oldest: &InFlight| now.since(oldest.sent_at.max(self.progressed_at)) >= timeout;
        self.in_flight.front().is_some_and(waits)
    }

    /// An election timeout, or twice what a message takes if that is more; doubled for each time that it ended without progress.
    /// A large command on a slow link, or a sync of a slow disk, takes several election timeouts, and is not lost.
    fn timeout(&self, config: &Config) -> Duration {
        let least = config.election_timeout.max(2 * self.took) * 2_u32.pow(self.doublings);
        least.min(config.election_timeout * 2_u32.pow(DOUBLINGS_MAX))
    }

    /// What is in flight counts as lost. Sent again behind itself it would only take longer, so each time it gets longer.
    pub(crate) fn give_up(&mut self, now: Time, config: &Config) {
        self.doublings = (self.doublings + 1).min(DOUBLINGS_MAX);
        self.resent = self.in_flight.back().map_or(self.resent, |newest| self.resent.max(newest.last));
        self.shrink(now, config);
        self.clear();
    }

    /// Nothing is in flight any more.
    pub(crate) fn clear(&mut self) {
        self.in_flight.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000;

    /// Sends whatever the window lets it for `seconds`, over a link of this rate, to a peer that takes `disk` for each message
    /// beside others. The longest time that a message took in the second half, and how many bytes arrived then.
    fn over_a_link(
        window: &mut Window,
        bytes_per_s: u64,
        seconds: u64,
        disk: impl Fn(Time) -> Duration,
    ) -> (Duration, u64) {
        let config = Config::default();
        let (mut now, mut free_at, mut index) = (Time(0), Time(0), 0);
        let mut arriving: VecDeque<(Time, Index, usize, Time)> = VecDeque::new();
        let (end, mut longest, mut delivered) = (seconds * 1_000 * MS, Duration::ZERO, 0);
        while now.0 < end {
            while window.is_open(&config) {
                let bytes = window.message_bytes_max(&config);
                index += 1;
                free_at = Time(free_at.0.max(now.0) + bytes as u64 * 1_000 * MS / bytes_per_s);
                arriving.push_back((free_at + disk(now), Index(index), bytes, now));
                window.sent(now, Index(index), bytes);
            }
            let (at, index, bytes, sent_at) = arriving.pop_front().expect("the window lets one message go");
            assert!(!window.is_lost(now, &config), "nothing is lost");
            now = now.max(at);
            if now.0 > end / 2 {
                longest = longest.max(now.since(sent_at));
                delivered += bytes as u64;
            }
            window.progressed(now);
            window.acknowledged(now, index, &config);
        }
        (longest, delivered)
    }

    fn new() -> Window {
        Window::new(&Config::default(), Time(0))
    }

    /// The links at which leaders were deposed by their own backlog.
    #[test]
    fn a_slow_link_is_used_and_holds_no_backlog() {
        for mbit_per_s in [1, 10, 60, 200] {
            let (rate, seconds) = (mbit_per_s * 1_000_000 / 8, 60);
            let (longest, delivered) = over_a_link(&mut new(), rate, seconds, |_| Duration::from_millis(1));
            let bound = Duration::from_millis(if mbit_per_s == 1 { 2_000 } else { 400 });
            assert!(longest < bound, "{mbit_per_s} Mbit/s: a message took {longest:?}");
            let used = delivered as f64 / (rate * seconds / 2) as f64;
            assert!(used > 0.9, "{mbit_per_s} Mbit/s: {used} of it were used");
        }
    }

    /// Each message takes 800 ms from some time on, however few there are: a small window would only make it worse.
    #[test]
    fn a_disk_that_becomes_slow_gets_its_window_back() {
        let becomes_slow = |now: Time| Duration::from_millis(if now.0 < 5_000 * MS { 1 } else { 800 });
        let mut window = new();
        over_a_link(&mut window, 125_000_000, 120, becomes_slow);
        assert_eq!(window.limit, Config::default().window_bytes_max);
    }

    #[test]
    fn a_quick_link_gets_the_whole_window() {
        let config = Config::default();
        let mut window = Window::new(&config, Time(0));
        let (mut now, mut index) = (Time(0), 0);
        for _ in 0..20 {
            let mut sent = index;
            while window.is_open(&config) {
                sent += 1;
                window.sent(now, Index(sent), window.message_bytes_max(&config));
            }
            now = Time(now.0 + MS);
            index = sent;
            window.acknowledged(now, Index(index), &config);
        }
        assert_eq!(window.limit, config.window_bytes_max);
        assert_eq!(window.message_bytes_max(&config), config.append_bytes_max);
    }

    #[test]
    fn a_window_that_is_not_used_does_not_grow() {
        let config = Config::default();
        let mut window = Window::new(&config, Time(0));
        for index in 1..1_000 {
            window.sent(Time(index), Index(index), 1_000);
            window.acknowledged(Time(index), Index(index), &config);
        }
        assert_eq!(window.limit, START_BYTES);
    }

    /// One message takes three times the timeout at first: sent again behind itself, each copy delays what comes after it.
    /// Found by core simulation seeds 95 and 102, with commands that a link takes several election timeouts for.
    #[test]
    fn a_message_that_takes_longer_than_the_timeout_is_sent_again_a_few_times_at_most() {
        const MESSAGES: u64 = 40;
        let config = Config::default();
        let takes = config.election_timeout * 3;
        let mut window = new();
        let (mut now, mut free_at, mut next, mut acknowledged) = (Time(0), Time(0), 1, 0);
        let mut arriving: VecDeque<(Time, u64)> = VecDeque::new();
        let end = Time(0) + takes * 100;
        while acknowledged < MESSAGES && now < end {
            if window.is_lost(now, &config) {
                window.give_up(now, &config);
                next = acknowledged + 1;
            }
            if window.is_empty() && next <= MESSAGES {
                free_at = free_at.max(now) + takes;
                arriving.push_back((free_at, next));
                window.sent(now, Index(next), 8 << 20);
                next += 1;
            }
            now = now + config.heartbeat_interval;
            while let Some((_, index)) = arriving.pop_front_if(|(at, _)| *at <= now) {
                if index > acknowledged {
                    acknowledged = index;
                    window.progressed(now);
                    window.acknowledged(now, Index(index), &config);
                    next = next.max(index + 1);
                }
            }
        }
        let as_long_as = now.0 / (u64::try_from(takes.as_micros()).expect("a short time"));
        assert!(
            as_long_as <= MESSAGES + 8,
            "{acknowledged} of {MESSAGES} messages arrived in the time of {as_long_as}"
        );
    }

    #[test]
    fn the_timeout_counts_from_progress_and_doubles_without_it() {
        let config = Config::default();
        let timeout = config.election_timeout.as_micros() as u64;
        let mut window = Window::new(&config, Time(0));
        window.sent(Time(0), Index(1), 1);
        window.sent(Time(0), Index(2), 1);
        assert!(!window.is_lost(Time(timeout - 1), &config) && window.is_lost(Time(timeout), &config));
        window.progressed(Time(timeout - 1));
        window.acknowledged(Time(timeout - 1), Index(1), &config);
        assert!(!window.is_lost(Time(2 * timeout - 2), &config), "one message after the other");
        // A message took nearly an election timeout.
        let twice = 2 * (timeout - 1);
        let lost_at = timeout - 1 + twice;
        assert!(!window.is_lost(Time(lost_at - 1), &config) && window.is_lost(Time(lost_at), &config));
        window.give_up(Time(lost_at), &config);
        window.sent(Time(lost_at), Index(2), 1);
        let lost_at = lost_at + 2 * twice;
        assert!(!window.is_lost(Time(lost_at - 1), &config) && window.is_lost(Time(lost_at), &config));
    }
}
