//! MessagePack with named fields, checked before it is decoded.
//!
//! `rmp-serde` does not count the nesting of enums and ignores trailing bytes. A recursive command type could so be
//! made to overflow the stack, which no supervisor survives. So the shape is scanned first, in a loop: one value,
//! nothing after it, no container deeper than [`DEPTH_MAX`]. Encoding checks the same: what cannot be read back is
//! refused before it enters the log.

use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The deepest nesting of arrays and maps in a command, reply, query or answer. An enum variant that carries data
/// counts as a map.
pub const DEPTH_MAX: usize = 64;

/// Why a value was not encoded, or bytes not decoded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The value's `Serialize` failed, or the value cannot be written in MessagePack.
    #[error("value cannot be written as messagepack")]
    Encode(#[from] rmp_serde::encode::Error),
    /// Well-formed, but not of the type asked for.
    #[error("messagepack does not fit the type expected: {0}")]
    Decode(#[from] rmp_serde::decode::Error),
    /// More bytes than allowed.
    #[error("{bytes} bytes of messagepack, the limit is {bytes_max}; split the value")]
    TooLarge {
        /// The length of the value.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// Nested deeper than [`DEPTH_MAX`].
    #[error("messagepack nested deeper than {DEPTH_MAX} at byte {offset}; flatten the value")]
    TooDeep {
        /// The byte at which it was found.
        offset: usize,
    },
    /// The bytes end inside the value.
    #[error("messagepack cut short: byte {offset} is missing, the value has {bytes}")]
    Short {
        /// The first byte that is missing.
        offset: usize,
        /// How many bytes there are.
        bytes: usize,
    },
    /// The byte `0xc1`, which begins no value.
    #[error("not messagepack: reserved byte 0xc1 at {offset}")]
    Reserved {
        /// The byte at which it was found.
        offset: usize,
    },
    /// More follows the value.
    #[error("{bytes} bytes follow the value that ends at byte {offset}")]
    Trailing {
        /// Where the value ends.
        offset: usize,
        /// How much follows.
        bytes: usize,
    },
}

/// Encodes a value as MessagePack with named fields, at most `bytes_max` long.
///
/// ```
/// use quorate::machine::{decode, encode};
/// let bytes = encode(&("k", 7), 1024)?;
/// assert_eq!(decode::<(String, u8)>(&bytes)?, ("k".to_owned(), 7));
/// # Ok::<(), quorate::machine::CodecError>(())
/// ```
pub fn encode<T: Serialize + ?Sized>(value: &T, bytes_max: usize) -> Result<Bytes, CodecError> {
    encode_with_room(value, bytes_max, 64)
}

/// As [`encode`], for bytes that are sent and not kept: with room for most replies from the beginning.
pub(crate) fn encode_reply<T: Serialize + ?Sized>(value: &T, bytes_max: usize) -> Result<Bytes, CodecError> {
    encode_with_room(value, bytes_max, 512)
}

fn encode_with_room<T: Serialize + ?Sized>(
    value: &T,
    bytes_max: usize,
    room: usize,
) -> Result<Bytes, CodecError> {
    let mut out = BytesMut::with_capacity(room);
    encode_into(value, bytes_max, &mut out)?;
    Ok(out.freeze())
}

/// Appends a value to `out`, which keeps some of it if this fails. The limit is on the value alone.
pub(super) fn encode_into<T: Serialize + ?Sized>(
    value: &T,
    bytes_max: usize,
    out: &mut BytesMut,
) -> Result<(), CodecError> {
    let start = out.len();
    rmp_serde::encode::write_named(&mut out.writer(), value)?;
    let bytes = out.len() - start;
    if bytes > bytes_max {
        return Err(CodecError::TooLarge { bytes, bytes_max });
    }
    check_shape(&out[start..])
}

/// Decodes one value that takes all of `bytes`.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    check_shape(bytes)?;
    Ok(rmp_serde::from_slice(bytes)?)
}

/// What a marker means for the bytes after it.
struct Shape {
    /// Bytes of marker, length and content that hold no further value.
    bytes: usize,
    /// How many values follow inside; `None` for a scalar.
    children: Option<u64>,
}

/// Checks that `bytes` are exactly one MessagePack value, no deeper than [`DEPTH_MAX`]. Its cost is one step per value;
/// it does not recurse and allocates nothing.
pub(super) fn check_shape(bytes: &[u8]) -> Result<(), CodecError> {
    let mut open = [0_u64; DEPTH_MAX];
    let mut depth = 0;
    let mut offset = 0;
    loop {
        let shape = shape_at(bytes, offset)?;
        let end = offset.saturating_add(shape.bytes);
        if end > bytes.len() {
            return Err(CodecError::Short { offset: bytes.len(), bytes: bytes.len() });
        }
        if let Some(children) = shape.children {
            let slot = open.get_mut(depth).ok_or(CodecError::TooDeep { offset })?;
            *slot = children;
            depth += 1;
        }
        offset = end;
        while depth > 0 && open[depth - 1] == 0 {
            depth -= 1;
        }
        if depth == 0 {
            break;
        }
        open[depth - 1] -= 1;
    }
    match bytes.len() - offset {
        0 => Ok(()),
        trailing => Err(CodecError::Trailing { offset, bytes: trailing }),
    }
}

fn shape_at(bytes: &[u8], offset: usize) -> Result<Shape, CodecError> {
    let short = || CodecError::Short { offset: bytes.len(), bytes: bytes.len() };
    let number = |width: usize| -> Result<usize, CodecError> {
        let digits = bytes.get(offset + 1..offset + 1 + width).ok_or_else(short)?;
        Ok(digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit)))
    };
    let scalar = |bytes: usize| Ok(Shape { bytes, children: None });
    let holding = |bytes: usize, children: usize| Ok(Shape { bytes, children: Some(children as u64) });
    let marker = *bytes.get(offset).ok_or_else(short)?;
    match marker {
        0x00..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3 => scalar(1),
        0x80..=0x8f => holding(1, 2 * usize::from(marker & 0x0f)),
        0x90..=0x9f => holding(1, usize::from(marker & 0x0f)),
        0xa0..=0xbf => scalar(1 + usize::from(marker & 0x1f)),
        0xc1 => Err(CodecError::Reserved { offset }),
        0xc4 | 0xd9 => scalar(2 + number(1)?),
        0xc5 | 0xda => scalar(3 + number(2)?),
        0xc6 | 0xdb => scalar(5 + number(4)?),
        0xc7 => scalar(3 + number(1)?),
        0xc8 => scalar(4 + number(2)?),
        0xc9 => scalar(6 + number(4)?),
        0xcc | 0xd0 => scalar(2),
        0xcd | 0xd1 | 0xd4 => scalar(3),
        0xd5 => scalar(4),
        0xca | 0xce | 0xd2 => scalar(5),
        0xd6 => scalar(6),
        0xcb | 0xcf | 0xd3 => scalar(9),
        0xd7 => scalar(10),
        0xd8 => scalar(18),
        0xdc => holding(3, number(2)?),
        0xdd => holding(5, number(4)?),
        0xde => holding(3, 2 * number(2)?),
        0xdf => holding(5, 2 * number(4)?),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    enum Tree {
        Leaf,
        Number(i64),
        Inner(Box<Tree>),
        Many { name: String, trees: Vec<Tree>, map: BTreeMap<u16, Option<f64>>, bytes: Bytes },
    }

    fn nested(depth: usize) -> Tree {
        (0..depth).fold(Tree::Leaf, |tree, _| Tree::Inner(Box::new(tree)))
    }

    fn trees() -> impl Strategy<Value = Tree> {
        let leaf = prop_oneof![Just(Tree::Leaf), any::<i64>().prop_map(Tree::Number)];
        leaf.prop_recursive(5, 40, 5, |inner| {
            prop_oneof![
                inner.clone().prop_map(|tree| Tree::Inner(Box::new(tree))),
                (
                    ".{0,40}",
                    prop::collection::vec(inner, 0..20),
                    prop::collection::btree_map(any::<u16>(), prop::option::of(-1.0..1.0), 0..20),
                    prop::collection::vec(any::<u8>(), 0..300)
                )
                    .prop_map(|(name, trees, map, bytes)| Tree::Many {
                        name,
                        trees,
                        map,
                        bytes: bytes.into()
                    }),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_encoded_comes_back(tree in trees()) {
            let bytes = encode(&tree, usize::MAX).expect("encodes");
            prop_assert_eq!(decode::<Tree>(&bytes).expect("decodes"), tree);
        }

        #[test]
        fn every_cut_and_every_extra_byte_is_refused(tree in trees(), cut in any::<prop::sample::Index>()) {
            let bytes = encode(&tree, usize::MAX).expect("encodes").to_vec();
            prop_assert!(check_shape(&bytes[..cut.index(bytes.len())]).is_err());
            let longer = [&bytes[..], &[0xc0]].concat();
            let trailing = matches!(check_shape(&longer), Err(CodecError::Trailing { bytes: 1, .. }));
            prop_assert!(trailing);
        }

        #[test]
        fn any_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = decode::<Tree>(&bytes);
        }
    }

    #[test]
    fn depth_is_counted_for_enums_both_ways() {
        let deepest = encode(&nested(DEPTH_MAX), usize::MAX).expect("as deep as allowed");
        assert_eq!(decode::<Tree>(&deepest).expect("decodes"), nested(DEPTH_MAX));
        assert!(matches!(encode(&nested(DEPTH_MAX + 1), usize::MAX), Err(CodecError::TooDeep { .. })));
        // What would overflow the stack of a decoder that recurses: {"Inner": {"Inner": ...
        let bomb = b"\x81\xa5Inner".repeat(1_000_000);
        assert!(matches!(decode::<Tree>(&bomb), Err(CodecError::TooDeep { .. })));
    }

    #[test]
    fn claims_beyond_the_bytes_are_refused() {
        for claim in
            [&b"\xdd\xff\xff\xff\xff"[..], b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xc1", b""]
        {
            assert!(decode::<Vec<u8>>(claim).is_err());
        }
        assert!(matches!(encode(&[0_u8; 32], 16), Err(CodecError::TooLarge { bytes_max: 16, .. })));
    }
}
