//! Typed ractor actors reached over TCP in MessagePack.
//!
//! A process exposes an actor under a name; other nodes hold a typed [`RemoteRef`] to it and `cast`, or `call` with a
//! deadline, and `monitor` it. The bridge knows nothing of Raft.
//!
//! ```
//! use quorate_bridge::{Bridge, BridgeOptions, Exposed, Identity, Inbound, PeerAddress, Protocol, SinkClosed};
//! use std::time::Duration;
//!
//! struct Echo;
//! impl Protocol for Echo {
//!     type Message = String;
//!     type Reply = String;
//!     const NAME: &'static str = "echo";
//!     const VERSION: u16 = 1;
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut options = BridgeOptions::new("doc/a", Identity::peer([7; 32], "a", 1, 1));
//! options.listen = Some("127.0.0.1:0".into());
//! let a = Bridge::start(options, None).await?;
//! a.expose("echo", Exposed::sink::<Echo>(|batch: Vec<Inbound<Echo>>| {
//!     for inbound in batch {
//!         if let Some(reply) = inbound.reply {
//!             reply.send(&inbound.message).map_err(|_| SinkClosed)?;
//!         }
//!     }
//!     Ok(())
//! }))?;
//!
//! let b = Bridge::start(BridgeOptions::new("doc/b", Identity::peer([7; 32], "b", 1, 1)), None).await?;
//! b.add_peer(PeerAddress::new("a", a.local_addr().expect("it listens").to_string()))?;
//! let echo = b.remote::<Echo>("a", "echo")?;
//! let reply = loop {
//!     match echo.call(&"hello".to_owned(), Duration::from_secs(1)).await {
//!         Err(quorate_bridge::CallError::NotQueued(_)) => tokio::task::yield_now().await,
//!         end => break end?,
//!     }
//! };
//! assert_eq!(reply, "hello");
//! # a.stop().await; b.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Guarantees
//!
//! - **At most once.** The bridge never resends a message.
//! - **Order.** Kept per sender, target and [`Class`], as long as one connection lasts. A new connection of a node ends
//!   the older one before its first message is delivered. Gaps are reported by [`LinkEvent`].
//! - **Every call ends**: by its reply or one [`CallError`], whose `outcome()` says whether the actor may have seen it.
//! - **Bounds.** Each connection's queue is bounded in bytes: control messages keep their own small reserve, where the
//!   newest win; bulk is refused as `Busy`. Frames, depth, names, calls, monitors and connections are capped.
//! - **Malformed input** closes the connection it came on, with a logged reason. A well-formed payload that its
//!   protocol does not understand is answered, not fatal: versions differ during an upgrade.
//! - **Each direction has its own connection.** A node's Link carries its requests and their answers; the peer's Link
//!   carries the peer's.
//!
//! It is not: encrypted or authenticated (wrap [`Net`]), a gossip or a discovery service, a broker that stores.
//!
//! # Floors
//!
//! Each floor imports only those before it: `identity` (who is at the other end) -> `frame` (bytes) -> `connection`
//! (one TCP connection) -> `endpoint` (what is exposed and called over it) -> `actors` (what runs it). A lower floor
//! reaches a higher one through a seam of its own: `Admission`, `Net`, and the connection's `Receiver`.

#![warn(clippy::large_futures)]

mod actors;
mod backoff;
mod connection;
mod endpoint;
mod error;
mod event;
mod frame;
mod handle;
mod identity;
mod lock;
mod net;
mod options;
mod task;

pub use actors::{kill_below, panic_in};
pub use endpoint::{Exposed, Inbound, Protocol, RemoteRef, Replies, ReplyPort, SinkClosed};
pub use error::{CallError, CallStep, CastError, NameError, ReplyError, Sent, StartError};
pub use event::{
    DownReason, Gap, LinkChange, LinkEvent, LinkRefusal, LinkState, LinkStatus, MonitorChange, MonitorEvent,
    MonitorId,
};
pub use frame::{Class, Encoding, FrameError, Inspector, WIRE_FRAME_BYTES_MAX};
pub use handle::{Bridge, BridgeHandle, PeerAddress};
pub use identity::{
    Admission, Admitting, Direction, Hello, Identity, PeerInfo, PeerKind, Refusal, RefusalCode,
};
pub use net::{Acceptor, Net, NetFuture, Stream, TokioNet};
pub use options::BridgeOptions;
