//! Cursors: where the next page of a list begins, in characters that neither a query string nor a shell takes for others. A key may
//! hold any character, so what is shown is `c1.` and the last name of the page in base64url.
//!
//! What a build before this one gave, the bare name, is still taken; only a name that begins with `c1.` cannot be told from a cursor.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::code::Code;
use super::problem::Problem;

/// How a cursor of this form begins.
const MARK: &str = "c1.";

/// The cursor behind this name.
pub(crate) fn written(last: &str) -> String {
    format!("{MARK}{}", URL_SAFE_NO_PAD.encode(last))
}

/// The name behind which the page begins.
pub(crate) fn read(cursor: &str) -> Result<String, Problem> {
    let Some(encoded) = cursor.strip_prefix(MARK) else { return Ok(cursor.to_owned()) };
    let name = URL_SAFE_NO_PAD.decode(encoded).ok().and_then(|name| String::from_utf8(name).ok());
    let detail = || {
        let shown: String = cursor.chars().take(120).collect();
        format!("cursor={shown:?} is none: send the cursor of the page before as it is")
    };
    name.ok_or_else(|| Problem::new(Code::BadParameter, detail()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_comes_back_from_plain_characters() {
        for name in ["", "a", "a/b c", "\0", "\u{202e}'\"\n", "c1.", "\u{1f980}\u{fc}", &"k".repeat(1_024)] {
            let cursor = written(name);
            assert!(
                cursor.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)),
                "{cursor}"
            );
            assert_eq!(read(&cursor), Ok(name.to_owned()));
        }
        assert_eq!(
            (read("a/b c"), read("c1")),
            (Ok("a/b c".to_owned()), Ok("c1".to_owned())),
            "as earlier builds gave it"
        );
        for wrong in ["c1.!", "c1.Y", "c1.YQ==", "c1._w"] {
            assert_eq!(read(wrong).expect_err(wrong).code, Code::BadParameter);
        }
    }
}
