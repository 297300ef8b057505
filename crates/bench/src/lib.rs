//! Measurements, each a binary: `cargo run --release -p quorate-bench --bin hop_cost`. Figures are ratios within one run
//! and medians of several; they are kept in `docs/evidence/` with their command.

pub mod served;

use std::time::Duration;

/// The middle one.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// The quantile of sorted durations, in microseconds.
pub fn quantile_us(sorted: &[Duration], quantile: f64) -> f64 {
    let at = ((sorted.len() as f64 - 1.0) * quantile).round();
    #[expect(clippy::cast_sign_loss, reason = "a quantile of a length is not negative")]
    sorted.get(at as usize).map_or(0.0, |span| span.as_secs_f64() * 1e6)
}
