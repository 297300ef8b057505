//! A closed loop, as `quorate bench` has it: each client has one request under way and sends the next when it is answered.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hdrhistogram::Histogram;

/// What the clients got.
#[derive(Debug, Clone)]
pub struct Load {
    latency_us: Histogram<u64>,
    pub not_ok: u64,
    pub elapsed: Duration,
}

impl Load {
    fn new() -> Result<Self> {
        // As `quorate bench`: up to a minute, three digits.
        let latency_us = Histogram::new_with_bounds(1, 60_000_000, 3)?;
        Ok(Self { latency_us, not_ok: 0, elapsed: Duration::ZERO })
    }

    pub fn done(&self) -> f64 {
        self.latency_us.len() as f64
    }

    pub fn per_second(&self) -> f64 {
        self.done() / self.elapsed.as_secs_f64()
    }

    pub fn quantile_us(&self, quantile: f64) -> f64 {
        self.latency_us.value_at_quantile(quantile) as f64
    }
}

/// Runs `clients` for the time. `caller` makes the client with this number; a call takes the client and its turn, and says
/// whether it was answered as it should.
pub async fn closed_loop<C, F>(
    clients: u32,
    time: Duration,
    caller: impl Fn(u32) -> C,
    call: impl Fn(C, u64) -> F + Clone + Send + 'static,
) -> Result<Load>
where
    C: Clone + Send + 'static,
    F: Future<Output = bool> + Send,
{
    let started = Instant::now();
    let until = started + time;
    let mut tasks = Vec::new();
    for client in 0..clients {
        let (caller, call) = (caller(client), call.clone());
        let mut own = Load::new()?;
        tasks.push(tokio::spawn(async move {
            let mut turn = 0;
            let mut sent = Instant::now();
            while sent < until {
                if call(caller.clone(), turn).await {
                    let us = sent.elapsed().as_micros().max(1);
                    own.latency_us.saturating_record(u64::try_from(us).unwrap_or(u64::MAX));
                } else {
                    own.not_ok += 1;
                }
                turn += 1;
                sent = Instant::now();
            }
            own
        }));
    }
    let mut all = Load::new()?;
    for task in tasks {
        let own = task.await.context("a client ended")?;
        all.latency_us.add(&own.latency_us)?;
        all.not_ok += own.not_ok;
    }
    all.elapsed = started.elapsed();
    Ok(all)
}
