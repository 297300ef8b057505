//! Values in JSON: text as it is, anything else in base64 and marked so.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::code::Code;
use super::problem::Problem;
use super::written::json_bytes;

/// How bytes are written in a JSON string, where they are not just text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// Standard base64 with padding (RFC 4648, section 4).
    Base64,
}

/// The bytes of a string in a request.
pub(crate) fn bytes_of(text: String, encoding: Option<Encoding>) -> Result<Bytes, Problem> {
    match encoding {
        None => Ok(text.into()),
        Some(Encoding::Base64) => STANDARD
            .decode(text)
            .map(Bytes::from)
            .map_err(|error| Problem::new(Code::Malformed, format!("not base64: {error}"))),
    }
}

/// The string of bytes in an answer.
pub(crate) fn text_of(bytes: &[u8]) -> (String, Option<Encoding>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (text.to_owned(), None),
        Err(_) => (STANDARD.encode(bytes), Some(Encoding::Base64)),
    }
}

/// How long [`text_of`] is as JSON, with its quotes; the text is not made.
pub(crate) fn text_json_bytes(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Ok(text) => json_bytes(text),
        Err(_) => bytes.len().div_ceil(3) * 4 + 2,
    }
}

/// The string of bytes that may not be there.
pub(crate) fn optional_text_of(bytes: Option<&Bytes>) -> (Option<String>, Option<Encoding>) {
    match bytes.map(|bytes| text_of(bytes)) {
        Some((text, encoding)) => (Some(text), encoding),
        None => (None, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_come_back() {
        for bytes in [&b""[..], b"text", "\u{fc}\u{1f980}".as_bytes(), b"\xff\x00", &[0xc3]] {
            let (text, encoding) = text_of(bytes);
            assert_eq!(text_json_bytes(bytes), serde_json::to_string(&text).expect("JSON").len());
            assert_eq!(bytes_of(text, encoding).expect("reads"), bytes);
        }
        assert_eq!(text_of(b"\xff"), ("/w==".to_owned(), Some(Encoding::Base64)));
        assert_eq!(bytes_of("%".into(), Some(Encoding::Base64)).expect_err("none").code, Code::Malformed);
    }
}
