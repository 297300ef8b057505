//! The payload of a Command entry: a small versioned header, an optional key, and the command in MessagePack.
//! Made once, when proposed; the same bytes go to disk, to every peer, and through every replay.
//!
//! ```text
//! byte 0       version: 2 with bit 2, otherwise 1
//! byte 1       flags: bit 0 session, bit 1 since (only with bit 0), bit 2 opaque key (alone); all others 0
//! 16 + 8       with bit 0: client, sequence, big-endian
//! 8            with bit 1: since, big-endian
//! 16           with bit 2: the key's id, big-endian
//! rest         the command, MessagePack with named fields
//! ```
//! Version 2 only where it is needed: a build that knows version 1 alone stops at what it would apply otherwise, and reads
//! all the rest.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use quorate_core::{Index, PAYLOAD_BYTES_MAX};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::codec::{self, CodecError};
use super::key::{ClientId, CommandKey, IdempotencyKey, SessionKey};

/// The newest version this build writes. It reads this one and those before.
pub const ENVELOPE_VERSION: u8 = 2;
/// The version without opaque keys.
const VERSION_1: u8 = 1;
/// The longest header: what an envelope adds to a command at most.
pub const SESSION_HEADER_BYTES: usize = 2 + 16 + 8 + 8;

const FLAG_SESSION: u8 = 0b01;
/// With the bit of a session, without which it means nothing.
const FLAG_SESSION_SINCE: u8 = 0b11;
const FLAG_OPAQUE: u8 = 0b100;

/// A command as it travels, still encoded. Cloning shares the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The key it was proposed under.
    pub key: Option<CommandKey>,
    /// The command in MessagePack.
    pub command: Bytes,
}

/// What is wrong with a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Written by a build that knows more. Another replica may understand it, so no replica may skip it.
    #[error("command envelope has version {version}, this build knows {ENVELOPE_VERSION}: upgrade this node")]
    Version {
        /// The version in the envelope.
        version: u8,
    },
    /// Flags that its version does not define. No build writes them.
    #[error(
        "command envelope of version {version} has flags {flags:#010b}, which that version does not define"
    )]
    Flags {
        /// The version in the envelope.
        version: u8,
        /// The flags in the envelope.
        flags: u8,
    },
    /// The bytes end inside the header.
    #[error("command envelope cut short: {bytes} bytes")]
    Short {
        /// Its length.
        bytes: usize,
    },
    /// Longer than an entry may be.
    #[error("command envelope of {bytes} bytes, the limit is {PAYLOAD_BYTES_MAX}")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
}

impl Envelope {
    /// Encodes a command with its header: the payload of an entry, at most `bytes_max` long (and never longer than
    /// [`PAYLOAD_BYTES_MAX`]).
    ///
    /// ```
    /// use quorate::machine::{ClientId, Envelope, SessionKey};
    /// let key = SessionKey::new(ClientId::of_name("till-4"), 17).into();
    /// let payload = Envelope::encode(&"deposit", Some(key), 1 << 20)?;
    /// assert_eq!(Envelope::decode(&payload).expect("decodes").key, Some(key));
    /// # Ok::<(), quorate::machine::CodecError>(())
    /// ```
    pub fn encode<C: Serialize + ?Sized>(
        command: &C,
        key: Option<CommandKey>,
        bytes_max: usize,
    ) -> Result<Bytes, CodecError> {
        let mut out = BytesMut::with_capacity(128);
        put_header(&mut out, key);
        let header = out.len();
        let bytes_max = bytes_max.min(PAYLOAD_BYTES_MAX);
        codec::encode_into(command, bytes_max.saturating_sub(header), &mut out)?;
        Ok(out.freeze())
    }

    /// The payload of this envelope.
    pub fn to_payload(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(SESSION_HEADER_BYTES + self.command.len());
        put_header(&mut out, self.key);
        out.put_slice(&self.command);
        out.freeze()
    }

    /// Takes a payload apart. The command is a slice of it and is not looked at.
    pub fn decode(payload: &Bytes) -> Result<Self, EnvelopeError> {
        let bytes = payload.len();
        if bytes > PAYLOAD_BYTES_MAX {
            return Err(EnvelopeError::TooLarge { bytes });
        }
        let short = EnvelopeError::Short { bytes };
        let version = *payload.first().ok_or(short)?;
        if !(VERSION_1..=ENVELOPE_VERSION).contains(&version) {
            return Err(EnvelopeError::Version { version });
        }
        let flags = *payload.get(1).ok_or(short)?;
        let mut command = payload.slice(2..);
        let key = match (version, flags) {
            (VERSION_1, 0) => None,
            (VERSION_1, FLAG_SESSION | FLAG_SESSION_SINCE) => {
                let client = ClientId(command.try_get_u128().map_err(|_| short)?);
                let sequence = command.try_get_u64().map_err(|_| short)?;
                let has_since = flags == FLAG_SESSION_SINCE;
                let since = has_since.then(|| command.try_get_u64()).transpose().map_err(|_| short)?;
                Some(SessionKey { client, sequence, since: since.map(Index) }.into())
            }
            (ENVELOPE_VERSION, FLAG_OPAQUE) => {
                Some(IdempotencyKey(command.try_get_u128().map_err(|_| short)?).into())
            }
            _ => return Err(EnvelopeError::Flags { version, flags }),
        };
        Ok(Self { key, command })
    }

    /// Decodes the command: one value, nothing after it, no deeper than [`DEPTH_MAX`](super::DEPTH_MAX).
    pub fn command<C: DeserializeOwned>(&self) -> Result<C, CodecError> {
        codec::decode(&self.command)
    }
}

fn put_header(out: &mut BytesMut, key: Option<CommandKey>) {
    match key {
        None => out.put_slice(&[VERSION_1, 0]),
        Some(CommandKey::Session(SessionKey { client, sequence, since })) => {
            let flags = if since.is_some() { FLAG_SESSION_SINCE } else { FLAG_SESSION };
            out.put_slice(&[VERSION_1, flags]);
            out.put_u128(client.0);
            out.put_u64(sequence);
            if let Some(since) = since {
                out.put_u64(since.0);
            }
        }
        Some(CommandKey::Opaque(key)) => {
            out.put_slice(&[ENVELOPE_VERSION, FLAG_OPAQUE]);
            out.put_u128(key.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::*;

    use super::*;
    use crate::machine::{Add, KvCommand, KvExpected};

    fn keys() -> impl Strategy<Value = Option<CommandKey>> {
        let session = (any::<u128>(), any::<u64>(), prop::option::of(any::<u64>()));
        let session = session.prop_map(|(client, sequence, since)| {
            SessionKey { client: ClientId(client), sequence, since: since.map(Index) }.into()
        });
        prop::option::of(prop_oneof![session, any::<u128>().prop_map(|id| IdempotencyKey(id).into())])
    }

    proptest! {
        #[test]
        fn an_envelope_comes_back(key in keys(), command in ".{0,200}") {
            let payload = Envelope::encode(&command, key, usize::MAX).expect("encodes");
            let back = Envelope::decode(&payload).expect("decodes");
            prop_assert_eq!(back.key, key);
            prop_assert_eq!(back.command::<String>().expect("a string"), command);
            prop_assert_eq!(back.to_payload(), payload);
        }

        #[test]
        fn any_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(envelope) = Envelope::decode(&bytes.clone().into()) {
                prop_assert_eq!(envelope.to_payload(), bytes);
            }
        }
    }

    #[test]
    fn the_limit_counts_the_header() {
        let key = Some(SessionKey::new(ClientId(1), 1).into());
        assert_eq!(Envelope::encode(&7, key, 27).expect("fits").len(), 27);
        assert!(matches!(Envelope::encode(&7, key, 26), Err(CodecError::TooLarge { .. })));
    }

    #[test]
    fn unknown_versions_and_flags_are_told_apart() {
        let decode = |bytes: &[u8]| Envelope::decode(&Bytes::copy_from_slice(bytes));
        for version in [0, 3, 255] {
            assert_eq!(decode(&[version, 0, 1]), Err(EnvelopeError::Version { version }));
        }
        for (version, flags) in [(1, 2), (1, 4), (1, 5), (1, 8), (2, 0), (2, 1), (2, 3), (2, 5), (2, 12)] {
            assert_eq!(decode(&[version, flags, 1]), Err(EnvelopeError::Flags { version, flags }));
        }
        assert_eq!(decode(&[2, 4, 1]), Err(EnvelopeError::Short { bytes: 3 }));
        assert_eq!(decode(&[1, 1, 1]), Err(EnvelopeError::Short { bytes: 3 }));
        assert_eq!(decode(&[]), Err(EnvelopeError::Short { bytes: 0 }));
    }

    /// Commands in existing logs must stay readable: if this fails, the version has to change.
    #[test]
    fn golden_bytes_of_commands() {
        let key = SessionKey::new(ClientId(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10), 0x1112_1314_1516_1718);
        let opaque = IdempotencyKey(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10);
        let cas = KvCommand::CompareAndSet {
            key: "k".into(),
            expected: KvExpected::Value(Bytes::from_static(b"v")),
            value: Some(Bytes::from_static(b"w")),
        };
        let version_1 = [
            ("add", Envelope::encode(&Add(5), None, 1 << 20)),
            ("add-session", Envelope::encode(&Add(-300), Some(key.into()), 1 << 20)),
            ("add-since", Envelope::encode(&Add(5), Some(key.since(Index(0x2122)).into()), 1 << 20)),
            ("kv-set", Envelope::encode(&KvCommand::set("k", "v"), None, 1 << 20)),
            ("kv-delete", Envelope::encode(&KvCommand::delete("k"), None, 1 << 20)),
            ("kv-cas", Envelope::encode(&cas, None, 1 << 20)),
        ];
        let version_2 = [("add-opaque", Envelope::encode(&Add(5), Some(opaque.into()), 1 << 20))];
        let changed = "the bytes of commands have changed";
        assert_eq!(lines(version_1), include_str!("../../tests/golden/commands-v1.txt"), "{changed}");
        assert_eq!(lines(version_2), include_str!("../../tests/golden/commands-v2.txt"), "{changed}");
    }

    fn lines<const N: usize>(cases: [(&str, Result<Bytes, CodecError>); N]) -> String {
        let mut text = String::new();
        for (name, payload) in cases {
            write!(text, "{name} ").expect("writes");
            for byte in payload.expect("encodes") {
                write!(text, "{byte:02x}").expect("writes");
            }
            text.push('\n');
        }
        text
    }
}
