//! Names of snapshot files. One that is not exactly as it is made here is a stranger's, and left alone.

use std::fmt::Write as _;

use quorate_core::{GroupId, Hash, Index, Position, Term};

const WHOLE: &str = ".snap";
const PART: &str = ".part";
const ASIDE: &str = ".damaged";

/// What a file is, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    /// Published.
    Whole { group: GroupId, index: Index },
    /// Published once, and found damaged.
    Aside { group: GroupId, index: Index },
    /// Being written by this process, or left by an earlier one. The number keeps two of one index apart.
    Begun { group: GroupId, index: Index, number: u32 },
    /// Being received. All that was announced is in the name, so that only the same snapshot is resumed.
    Received { group: GroupId, at: Position, bytes: u64 },
}

impl Name {
    /// The file's name.
    pub(super) fn text(self) -> String {
        match self {
            Self::Whole { group, index } => format!("{:016x}-{:016x}{WHOLE}", group.0, index.0),
            Self::Aside { group, index } => format!("{:016x}-{:016x}{ASIDE}", group.0, index.0),
            Self::Begun { group, index, number } => {
                format!("{:016x}-{:016x}-{number:08x}{PART}", group.0, index.0)
            }
            Self::Received { group, at, bytes } => {
                let mut text = format!("{:016x}-{:016x}-{:016x}-", group.0, at.index.0, at.term.0);
                for byte in at.chain.0 {
                    let _ = write!(text, "{byte:02x}");
                }
                text + &format!("-{bytes:016x}{PART}")
            }
        }
    }

    /// Reads a name; `None` for any that [`Name::text`] does not give.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (stem, ending) = text.split_at(text.rfind('.')?);
        let fields: Vec<&str> = stem.split('-').collect();
        let name = match (ending, fields.as_slice()) {
            (WHOLE, [group, index]) => Self::Whole { group: GroupId(hex(group)?), index: Index(hex(index)?) },
            (ASIDE, [group, index]) => Self::Aside { group: GroupId(hex(group)?), index: Index(hex(index)?) },
            (PART, [group, index, number]) => Self::Begun {
                group: GroupId(hex(group)?),
                index: Index(hex(index)?),
                number: u32::try_from(hex(number)?).ok()?,
            },
            (PART, [group, index, term, chain, bytes]) => {
                let at = Position { index: Index(hex(index)?), term: Term(hex(term)?), chain: hash(chain)? };
                Self::Received { group: GroupId(hex(group)?), at, bytes: hex(bytes)? }
            }
            _ => return None,
        };
        // Capital letters, signs and missing zeros would be read as well.
        (name.text() == text).then_some(name)
    }
}

fn hex(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 16).ok()
}

fn hash(text: &str) -> Option<Hash> {
    let mut bytes = [0; 32];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(Hash(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_is_made_and_no_other() {
        let at = Position { index: Index(0x1f), term: Term(3), chain: Hash::of(b"chain") };
        let group = GroupId(0xab);
        for name in [
            Name::Whole { group, index: at.index },
            Name::Aside { group, index: at.index },
            Name::Begun { group, index: at.index, number: 2 },
            Name::Received { group, at, bytes: 77 },
        ] {
            let text = name.text();
            assert_eq!(Name::parse(&text), Some(name));
            let strange =
                [text.to_uppercase(), format!("+{}", &text[1..]), text[1..].to_owned(), format!("{text}~")];
            for strange in strange {
                assert_eq!(Name::parse(&strange), None, "{strange}");
            }
        }
        for strange in ["", ".snap", "-.snap", "notes.part", "a-b.snap", "é-é-é-é-é.part"] {
            assert_eq!(Name::parse(strange), None, "{strange}");
        }
    }
}
