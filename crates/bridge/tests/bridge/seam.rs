//! The transport seam: the bridge over pipes in memory, under paused time. One seed, one trace.

use crate::common::*;
use quorate_bridge::*;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::{Mutex as AsyncMutex, mpsc};
use tokio::time::Instant;

type Pipe = (DuplexStream, DuplexStream);

/// The listeners of one simulated network, by address.
#[derive(Default)]
struct Pipes {
    listeners: Mutex<BTreeMap<String, mpsc::Sender<DuplexStream>>>,
    cut: Arc<AtomicBool>,
}

#[derive(Clone)]
struct PipeNet(Arc<Pipes>);

struct PipeAcceptor(AsyncMutex<mpsc::Receiver<DuplexStream>>);

fn stream(pipe: DuplexStream) -> Stream {
    let (reader, writer) = tokio::io::split(pipe);
    Stream { reader: Box::new(reader), writer: Box::new(writer), address: "pipe".into() }
}

/// Copies while the network is up, discards while it is cut.
fn relay((mut inner, mut outer): Pipe, cut: Arc<AtomicBool>) {
    tokio::spawn(async move {
        let (mut one, mut other) = (vec![0; 4096], vec![0; 4096]);
        loop {
            let (count, to_outer) = tokio::select! {
                biased;
                count = inner.read(&mut one) => (count, true),
                count = outer.read(&mut other) => (count, false),
            };
            let Ok(count @ 1..) = count else { return };
            if cut.load(Ordering::SeqCst) {
                continue;
            }
            let written = if to_outer {
                outer.write_all(&one[..count]).await
            } else {
                inner.write_all(&other[..count]).await
            };
            if written.is_err() {
                return;
            }
        }
    });
}

impl Net for PipeNet {
    fn connect<'a>(&'a self, address: &'a str) -> NetFuture<'a, Stream> {
        let listener = self.0.listeners.lock().unwrap().get(address).cloned();
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        Box::pin(async move {
            let listener = listener.ok_or_else(refused)?;
            let ((ours, near), (far, theirs)) = (tokio::io::duplex(4096), tokio::io::duplex(4096));
            relay((near, far), self.0.cut.clone());
            listener.send(theirs).await.map_err(|_| refused())?;
            Ok(stream(ours))
        })
    }

    fn bind<'a>(&'a self, address: &'a str) -> NetFuture<'a, Box<dyn Acceptor>> {
        let (sender, receiver) = mpsc::channel(16);
        self.0.listeners.lock().unwrap().insert(address.into(), sender);
        Box::pin(async move { Ok(Box::new(PipeAcceptor(AsyncMutex::new(receiver))) as Box<dyn Acceptor>) })
    }
}

impl Acceptor for PipeAcceptor {
    fn accept(&self) -> NetFuture<'_, Stream> {
        Box::pin(async move {
            match self.0.lock().await.recv().await {
                Some(pipe) => Ok(stream(pipe)),
                None => Err(io::ErrorKind::BrokenPipe.into()),
            }
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(([0, 0, 0, 0], 0).into())
    }
}

/// Casts through a cut of the network and its repair; returns the link events with their times, and what arrived.
fn trace(seed: u64) -> Vec<String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let net = PipeNet(Arc::default());
        let node = async |name: &str| {
            let mut options = options(name);
            (options.listen, options.net, options.seed) = (Some(name.into()), Arc::new(net.clone()), seed);
            start(options).await
        };
        let (a, b) = (node("a").await, node("b").await);
        let (began, lines) = (Instant::now(), Arc::new(Mutex::new(Vec::new())));
        let told = lines.clone();
        a.on_link_event(move |event| {
            told.lock().unwrap().push(format!("{:?} {:?}", began.elapsed(), event.change));
        });
        a.add_peer(PeerAddress::new("b", "nowhere")).unwrap();
        tokio::time::timeout(SECOND / 2, std::future::pending::<()>()).await.unwrap_err();
        a.add_peer(PeerAddress::new("b", "b")).unwrap();
        let log = Log::default();
        b.expose("echo", echo(&log)).unwrap();
        let remote = echo_ref(&a, "b");
        let mut ticks = tokio::time::interval(SECOND / 100);
        for n in 0..300 {
            ticks.tick().await;
            net.0.cut.store((100..180).contains(&n), Ordering::SeqCst);
            let _ = remote.cast(&Say::Number(n));
        }
        a.stop().await;
        let mut lines = std::mem::take(&mut *lines.lock().unwrap());
        lines.push(format!("{:?}", log.lock().unwrap()));
        lines
    })
}

#[test]
fn one_seed_gives_one_trace_in_simulated_time() {
    let first = trace(5);
    assert_eq!(first, trace(5));
    assert_ne!(first, trace(6), "the seed moves the pauses");
    let all = first.join("\n");
    assert!(all.contains("Refused") && all.contains("nothing heard for 4"), "{all}");
    assert!(
        all.contains("Number(99)") && !all.contains("Number(150)") && all.contains("Number(299)"),
        "{all}"
    );
}
