//! Figures, not checks: `cargo test --release -p quorate-bridge --test bridge -- speed --ignored --nocapture`.

use crate::common::*;
use quorate_bridge::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::time::Instant;

#[tokio::test]
#[ignore = "prints figures"]
async fn speed_of_casts_and_calls_on_one_thread() {
    let (a, b) = pair().await;
    let count = Arc::new(AtomicUsize::new(0));
    let seen = count.clone();
    b.expose(
        "count",
        Exposed::sink::<Echo>(move |batch| {
            seen.fetch_add(batch.len(), Ordering::Relaxed);
            Ok(())
        }),
    )
    .unwrap();
    b.expose("echo", echo(&Log::default())).unwrap();
    for (what, message, total) in [
        ("8 B", Say::Number(1), 400_000),
        ("256 B", Say::Bytes(vec![1; 256]), 200_000),
        ("16 KiB", Say::Bytes(vec![1; 16 << 10]), 40_000),
    ] {
        count.store(0, Ordering::Relaxed);
        let (remote, began) = (a.remote::<Echo>("b", "count").unwrap(), Instant::now());
        for n in 0..total {
            while remote.cast(&message).is_err() {
                tokio::task::yield_now().await;
            }
            if n % 256 == 0 {
                tokio::task::yield_now().await;
            }
        }
        until("all there", || count.load(Ordering::Relaxed) == total).await;
        println!("cast {what}: {:.0}/s", total as f64 / began.elapsed().as_secs_f64());
    }
    let (remote, began) = (echo_ref(&a, "b"), Instant::now());
    for n in 0..20_000 {
        call(&remote, Say::Number(n)).await.unwrap();
    }
    println!("call, one at a time: {:.1} us", began.elapsed().as_micros() as f64 / 20_000.0);
}
