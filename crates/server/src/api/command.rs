//! `POST /command`: one command in JSON, or in a line of text.

use axum::Json;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use quorate::Answered;
use quorate::machine::{KvAnswer, KvCommand, KvExpected, KvQuery, KvReply};
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::body::{JsonBody, malformed};
use super::call::{ReadCall, UncheckedCall, WriteCall, unexpected_answer, unexpected_reply};
use super::code::Code;
use super::headers::{INDEX_HEADER, applied_header, entry_headers, idempotency_key};
use super::params::ReadParams;
use super::problem::{Problem, Problems};
use super::rooms::Reserved;
use super::text::{Encoding, bytes_of, optional_text_of, text_json_bytes};
use super::written::json;
use crate::machine::{DataAnswer, DataReply};

/// One command. Nothing else may stand beside its fields.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(tag = "operation", rename_all = "lowercase", deny_unknown_fields)]
pub enum Operation {
    /// Sets a key. Answered with `{"ok":true,"index":12,"term":3}`.
    Set {
        /// 1 to 1024 bytes.
        key: String,
        /// At most 1 MiB together with the key.
        value: String,
        /// How `value` is written, if not as text.
        #[serde(default)]
        encoding: Option<Encoding>,
    },
    /// Reads a key. Answered with `{"ok":true,"value":"v"}`, or `null` where it has none.
    Get {
        /// The key.
        key: String,
    },
    /// Deletes a key. Answered with `{"ok":true,"deleted":true}`, or `false` where it had no value.
    Delete {
        /// The key.
        key: String,
    },
    /// Sets a key if it is as expected. Answered with `{"ok":true,"swapped":false,"value":"current"}`.
    Cas {
        /// The key.
        key: String,
        /// What it must hold; `null`: it must have no value. It has to be given.
        #[serde(deserialize_with = "given")]
        #[schema(required)]
        expected: Option<String>,
        /// What it is to hold.
        value: String,
        /// How `expected` and `value` are written, if not as text.
        #[serde(default)]
        encoding: Option<Encoding>,
    },
}

/// Unlike a plain `Option`, it must be there, if only as null.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Option::deserialize(deserializer)
}

/// A command in a line of text: `SET key=value`, `GET key`, `DELETE key`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// The line. What follows the first `=` and the blanks behind it is the value, further blanks included.
    #[schema(example = "SET x=10")]
    pub command: String,
}

/// Either form.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum CommandBody {
    /// In fields.
    Operation(Operation),
    /// In a line.
    Line(Line),
}

/// To `set`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SetDone {
    /// Always true.
    pub ok: bool,
    /// The index of the entry.
    pub index: u64,
    /// The term of the entry.
    pub term: u64,
}

/// To `get`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GetDone {
    /// Always true.
    pub ok: bool,
    /// The value, or null where there is none.
    #[schema(required)]
    pub value: Option<String>,
    /// There if the value is no text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<Encoding>,
}

/// To `delete`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeleteDone {
    /// Always true.
    pub ok: bool,
    /// Whether there was a value.
    pub deleted: bool,
}

/// To `cas`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CasDone {
    /// Always true.
    pub ok: bool,
    /// Whether it was as expected, and is changed now.
    pub swapped: bool,
    /// What the key holds now.
    #[schema(required)]
    pub value: Option<String>,
    /// There if the value is no text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<Encoding>,
}

/// Any of the four.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum CommandDone {
    /// To `set`.
    Set(SetDone),
    /// To `get`.
    Get(GetDone),
    /// To `delete`.
    Delete(DeleteDone),
    /// To `cas`.
    Cas(CasDone),
}

/// Runs one command.
///
/// A write is answered once it is applied by the leader, from a majority of disks; its index and term also stand in the
/// headers `Quorate-Index` and `Quorate-Term`.
#[utoipa::path(
    post, path = "/command", tag = "command",
    params(ReadParams),
    request_body = CommandBody,
    responses((status = 200, description = "What the command came to", body = CommandDone), Problems)
)]
pub(crate) async fn command(
    call: UncheckedCall,
    headers: HeaderMap,
    sent: JsonBody,
) -> Result<Response, Problem> {
    let (operation, _held) = sent.replaced_by(parse)?;
    let command = match operation {
        Operation::Get { key } => {
            // It has no effect on a read, and a wrong one is refused all the same.
            idempotency_key(&headers)?;
            return get(&call.into_read(&headers)?, key).await;
        }
        Operation::Set { key, value, encoding } => KvCommand::Set { key, value: bytes_of(value, encoding)? },
        Operation::Delete { key } => KvCommand::Delete { key },
        Operation::Cas { key, expected, value, encoding } => {
            let expected = match expected {
                Some(expected) => KvExpected::Value(bytes_of(expected, encoding)?),
                None => KvExpected::Absent,
            };
            let swap = (key, expected, bytes_of(value, encoding)?);
            return compare_and_set(&call.into_write(&headers)?, swap).await;
        }
    };
    write(&call.into_write(&headers)?, command).await
}

/// What stands around a value in an answer.
const AROUND_BYTES: usize = 128;

/// How long an answer with this value is.
fn bytes_with(value: Option<&Bytes>) -> usize {
    AROUND_BYTES + value.map_or(0, |value| text_json_bytes(value))
}

/// An answer that carries a value, in its room.
fn with_value<T: Serialize>(room: Option<Reserved>, done: &T, bytes: usize) -> Result<Response, Problem> {
    match room {
        Some(room) => json(room, done, bytes),
        None => Ok(Json(done).into_response()),
    }
}

/// The answer to a compare-and-set has its room before it is proposed, as if the value is set. One that finds another value changes
/// nothing, and so may be refused where that value has no room.
async fn compare_and_set(
    call: &WriteCall,
    (key, expected, value): (String, KvExpected, Bytes),
) -> Result<Response, Problem> {
    let (until, bytes) = (call.until(), bytes_with(Some(&value)));
    let room = call.room(bytes, until).await?;
    let command = KvCommand::CompareAndSet { key, expected, value: Some(value.clone()) };
    let applied = call.propose(command.into(), until).await?;
    let (swapped, now, room, bytes) = match &applied.reply {
        DataReply::Kv(KvReply::Swapped { .. }) => (true, Some(&value), room, bytes),
        DataReply::Kv(KvReply::Kept { current }) => {
            drop(room);
            let current = current.as_ref().map(|current| &current.value);
            let bytes = bytes_with(current);
            (false, current, call.room(bytes, until).await?, bytes)
        }
        reply => return Err(unexpected_reply(reply)),
    };
    let (value, encoding) = optional_text_of(now);
    let done = with_value(room, &CasDone { ok: true, swapped, value, encoding }, bytes)?;
    Ok((entry_headers(applied.index, applied.term), done).into_response())
}

async fn write(call: &WriteCall, command: KvCommand) -> Result<Response, Problem> {
    let sets = matches!(command, KvCommand::Set { .. });
    let applied = call.propose(command.into(), call.until()).await?;
    let (index, term) = (applied.index, applied.term);
    let DataReply::Kv(reply) = &applied.reply else { return Err(unexpected_reply(&applied.reply)) };
    let done = match (sets, reply) {
        (true, KvReply::Set { .. }) => CommandDone::Set(SetDone { ok: true, index, term }),
        (false, KvReply::Deleted { previous }) => {
            CommandDone::Delete(DeleteDone { ok: true, deleted: previous.is_some() })
        }
        _ => return Err(unexpected_reply(&applied.reply)),
    };
    Ok((entry_headers(index, term), Json(done)).into_response())
}

async fn get(call: &ReadCall, key: String) -> Result<Response, Problem> {
    let until = call.until();
    let Answered { answer, applied } = call.query(KvQuery::get(key).into()).await?;
    match answer {
        DataAnswer::Kv(KvAnswer::Value(found)) => {
            let found_value = found.as_ref().map(|found| &found.value);
            let bytes = bytes_with(found_value);
            let room = call.room(bytes, until).await?;
            let (value, encoding) = optional_text_of(found_value);
            let done = with_value(room, &GetDone { ok: true, value, encoding }, bytes)?;
            let mut response = (applied_header(applied), done).into_response();
            if let Some(found) = found {
                response.headers_mut().insert(INDEX_HEADER, found.index.0.into());
            }
            Ok(response)
        }
        _ => Err(unexpected_answer()),
    }
}

/// Reads either form.
fn parse(sent: &[u8]) -> Result<Operation, Problem> {
    let Fields(fields) = serde_json::from_slice(sent).map_err(|error| malformed(&error))?;
    let wrong = |detail: &str| Problem::new(Code::Malformed, detail);
    let forms = (fields.contains_key("operation"), fields.contains_key("command"));
    let value = serde_json::Value::Object(fields);
    match forms {
        (true, false) => serde_json::from_value(value).map_err(|error| malformed(&error)),
        (false, true) => {
            let line: Line = serde_json::from_value(value).map_err(|error| malformed(&error))?;
            parse_line(&line.command)
        }
        (true, true) => Err(wrong("operation and command both say what to do; give one")),
        (false, false) => Err(wrong(
            r#"give {"operation":"set","key":"k","value":"v"} (or get, delete, cas), or {"command":"SET k=v"}"#,
        )),
    }
}

/// The fields of an object, each once. serde_json keeps the last of two alike, and which of them was meant is not known.
struct Fields(serde_json::Map<String, serde_json::Value>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Once;

        impl<'de> Visitor<'de> for Once {
            type Value = Fields;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Fields, A::Error> {
                let mut fields = serde_json::Map::new();
                while let Some((name, value)) = access.next_entry::<String, serde_json::Value>()? {
                    if fields.contains_key(&name) {
                        return Err(A::Error::custom(format!("field {name:?} is there twice")));
                    }
                    fields.insert(name, value);
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(Once)
    }
}

fn parse_line(line: &str) -> Result<Operation, Problem> {
    let wrong = || {
        let detail =
            format!("command {line:?} is not understood; write SET key=value, GET key or DELETE key");
        Problem::new(Code::Malformed, detail.chars().take(300).collect::<String>())
    };
    let (verb, rest) = line.trim_start().split_once(' ').ok_or_else(wrong)?;
    let key = |text: &str| {
        let key = text.trim();
        if key.is_empty() || key.contains(char::is_whitespace) { Err(wrong()) } else { Ok(key.to_owned()) }
    };
    match verb.to_ascii_uppercase().as_str() {
        "SET" => {
            let (name, value) = rest.split_once('=').ok_or_else(wrong)?;
            Ok(Operation::Set { key: key(name)?, value: value.trim_start().to_owned(), encoding: None })
        }
        "GET" => Ok(Operation::Get { key: key(rest)? }),
        "DELETE" => Ok(Operation::Delete { key: key(rest)? }),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(key: &str, value: &str) -> Operation {
        Operation::Set { key: key.into(), value: value.into(), encoding: None }
    }

    #[test]
    fn both_forms_are_read() {
        let read = |text: &str| parse(text.as_bytes()).expect(text);
        assert_eq!(read(r#"{"operation":"set","key":"k","value":"v"}"#), set("k", "v"));
        assert_eq!(read(r#"{"command":"SET x=10"}"#), set("x", "10"));
        assert_eq!(read(r#"{"command":"  set x = a=b "}"#), set("x", "a=b "));
        assert_eq!(read(r#"{"command":"SET x = 10"}"#), set("x", "10"));
        assert_eq!(read(r#"{"command":"DELETE x"}"#), Operation::Delete { key: "x".into() });
        assert_eq!(read(r#"{"command":"get x"}"#), Operation::Get { key: "x".into() });
        let cas = Operation::Cas { key: "k".into(), expected: None, value: "w".into(), encoding: None };
        assert_eq!(read(r#"{"operation":"cas","key":"k","expected":null,"value":"w"}"#), cas);
    }

    #[test]
    fn what_is_missing_or_too_much_is_named() {
        for (text, named) in [
            ("", "EOF"),
            ("{}", "give {"),
            ("[]", "an object"),
            (r#"{"operation":"set","key":"a","key":"b","value":"v"}"#, "\"key\" is there twice"),
            (r#"{"command":"GET a","command":"DELETE a"}"#, "\"command\" is there twice"),
            (r#"{"operation":"set","key":"k"}"#, "value"),
            (r#"{"operation":"set","key":"k","value":1}"#, "string"),
            (r#"{"operation":"set","key":"k","value":"v","ttl_ms":5}"#, "ttl_ms"),
            (r#"{"operation":"put","key":"k"}"#, "put"),
            (r#"{"operation":"cas","key":"k","value":"w"}"#, "expected"),
            (r#"{"operation":"get","key":"k","command":"GET k"}"#, "both"),
            (r#"{"command":"SET x"}"#, "SET key=value"),
            (r#"{"command":"SET =1"}"#, "SET key=value"),
            (r#"{"command":"DELETE a b"}"#, "DELETE key"),
            (r#"{"command":"DELETE"}"#, "DELETE key"),
            (r#"{"command":"DROP x"}"#, "DROP x"),
        ] {
            let problem = parse(text.as_bytes()).expect_err(text);
            assert_eq!(problem.code, Code::Malformed);
            assert!(problem.detail.contains(named), "{text}: {}", problem.detail);
        }
    }
}
