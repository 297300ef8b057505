//! Headers with a meaning of their own, in requests and in answers.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use quorate::machine::{ClientId, CommandKey, IdempotencyKey, SessionKey};

use super::code::Code;
use super::problem::Problem;

/// The index of the entry that was appended, or that set the value that was read.
pub(crate) const INDEX_HEADER: HeaderName = HeaderName::from_static("quorate-index");
/// The term of that entry.
const TERM_HEADER: HeaderName = HeaderName::from_static("quorate-term");
/// The last index of the log that an answer to a read shows.
const APPLIED_HEADER: HeaderName = HeaderName::from_static("quorate-applied-index");
/// The request's deadline, in milliseconds, where no parameter gives it.
const TIMEOUT_HEADER: &str = "quorate-timeout-ms";
/// `<client>/<sequence>`, or any other text.
pub(crate) const IDEMPOTENCY_HEADER: &str = "idempotency-key";
/// The longest text of an opaque key, and the longest name of a client, in characters.
const KEY_CHARACTERS_MAX: usize = 255;

/// Index and term of an entry, as headers.
pub(crate) fn entry_headers(index: u64, term: u64) -> [(HeaderName, String); 2] {
    [(INDEX_HEADER, index.to_string()), (TERM_HEADER, term.to_string())]
}

/// How far an answer to a read is applied, as a header.
pub(crate) fn applied_header(applied: u64) -> [(HeaderName, HeaderValue); 1] {
    [(APPLIED_HEADER, applied.into())]
}

/// The deadline of a request, as a span from now: `default` where the request names none, `max` at most.
pub(crate) fn deadline(
    param: Option<u64>,
    headers: &HeaderMap,
    default: Duration,
    max: Duration,
) -> Result<Duration, Problem> {
    let wrong = |detail: &str| Problem::new(Code::BadParameter, detail);
    let not_a_number = || wrong("header Quorate-Timeout-Ms is not a number of milliseconds");
    let header = text_header(headers, TIMEOUT_HEADER)?;
    let header = header.map(|text| decimal(text).ok_or_else(not_a_number)).transpose()?;
    if [param, header].contains(&Some(0)) {
        return Err(wrong("a deadline of 0 ms has passed; give at least 1"));
    }
    Ok(param.or(header).map_or(default, |ms| Duration::from_millis(ms).min(max)))
}

/// `Idempotency-Key: <client>/<sequence>`, or any other text: a key of that one command.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<CommandKey>, Problem> {
    let Some(text) = text_header(headers, IDEMPOTENCY_HEADER)? else { return Ok(None) };
    let wrong = |detail: String| Problem::new(Code::BadParameter, detail);
    let too_long = || wrong(format!("Idempotency-Key is longer than {KEY_CHARACTERS_MAX} characters"));
    // What ends like a number after a slash is meant as one: a sequence in two spellings would be two commands.
    let session = text.rsplit_once('/').filter(|(_, sequence)| {
        sequence.trim_start_matches(['+', '-']).bytes().all(|byte| byte.is_ascii_digit())
    });
    let Some((client, sequence)) = session else {
        return match text.len() {
            0 => Err(wrong("Idempotency-Key is empty".to_owned())),
            1..=KEY_CHARACTERS_MAX => Ok(Some(IdempotencyKey::of_text(text).into())),
            _ => Err(too_long()),
        };
    };
    let is_accepted = |sequence: &u64| !client.is_empty() && *sequence <= SessionKey::SEQUENCE_MAX;
    let Some(sequence) = decimal(sequence).filter(is_accepted) else {
        return Err(wrong(format!(
            "Idempotency-Key {text:?} is no <client>/<sequence>, for example till-4/17: the sequence is 0 to {}, without a \
             sign or leading zeros; a key without a slash, such as a UUID, stands for one command",
            SessionKey::SEQUENCE_MAX
        )));
    };
    if client.len() > KEY_CHARACTERS_MAX {
        return Err(too_long());
    }
    Ok(Some(SessionKey::new(ClientId::of_name(client), sequence).into()))
}

/// A number in its one spelling: digits, without a sign or leading zeros.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let is_plain =
        text.bytes().all(|byte| byte.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_plain)
}

/// A header that is there once at most: which of two was meant is not known.
pub(crate) fn text_header<'a>(
    headers: &'a HeaderMap,
    name: &'static str,
) -> Result<Option<&'a str>, Problem> {
    let wrong = |detail: String| Problem::new(Code::BadParameter, detail);
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(wrong(format!("header {name} is there twice; send one")));
    }
    let text = value.to_str();
    text.map(Some).map_err(|_| wrong(format!("header {name} holds bytes that are not ASCII text")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &'static str) -> HeaderMap {
        [(HeaderName::from_static(name), HeaderValue::from_static(value))].into_iter().collect()
    }

    #[test]
    fn idempotency_keys_are_a_client_and_a_number_or_any_other_text() {
        let read = |text: &str| {
            let value = HeaderValue::from_str(text).expect("a value");
            idempotency_key(&[(HeaderName::from_static(IDEMPOTENCY_HEADER), value)].into_iter().collect())
        };
        let session = |client, sequence| {
            Ok(Some(CommandKey::from(SessionKey::new(ClientId::of_name(client), sequence))))
        };
        let opaque = |text| Ok(Some(CommandKey::from(IdempotencyKey::of_text(text))));
        assert_eq!(read("till-4/17"), session("till-4", 17));
        assert_eq!(read("a/b/0"), session("a/b", 0));
        assert_eq!(read("till-4/9223372036854775807"), session("till-4", SessionKey::SEQUENCE_MAX));
        let long = "k".repeat(255);
        for text in ["17", "8e03978e-40d5-43dd-bc93-6894a57f9324", "\"quoted\"", "till-4/x", "a/1b", &long] {
            assert_eq!(read(text), opaque(text), "{text}");
        }
        assert_eq!(read(&format!("{long}/1")), session(&long, 1));
        let refused = ["", "/17", "till-4/", "till-4/-1", "till-4/+1", "till-4/01", "a/9223372036854775808"];
        for wrong in refused.into_iter().map(str::to_owned).chain([format!("{long}k"), format!("{long}k/1")])
        {
            assert_eq!(read(&wrong).expect_err(&wrong).code, Code::BadParameter);
        }
        assert_eq!(idempotency_key(&HeaderMap::new()), Ok(None));
    }

    #[test]
    fn a_header_is_there_once() {
        let mut twice = headers(IDEMPOTENCY_HEADER, "a/1");
        twice.append(IDEMPOTENCY_HEADER, HeaderValue::from_static("a/2"));
        assert!(idempotency_key(&twice).expect_err("two").detail.contains("twice"));
    }

    #[test]
    fn deadlines_have_a_default_and_a_maximum() {
        let (default, max) = (Duration::from_secs(5), Duration::from_secs(60));
        let read = |param, headers: &HeaderMap| deadline(param, headers, default, max);
        let none = HeaderMap::new();
        assert_eq!(read(None, &none), Ok(default));
        assert_eq!(read(Some(7), &none), Ok(Duration::from_millis(7)));
        assert_eq!(read(None, &headers(TIMEOUT_HEADER, "8")), Ok(Duration::from_millis(8)));
        assert_eq!(read(Some(7), &headers(TIMEOUT_HEADER, "8")), Ok(Duration::from_millis(7)));
        assert_eq!(read(Some(u64::MAX), &none), Ok(max));
        assert!(read(Some(0), &none).is_err() && read(None, &headers(TIMEOUT_HEADER, "soon")).is_err());
    }
}
