//! Exponential backoff, and the seeded jitter on it: in a simulation one seed gives one trace (SplitMix64).

use std::time::Duration;

/// `min_ms` for attempt 0, doubling with each attempt up to `max_ms`.
pub(crate) fn exponential_ms(attempt: u32, min_ms: u64, max_ms: u64) -> u64 {
    min_ms.saturating_mul(1 << attempt.min(20)).min(max_ms)
}

/// A small deterministic generator; not for secrets.
pub(crate) struct Jitter(u64);

impl Jitter {
    /// Mixes the process-wide seed with the generator's purpose, so that two links never share a sequence.
    pub(crate) fn new(seed: u64, purpose: &str) -> Self {
        Self(seed ^ (u64::from(crc32fast::hash(purpose.as_bytes())) << 17))
    }

    /// SplitMix64, as in `quorate-core`, which this crate may not import.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// The exponential backoff of `attempt`, scattered over its upper half.
    pub(crate) fn backoff(&mut self, attempt: u32, min_ms: u64, max_ms: u64) -> Duration {
        let full = exponential_ms(attempt, min_ms, max_ms).max(1);
        let half = full / 2;
        Duration::from_millis(half + self.next() % (full - half + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_grows_to_its_bound_and_repeats_for_a_seed() {
        let run = |seed| {
            let mut jitter = Jitter::new(seed, "node1");
            (0..12).map(|n| jitter.backoff(n, 50, 2_000).as_millis()).collect::<Vec<_>>()
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
        assert!(run(7)[0] <= 50 && run(7)[0] >= 25);
        assert!(run(7).iter().all(|ms| *ms <= 2_000) && run(7)[11] >= 1_000);
    }
}
