//! Values as a command is given them: as text, from standard input, or from a file.

use std::io::Read;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;

use super::exit::Failure;

/// The longest value that is read; the machine's own limit is checked by the cluster.
const BYTES_MAX: u64 = 64 << 20;

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source<'a> {
    /// A word of the command line; `-` stands for standard input.
    Word(&'a str),
    File(&'a Path),
}

impl Source<'_> {
    /// Reads it. Standard input can be read once.
    pub(crate) fn read(self) -> Result<Bytes, Failure> {
        match self {
            Self::Word("-") => bounded(std::io::stdin().lock(), "standard input"),
            Self::Word(word) => Ok(word.to_owned().into()),
            Self::File(path) => {
                let name = path.display().to_string();
                let file = std::fs::File::open(path);
                bounded(file.map_err(|error| Failure::failed(format!("cannot read {name}: {error}")))?, &name)
            }
        }
    }
}

fn bounded(from: impl Read, name: &str) -> Result<Bytes, Failure> {
    let mut bytes = Vec::new();
    let read = from.take(BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| Failure::failed(format!("cannot read {name}: {error}")))?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(Failure::usage(format!("the value in {name} is longer than {BYTES_MAX} bytes")));
    }
    Ok(bytes.into())
}

/// Some values in one JSON request, which says for all of them how they are written: as text, or all in base64.
pub(crate) fn in_json<const N: usize>(
    values: [Option<&Bytes>; N],
) -> ([Option<String>; N], Option<&'static str>) {
    let text = |value: Option<&Bytes>| value.map(|value| std::str::from_utf8(value).map(str::to_owned));
    let texts = values.map(text);
    if texts.iter().flatten().all(Result::is_ok) {
        return (texts.map(|text| text.and_then(Result::ok)), None);
    }
    (values.map(|value| value.map(|value| BASE64_STANDARD.encode(value))), Some("base64"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_that_is_no_text_makes_all_base64() {
        let (text, other) = (Bytes::from_static(b"a"), Bytes::from_static(b"\xff"));
        assert_eq!(in_json([Some(&text), None]), ([Some("a".to_owned()), None], None));
        let encoded = ([Some("YQ==".to_owned()), Some("/w==".to_owned())], Some("base64"));
        assert_eq!(in_json([Some(&text), Some(&other)]), encoded);
    }
}
