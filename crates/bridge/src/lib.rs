//! Typed ractor actors reached over TCP in MessagePack.
//!
//! A process exposes an actor under a name; other nodes hold a typed [`RemoteRef`] to it and `cast`, or `call` with a
//! deadline, and `monitor` it. The bridge knows nothing of Raft.
//!
//! ```
//! use quorate_bridge::{Bridge, BridgeOptions, Exposed, Gone, Identity, Inbound, PeerAddress, Protocol};
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
//!             reply.send(&inbound.message).map_err(|_| Gone)?;
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
//!         Err(quorate_bridge::CallError::NotConnected { .. }) => tokio::task::yield_now().await,
//!         end => break end?,
//!     }
//! };
//! assert_eq!(reply, "hello");
//! # a.stop().await; b.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! # What holds
//!
//! - **At most once.** Nothing is sent again by the bridge.
//! - **Order.** Per sender, target and [`Class`], as long as one connection lasts. A new connection of a node ends the
//!   older one before its first message is delivered. Gaps are told by [`LinkEvent`].
//! - **Every call ends**: by its reply or one [`CallError`], whose `outcome()` says whether the actor may have seen it.
//! - **Bounds.** Each connection's queue is bounded in bytes: control messages keep their own small reserve, where the
//!   newest win; bulk is refused as `Busy`. Frames, depth, names, calls, monitors and connections are capped.
//! - **Malformed input** closes the connection it came on, with a logged reason. A well-formed payload that its
//!   protocol does not understand is answered, not fatal: versions differ during an upgrade.
//! - **Both directions have their own connection.** A node's Link carries its requests and their answers; the peer's
//!   Link carries the peer's.
//!
//! It is not: encrypted or authenticated (wrap [`Net`]), a gossip or a discovery service, a broker that stores.

#![warn(clippy::large_futures)]

mod actors;
mod admission;
mod core;
mod error;
mod event;
mod expose;
mod frame;
mod handle;
mod handshake;
mod inspect;
mod jitter;
mod lock;
mod net;
mod options;
mod outbox;
mod protocol;
mod remote;
mod slot;
mod task;
mod wire;

pub use actors::bridge::{Bridge, BridgeArguments, BridgeMessage, BridgeState, Inlet, Revival};
pub use actors::{kill_below, panic_in};
pub use admission::{Admission, AdmitAll, Admitting, Direction, Refusal, RefusalCode, Roster};
pub use error::{CallError, CastError, NameError, ReplyError, Sent, Stage, StartError};
pub use event::{
    DownReason, Gap, LinkChange, LinkEvent, LinkState, LinkStatus, MonitorChange, MonitorEvent, MonitorId,
};
pub use expose::{Exposed, Gone};
pub use frame::{
    DEPTH_MAX, FRAGMENT_BYTES, FrameError, HELLO_FRAME_BYTES_MAX, NAME_BYTES_MAX, NODE_BYTES_MAX,
    TEXT_BYTES_MAX, WIRE_FRAME_BYTES_MAX,
};
pub use handle::{BridgeHandle, PeerAddress};
pub use handshake::Hello;
pub use inspect::{Inspected, Inspector};
pub use net::{Acceptor, Connection, Net, NetFuture, TokioNet};
pub use options::{BridgeOptions, Identity, PROTOCOL_MAX, PROTOCOL_MIN};
pub use protocol::{Class, Encoding, Inbound, Kind, PeerInfo, Protocol, ReplyPort};
pub use remote::{Parcel, RemoteRef};
