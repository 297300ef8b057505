//! What was measured.

use std::time::Duration;

use hdrhistogram::Histogram;
use quorate::Outcome;
use serde_json::{Value, json};

use super::workload::Miss;

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

/// Latencies of the requests that succeeded, and the others by outcome.
#[derive(Debug, Clone)]
pub(super) struct Tally {
    latency_us: Histogram<u64>,
    refused: Misses,
    failed: Misses,
    unknown: Misses,
}

/// Requests with the same outcome.
#[derive(Debug, Clone, Default)]
struct Misses {
    count: u64,
    /// Why the first one did not succeed.
    first: Option<String>,
}

impl Misses {
    fn add(&mut self, count: u64, first: Option<String>) {
        self.count += count;
        self.first = self.first.take().or(first);
    }
}

impl Tally {
    pub(super) fn new() -> Self {
        let latency_us = Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).expect("bounds of a histogram");
        let [refused, failed, unknown] = Default::default();
        Self { latency_us, refused, failed, unknown }
    }

    /// Adds one request.
    pub(super) fn record(&mut self, took: Duration, result: Result<(), Miss>) {
        match result {
            Ok(()) => {
                let us = u64::try_from(took.as_micros()).unwrap_or(LATENCY_US_MAX);
                self.latency_us.saturating_record(us.max(1));
            }
            Err(Miss { outcome, detail }) => {
                let misses = match outcome {
                    Outcome::Refused => &mut self.refused,
                    Outcome::Failed => &mut self.failed,
                    Outcome::Unknown => &mut self.unknown,
                };
                misses.add(1, Some(detail));
            }
        }
    }

    /// The first error of each outcome.
    pub(super) fn first_errors(&self) -> Vec<String> {
        let each = [("refused", &self.refused), ("failed", &self.failed), ("unknown", &self.unknown)];
        let said = each.into_iter().filter_map(|(name, misses)| Some((name, misses.first.as_ref()?)));
        said.map(|(name, first)| format!("the first that was {name}: {first}")).collect()
    }

    /// Adds the figures of another client.
    pub(super) fn add(&mut self, other: &Self) {
        self.latency_us.add(&other.latency_us).expect("all histograms have the same bounds");
        self.refused.add(other.refused.count, other.refused.first.clone());
        self.failed.add(other.failed.count, other.failed.first.clone());
        self.unknown.add(other.unknown.count, other.unknown.first.clone());
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
            "refused": self.refused.count,
            "failed": self.failed.count,
            "unknown": self.unknown.count,
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
        for detail in ["late", "later"] {
            let miss = Miss { outcome: Outcome::Unknown, detail: detail.to_owned() };
            one.record(Duration::from_secs(5), Err(miss));
        }
        all.add(&one);
        assert_eq!(all.first_errors(), ["the first that was unknown: late"]);
        let mut record = json!({});
        all.describe(Duration::from_secs(2), &mut record);
        assert_eq!((&record["done"], &record["unknown"]), (&json!(1), &json!(2)));
        assert_eq!(record["per_second"], json!(0.5));
        let p50 = record["p50_us"].as_u64().expect("a number");
        assert!((2_000..2_010).contains(&p50), "{p50}");
    }
}
