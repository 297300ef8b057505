//! The bodies, one struct per kind. Cold ones are serde structs sent as named maps; hot ones are written and read by
//! hand (`pack.rs`).

use super::caps::{NAME_BYTES_MAX, TEXT_BYTES_MAX};
use super::cold::{cap_text, read_cold};
use super::error::FrameError;
use super::kind::{Class, FrameKind};
use super::pack::{self, Unpack};
use crate::identity::Hello;
use bytes::BytesMut;
use serde::{Deserialize, Serialize};

/// The magic of the Hello frame.
pub(crate) const MAGIC: &str = "quorate-bridge";

/// The Hello frame: the magic first, so that another protocol is recognised as such.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HelloBody {
    pub(crate) magic: String,
    pub(crate) hello: Hello,
}

/// A [`crate::Refusal`] as it travels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refused {
    pub(crate) code: String,
    pub(crate) detail: String,
    pub(crate) remedy: String,
}

/// Ping and Pong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Token {
    pub(crate) token: u64,
}

/// Monitor, Demonitor and Up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Name {
    pub(crate) name: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Down {
    pub(crate) name: String,
    /// `died`, `withdrawn` or `not_exposed`.
    pub(crate) reason: String,
    pub(crate) detail: String,
}

/// Why a call or a cast failed at the receiver. Strings on the wire, so that a new one is not fatal to an old node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FailCode {
    NoSuchActor,
    Died,
    Busy,
    Unsupported,
    Malformed,
    /// A code of a newer version.
    #[serde(other)]
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CallFailed {
    pub(crate) call: u64,
    pub(crate) code: FailCode,
    pub(crate) detail: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CastFailed {
    pub(crate) name: String,
    pub(crate) code: FailCode,
    pub(crate) count: u64,
    pub(crate) detail: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unsupported {
    pub(crate) kind: u8,
}

impl Name {
    pub(crate) fn read(kind: FrameKind, body: &[u8]) -> Result<String, FrameError> {
        let Name { name } = read_cold(kind, body)?;
        cap_text(kind, "name", &name, NAME_BYTES_MAX)?;
        Ok(name)
    }
}

impl Down {
    pub(crate) fn read(body: &[u8]) -> Result<Self, FrameError> {
        let down: Down = read_cold(FrameKind::Down, body)?;
        cap_text(FrameKind::Down, "name", &down.name, NAME_BYTES_MAX)?;
        cap_text(FrameKind::Down, "detail", &down.detail, TEXT_BYTES_MAX)?;
        Ok(down)
    }
}

/// What a message is addressed to: an exposed name and the protocol the sender speaks to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CastBody<'a> {
    pub(crate) name: &'a str,
    /// CRC-32 of the protocol's name.
    pub(crate) protocol: u32,
    pub(crate) version: u32,
    pub(crate) payload: &'a [u8],
}

impl<'a> CastBody<'a> {
    /// Writes all but the payload; returns where the payload's length goes.
    pub(crate) fn open(buffer: &mut BytesMut, name: &str, protocol: u32, version: u32) -> usize {
        pack::array(buffer, 4);
        Self::open_address(buffer, name, protocol, version)
    }

    fn open_address(buffer: &mut BytesMut, name: &str, protocol: u32, version: u32) -> usize {
        pack::string(buffer, name);
        pack::u32(buffer, protocol);
        pack::u32(buffer, version);
        pack::open_bin(buffer)
    }

    pub(crate) fn read(body: &'a [u8]) -> Result<Self, FrameError> {
        let mut unpack = Unpack::new(body, "Cast");
        unpack.array(4)?;
        Self::read_address(FrameKind::Cast, unpack)
    }

    /// Reads what a cast and a call end with.
    fn read_address(kind: FrameKind, mut unpack: Unpack<'a>) -> Result<Self, FrameError> {
        let (name, protocol, version) = (unpack.string()?, unpack.u32()?, unpack.u32()?);
        cap_text(kind, "name", name, NAME_BYTES_MAX)?;
        Ok(CastBody { name, protocol, version, payload: unpack.last_bin()? })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CallBody<'a> {
    pub(crate) call: u64,
    pub(crate) class: Class,
    /// How much longer the caller waits, so that the receiver can skip work that no caller waits for.
    pub(crate) timeout_ms: u64,
    pub(crate) to: CastBody<'a>,
}

impl<'a> CallBody<'a> {
    pub(crate) fn open(
        buffer: &mut BytesMut,
        (call, class, timeout_ms): (u64, Class, u64),
        name: &str,
        protocol: u32,
        version: u32,
    ) -> usize {
        pack::array(buffer, 7);
        pack::u64(buffer, call);
        pack::u32(buffer, u32::from(class.to_wire()));
        pack::u64(buffer, timeout_ms);
        CastBody::open_address(buffer, name, protocol, version)
    }

    pub(crate) fn read(body: &'a [u8]) -> Result<Self, FrameError> {
        let mut unpack = Unpack::new(body, "Call");
        unpack.array(7)?;
        let (call, class, timeout_ms) = (unpack.u64()?, read_class("Call", unpack.u32()?)?, unpack.u64()?);
        Ok(CallBody { call, class, timeout_ms, to: CastBody::read_address(FrameKind::Call, unpack)? })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReplyBody<'a> {
    pub(crate) call: u64,
    pub(crate) payload: &'a [u8],
}

impl<'a> ReplyBody<'a> {
    pub(crate) fn open(buffer: &mut BytesMut, call: u64) -> usize {
        pack::array(buffer, 2);
        pack::u64(buffer, call);
        pack::open_bin(buffer)
    }

    pub(crate) fn read(body: &'a [u8]) -> Result<Self, FrameError> {
        let mut unpack = Unpack::new(body, "Reply");
        unpack.array(2)?;
        Ok(ReplyBody { call: unpack.u64()?, payload: unpack.last_bin()? })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fragment<'a> {
    pub(crate) class: Class,
    pub(crate) offset: usize,
    pub(crate) total: usize,
    pub(crate) bytes: &'a [u8],
}

impl<'a> Fragment<'a> {
    pub(crate) fn read(body: &'a [u8]) -> Result<Self, FrameError> {
        let mut unpack = Unpack::new(body, "Fragment");
        unpack.array(4)?;
        let class = read_class("Fragment", unpack.u32()?)?;
        let (offset, total) = (unpack.u64()? as usize, unpack.u64()? as usize);
        Ok(Fragment { class, offset, total, bytes: unpack.last_bin()? })
    }
}

fn read_class(kind: &'static str, value: u32) -> Result<Class, FrameError> {
    u8::try_from(value)
        .ok()
        .and_then(Class::from_wire)
        .ok_or(FrameError::Envelope { kind, what: "a class this version knows (0 control, 1 bulk)" })
}
