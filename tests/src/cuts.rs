//! A network over the system's TCP whose connections between two nodes can be cut: nothing arrives any more, and no end is
//! told, as when a cable is pulled.

use std::collections::BTreeSet;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use quorate::{Acceptor, Net, NetFuture, Stream, TokioNet};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

#[derive(Default)]
struct State {
    /// Pairs of ports, the lower one first.
    cut: BTreeSet<(u16, u16)>,
    /// Counted up by each cut and by its end: a connection of an earlier number was cut.
    epoch: u64,
    waiting: Vec<Waker>,
}

/// What is cut in one cluster. Clones are the same.
#[derive(Clone, Default)]
pub struct Cuts(Arc<Mutex<State>>);

fn pair(one: u16, other: u16) -> (u16, u16) {
    (one.min(other), one.max(other))
}

impl Cuts {
    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Nothing passes between the nodes at these ports.
    pub fn cut(&self, one: u16, other: u16) {
        self.with(|state| {
            state.cut.insert(pair(one, other));
            state.epoch += 1;
        });
    }

    /// All is whole again. Connections that were cut end now.
    pub fn heal(&self) {
        let waiting = self.with(|state| {
            state.cut.clear();
            state.epoch += 1;
            std::mem::take(&mut state.waiting)
        });
        waiting.into_iter().for_each(Waker::wake);
    }

    /// The network of the node that listens at this port.
    pub fn net(&self, port: u16) -> Arc<dyn Net> {
        Arc::new(CutNet { cuts: self.clone(), port, inner: TokioNet::default() })
    }
}

struct CutNet {
    cuts: Cuts,
    port: u16,
    inner: TokioNet,
}

/// A connection that this node has dialled: each one of a pair is dialled by one of its ends.
struct Cuttable<T> {
    inner: T,
    cuts: Cuts,
    pair: (u16, u16),
    epoch: u64,
    was_cut: bool,
}

enum Now {
    Whole,
    Silent,
    Ended,
}

impl<T> Cuttable<T> {
    fn now(&mut self, cx: &Context<'_>) -> Now {
        let (pair, epoch) = (self.pair, self.epoch);
        let (is_cut, changed) = self.cuts.with(|state| {
            let is_cut = state.cut.contains(&pair);
            if is_cut {
                state.waiting.push(cx.waker().clone());
            }
            (is_cut, state.epoch != epoch)
        });
        if is_cut {
            self.was_cut = true;
            return Now::Silent;
        }
        if changed && self.was_cut { Now::Ended } else { Now::Whole }
    }
}

fn reset<T>() -> Poll<io::Result<T>> {
    Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
}

impl<T: AsyncRead + Unpin> AsyncRead for Cuttable<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.now(cx) {
            Now::Whole => Pin::new(&mut self.inner).poll_read(cx, into),
            Now::Silent => Poll::Pending,
            Now::Ended => reset(),
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Cuttable<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.now(cx) {
            Now::Whole => Pin::new(&mut self.inner).poll_write(cx, bytes),
            // The system takes it, and it goes nowhere.
            Now::Silent => Poll::Ready(Ok(bytes.len())),
            Now::Ended => reset(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

impl Net for CutNet {
    fn connect<'a>(&'a self, address: &'a str) -> NetFuture<'a, Stream> {
        Box::pin(async move {
            let port = address.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
            let pair = pair(self.port, port.ok_or(io::ErrorKind::InvalidInput)?);
            let (is_cut, epoch) = self.cuts.with(|state| (state.cut.contains(&pair), state.epoch));
            if is_cut {
                return Err(io::ErrorKind::HostUnreachable.into());
            }
            let Stream { reader, writer, address } = self.inner.connect(address).await?;
            let cuts = &self.cuts;
            Ok(Stream {
                reader: Box::new(Cuttable { inner: reader, cuts: cuts.clone(), pair, epoch, was_cut: false }),
                writer: Box::new(Cuttable { inner: writer, cuts: cuts.clone(), pair, epoch, was_cut: false }),
                address,
            })
        })
    }

    fn bind<'a>(&'a self, address: &'a str) -> NetFuture<'a, Box<dyn Acceptor>> {
        self.inner.bind(address)
    }
}
