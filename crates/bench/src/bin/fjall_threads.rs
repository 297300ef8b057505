//! How many threads fjall is worth (decision 0016): many groups append to one log, old entries are dropped as compaction does,
//! with one thread and with two. Rounds alternate; the median is printed. The directory is that of the first argument, `.` without.

use anyhow::{Context, Result};
use quorate::store::{Batch, Disk, FjallDisk, FjallOptions, Keyspace};
use quorate_bench::{median, quantile_us};
use tokio::time::Instant;

const ROUNDS: usize = 5;
const GROUPS: u64 = 16;
const BATCHES: u64 = 8_000;
const ROW_BYTES: usize = 2 << 10;
/// Old rows are dropped every so many batches, and as many are kept.
const KEPT: u64 = 1_000;

struct Figure {
    seconds: f64,
    cpu_seconds: f64,
    p50_us: f64,
    p999_us: f64,
}

fn main() -> Result<()> {
    let place = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    println!(
        "threads  seconds  CPU seconds  p50 us  p99.9 us   (median of {ROUNDS} rounds; {BATCHES} batches of {GROUPS} rows of {ROW_BYTES} bytes)"
    );
    let mut figures = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (threads, figures) in (1..).zip(&mut figures) {
            figures.push(round(&place, threads)?);
        }
    }
    let of = |at: usize, pick: fn(&Figure) -> f64| median(figures[at].iter().map(pick).collect());
    let picks: [fn(&Figure) -> f64; 4] = [|f| f.seconds, |f| f.cpu_seconds, |f| f.p50_us, |f| f.p999_us];
    for at in 0..figures.len() {
        let [seconds, cpu, p50, p999] = picks.map(|pick| of(at, pick));
        println!("{:>7} {seconds:>8.2} {cpu:>12.2} {p50:>7.0} {p999:>9.0}", at + 1);
    }
    let [seconds, cpu, p50, p999] = picks.map(|pick| of(0, pick) / of(1, pick));
    println!("  ratio {seconds:>8.2} {cpu:>12.2} {p50:>7.2} {p999:>9.2}");
    Ok(())
}

fn round(place: &str, threads: usize) -> Result<Figure> {
    let directory = tempfile::tempdir_in(place)?;
    let options = FjallOptions { worker_threads: threads, ..FjallOptions::default() };
    let mut disk = FjallDisk::lock(directory.path(), options)?;
    disk.create_database()?;
    let (begin, cpu) = (Instant::now(), cpu_seconds()?);
    let mut waits = Vec::new();
    for index in 1..=BATCHES {
        let mut batch = Batch::new();
        for group in 0..GROUPS {
            batch.put(Keyspace::Log, key(group, index), incompressible(group ^ index << 8).into());
            batch.put(Keyspace::Hard, group.to_be_bytes().to_vec(), vec![1; 80].into());
        }
        let start = Instant::now();
        disk.commit(&batch)?;
        if index % KEPT == 0 {
            for group in 0..GROUPS {
                disk.drop_range(Keyspace::Log, &key(group, 0), &key(group, index - KEPT))?;
            }
        }
        waits.push(start.elapsed());
    }
    waits.sort();
    Ok(Figure {
        seconds: begin.elapsed().as_secs_f64(),
        cpu_seconds: cpu_seconds()? - cpu,
        p50_us: quantile_us(&waits, 0.5),
        p999_us: quantile_us(&waits, 0.999),
    })
}

fn key(group: u64, index: u64) -> Vec<u8> {
    [group.to_be_bytes(), index.to_be_bytes()].concat()
}

fn incompressible(seed: u64) -> Vec<u8> {
    let next = |state: &u64| Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    std::iter::successors(Some(seed), next).take(ROW_BYTES / 8).flat_map(u64::to_le_bytes).collect()
}

/// User and system time of this process until now. Linux only; it tells them in hundredths.
fn cpu_seconds() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = text.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(2).map(str::parse::<u32>);
    let ticks = ticks.sum::<Result<u32, _>>().context("/proc/self/stat")?;
    Ok(f64::from(ticks) / 100.0)
}
