//! The payload of a Command entry: a small versioned header, an optional session key, and the command in MessagePack.
//! Made once, when proposed; the same bytes go to disk, to every peer, and through every replay.
//!
//! ```text
//! byte 0       version, 1
//! byte 1       flags: bit 0 session, bit 1 since (only with bit 0); all others 0
//! 16 + 8       with bit 0: client, sequence, big-endian
//! 8            with bit 1: since, big-endian
//! rest         the command, MessagePack with named fields
//! ```

use std::fmt;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use quorate_core::{Index, PAYLOAD_BYTES_MAX};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::codec::{self, CodecError};

/// The version this build writes, and the only one it reads.
pub const ENVELOPE_VERSION: u8 = 1;
/// The longest header: what an envelope adds to a command at most.
pub const SESSION_HEADER_BYTES: usize = 2 + 16 + 8 + 8;

const FLAG_SESSION: u8 = 0b01;
const FLAG_SINCE: u8 = 0b10;

/// Names one client session. Draw it at random, or derive it from a name that no other client uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClientId(pub u128);

impl ClientId {
    /// The id that belongs to a name: the first 128 bits of its blake3.
    pub fn of_name(name: &str) -> Self {
        let hash = blake3::hash(name.as_bytes());
        let first: [u8; 16] = hash.as_bytes()[..16].try_into().expect("a blake3 hash has 32 bytes");
        Self(u128::from_be_bytes(first))
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// What makes a retry of a command recognisable: propose it again under the same key, and it takes effect once
/// (Raft thesis, section 6.3).
///
/// A client has one command under way at a time, and gives the next one a greater sequence: a command that is overtaken
/// by a greater sequence of its client is never applied. A client that wants several under way takes several ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SessionKey {
    /// The client session.
    pub client: ClientId,
    /// Counts the commands of the session.
    pub sequence: u64,
    /// An index that was applied before this client first used its id, the same for all its commands. With it, a client
    /// that was forgotten is told so and cannot have a command applied twice; without it, a retry that comes after
    /// [`CLIENTS_MAX`](super::CLIENTS_MAX) other clients were active is taken for new.
    pub since: Option<Index>,
}

impl SessionKey {
    /// A key without `since`.
    pub fn new(client: ClientId, sequence: u64) -> Self {
        Self { client, sequence, since: None }
    }

    /// With an index that was applied before this client first used its id.
    #[must_use]
    pub fn since(self, since: Index) -> Self {
        Self { since: Some(since), ..self }
    }
}

/// A command as it travels, still encoded. Cloning shares the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The session it was proposed under.
    pub session: Option<SessionKey>,
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
    /// A flag that this version does not define. No build writes it.
    #[error("command envelope has flags {flags:#010b}, version {ENVELOPE_VERSION} defines bits 0 and 1")]
    Flags {
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
    /// let key = SessionKey::new(ClientId::of_name("till-4"), 17);
    /// let payload = Envelope::encode(&"deposit", Some(key), 1 << 20)?;
    /// assert_eq!(Envelope::decode(&payload).expect("decodes").session, Some(key));
    /// # Ok::<(), quorate::machine::CodecError>(())
    /// ```
    pub fn encode<C: Serialize + ?Sized>(
        command: &C,
        session: Option<SessionKey>,
        bytes_max: usize,
    ) -> Result<Bytes, CodecError> {
        let mut out = BytesMut::with_capacity(128);
        put_header(&mut out, session);
        let header = out.len();
        let bytes_max = bytes_max.min(PAYLOAD_BYTES_MAX);
        codec::encode_into(command, bytes_max.saturating_sub(header), &mut out)?;
        Ok(out.freeze())
    }

    /// The payload of this envelope.
    pub fn to_payload(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(SESSION_HEADER_BYTES + self.command.len());
        put_header(&mut out, self.session);
        out.put_slice(&self.command);
        out.freeze()
    }

    /// Takes a payload apart. The command is a slice of it and is not looked at.
    pub fn decode(payload: &Bytes) -> Result<Self, EnvelopeError> {
        let bytes = payload.len();
        if bytes > PAYLOAD_BYTES_MAX {
            return Err(EnvelopeError::TooLarge { bytes });
        }
        let version = *payload.first().ok_or(EnvelopeError::Short { bytes })?;
        if version != ENVELOPE_VERSION {
            return Err(EnvelopeError::Version { version });
        }
        let flags = *payload.get(1).ok_or(EnvelopeError::Short { bytes })?;
        let (session, since) = (flags & FLAG_SESSION != 0, flags & FLAG_SINCE != 0);
        if flags & !(FLAG_SESSION | FLAG_SINCE) != 0 || (since && !session) {
            return Err(EnvelopeError::Flags { flags });
        }
        let mut command = payload.slice(2..);
        let short = EnvelopeError::Short { bytes };
        if !session {
            return Ok(Self { session: None, command });
        }
        let client = ClientId(command.try_get_u128().map_err(|_| short)?);
        let sequence = command.try_get_u64().map_err(|_| short)?;
        let since = if since { Some(Index(command.try_get_u64().map_err(|_| short)?)) } else { None };
        Ok(Self { session: Some(SessionKey { client, sequence, since }), command })
    }

    /// Decodes the command: one value, nothing after it, no deeper than [`DEPTH_MAX`](super::DEPTH_MAX).
    pub fn command<C: DeserializeOwned>(&self) -> Result<C, CodecError> {
        codec::decode(&self.command)
    }
}

fn put_header(out: &mut BytesMut, session: Option<SessionKey>) {
    out.put_u8(ENVELOPE_VERSION);
    let Some(SessionKey { client, sequence, since }) = session else {
        out.put_u8(0);
        return;
    };
    out.put_u8(FLAG_SESSION | if since.is_some() { FLAG_SINCE } else { 0 });
    out.put_u128(client.0);
    out.put_u64(sequence);
    if let Some(since) = since {
        out.put_u64(since.0);
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::*;

    use super::*;
    use crate::machine::{Add, KvCommand, KvExpected};

    fn sessions() -> impl Strategy<Value = Option<SessionKey>> {
        let key = (any::<u128>(), any::<u64>(), prop::option::of(any::<u64>()));
        prop::option::of(key.prop_map(|(client, sequence, since)| SessionKey {
            client: ClientId(client),
            sequence,
            since: since.map(Index),
        }))
    }

    proptest! {
        #[test]
        fn an_envelope_comes_back(session in sessions(), command in ".{0,200}") {
            let payload = Envelope::encode(&command, session, usize::MAX).expect("encodes");
            let back = Envelope::decode(&payload).expect("decodes");
            prop_assert_eq!(back.session, session);
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
        let key = Some(SessionKey::new(ClientId(1), 1));
        assert_eq!(Envelope::encode(&7, key, 27).expect("fits").len(), 27);
        assert!(matches!(Envelope::encode(&7, key, 26), Err(CodecError::TooLarge { .. })));
    }

    #[test]
    fn unknown_versions_and_flags_are_told_apart() {
        let decode = |bytes: &'static [u8]| Envelope::decode(&Bytes::from_static(bytes));
        assert_eq!(decode(&[2, 0, 1]), Err(EnvelopeError::Version { version: 2 }));
        assert_eq!(decode(&[1, 4, 1]), Err(EnvelopeError::Flags { flags: 4 }));
        assert_eq!(decode(&[1, 2, 1]), Err(EnvelopeError::Flags { flags: 2 }));
        assert_eq!(decode(&[1, 1, 1]), Err(EnvelopeError::Short { bytes: 3 }));
        assert_eq!(decode(&[]), Err(EnvelopeError::Short { bytes: 0 }));
    }

    /// Commands in existing logs must stay readable: if this fails, the version has to change.
    #[test]
    fn golden_bytes_of_commands() {
        let key = SessionKey::new(ClientId(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10), 0x1112_1314_1516_1718);
        let cas = KvCommand::CompareAndSet {
            key: "k".into(),
            expected: KvExpected::Value(Bytes::from_static(b"v")),
            value: Some(Bytes::from_static(b"w")),
        };
        let cases = [
            ("add", Envelope::encode(&Add(5), None, 1 << 20)),
            ("add-session", Envelope::encode(&Add(-300), Some(key), 1 << 20)),
            ("add-since", Envelope::encode(&Add(5), Some(key.since(Index(0x2122))), 1 << 20)),
            ("kv-set", Envelope::encode(&KvCommand::set("k", "v"), None, 1 << 20)),
            ("kv-delete", Envelope::encode(&KvCommand::delete("k"), None, 1 << 20)),
            ("kv-cas", Envelope::encode(&cas, None, 1 << 20)),
        ];
        let mut text = String::new();
        for (name, payload) in cases {
            write!(text, "{name} ").expect("writes");
            for byte in payload.expect("encodes") {
                write!(text, "{byte:02x}").expect("writes");
            }
            text.push('\n');
        }
        let golden = include_str!("../../tests/golden/commands-v1.txt");
        assert_eq!(text, golden, "the bytes of commands have changed");
    }
}
