//! What was measured.

use std::time::Duration;

use hdrhistogram::Histogram;
use quorate::Outcome;
use serde_json::{Value, json};

/// A minute and more is one bucket: a request does not take longer than `--timeout`.
const LATENCY_US_MAX: u64 = 60_000_000;

/// What the table shows.
pub(super) const COLUMNS: [&str; 15] = [
    "operation",
    "via",
    "clients",
    "value_bytes",
    "seconds",
    "done",
    "per_second",
    "mean_us",
    "p50_us",
    "p99_us",
    "p99_9_us",
    "max_us",
    "refused",
    "failed",
    "unknown",
];

/// Latencies of the requests that succeeded, and counts of the others by outcome.
#[derive(Debug, Clone)]
pub(super) struct Tally {
    latency_us: Histogram<u64>,
    refused: u64,
    failed: u64,
    unknown: u64,
}

impl Tally {
    pub(super) fn new() -> Self {
        let latency_us = Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).expect("bounds of a histogram");
        Self { latency_us, refused: 0, failed: 0, unknown: 0 }
    }

    /// Adds one request.
    pub(super) fn record(&mut self, took: Duration, result: Result<(), Outcome>) {
        match result {
            Ok(()) => {
                let us = u64::try_from(took.as_micros()).unwrap_or(LATENCY_US_MAX);
                self.latency_us.saturating_record(us.max(1));
            }
            Err(Outcome::Refused) => self.refused += 1,
            Err(Outcome::Failed) => self.failed += 1,
            Err(Outcome::Unknown) => self.unknown += 1,
        }
    }

    /// Adds the figures of another client.
    pub(super) fn add(&mut self, other: &Self) {
        self.latency_us.add(&other.latency_us).expect("all histograms have the same bounds");
        self.refused += other.refused;
        self.failed += other.failed;
        self.unknown += other.unknown;
    }

    /// Requests that succeeded.
    pub(super) fn done(&self) -> u64 {
        self.latency_us.len()
    }

    /// Writes the figures into a record.
    pub(super) fn describe(&self, elapsed: Duration, record: &mut Value) {
        let rounded = |figure: f64| (figure * 10.0).round() / 10.0;
        let at = |quantile| self.latency_us.value_at_quantile(quantile);
        let seconds = elapsed.as_secs_f64().max(f64::EPSILON);
        let figures = json!({
            "seconds": rounded(seconds),
            "done": self.done(),
            "per_second": rounded(self.done() as f64 / seconds),
            "mean_us": rounded(self.latency_us.mean()),
            "p50_us": at(0.5),
            "p99_us": at(0.99),
            "p99_9_us": at(0.999),
            "max_us": self.latency_us.max(),
            "refused": self.refused,
            "failed": self.failed,
            "unknown": self.unknown,
        });
        for (name, figure) in figures.as_object().into_iter().flatten() {
            record[name] = figure.clone();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_counted_by_outcome_and_not_timed() {
        let (mut all, mut one) = (Tally::new(), Tally::new());
        one.record(Duration::from_millis(2), Ok(()));
        one.record(Duration::from_secs(5), Err(Outcome::Unknown));
        all.add(&one);
        let mut record = json!({});
        all.describe(Duration::from_secs(2), &mut record);
        assert_eq!((&record["done"], &record["unknown"]), (&json!(1), &json!(1)));
        assert_eq!(record["per_second"], json!(0.5));
        let p50 = record["p50_us"].as_u64().expect("a number");
        assert!((2_000..2_010).contains(&p50), "{p50}");
    }
}
