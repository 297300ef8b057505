//! One measurement, and the medians of several.

use quorate_bench::median;

/// What one measurement gave.
#[derive(Debug, Clone, Copy)]
pub struct Figures {
    pub per_second: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    /// Processor time of all servers for each request; of the whole process where servers and clients share one.
    pub servers_us: f64,
    /// Processor time of the client's process for each request.
    pub client_us: f64,
    pub not_ok: f64,
}

impl Figures {
    /// The median of each figure by itself.
    pub fn medians(all: &[Self]) -> Self {
        let of = |pick: fn(&Self) -> f64| median(all.iter().map(pick).collect());
        Self {
            per_second: of(|one| one.per_second),
            p50_us: of(|one| one.p50_us),
            p99_us: of(|one| one.p99_us),
            servers_us: of(|one| one.servers_us),
            client_us: of(|one| one.client_us),
            not_ok: all.iter().map(|one| one.not_ok).sum(),
        }
    }
}
