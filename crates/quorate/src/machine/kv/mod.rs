//! A replicated map from string keys to byte strings, ordered by key: get, list by prefix, set, delete, compare-and-set.
//!
//! Its bounds: [`KEY_BYTES_MAX`], [`VALUE_BYTES_MAX`], [`LIST_ITEMS_MAX`] and [`LIST_BYTES_MAX`] per page. The map
//! is kept in memory, and its size is not bounded here.

mod leaves;
mod types;

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use self::leaves::Leaves;
pub use self::types::{
    KEY_BYTES_MAX, KvAnswer, KvCommand, KvExpected, KvItem, KvQuery, KvRefusal, KvReply, VALUE_BYTES_MAX,
    Versioned,
};
use super::context::{ApplyContext, Event};
use super::digest::AppliedDigest;
use super::snapshot::{RestoreError, Snapshot, SnapshotReader};
use super::state_machine::StateMachine;

/// Items on one page of a list, at most.
pub const LIST_ITEMS_MAX: usize = 1_000;
/// Keys and values on one page of a list, in bytes; the first item may exceed it alone.
pub const LIST_BYTES_MAX: usize = 4 << 20;

/// The version of its snapshot.
const VERSION: u32 = 1;

/// The machine.
///
/// ```text
/// let kv = node.group("settings", Kv::default()).await?;
/// kv.propose(KvCommand::set("colour", "blue")).await?;
/// let answer = kv.query(KvQuery::get("colour"), Consistency::Linearizable).await?;
/// ```
#[derive(Debug, Clone, Default)]
pub struct Kv {
    /// Shares its parts with the snapshots taken of it.
    map: Leaves<Arc<str>, Versioned>,
    digest: AppliedDigest,
}

impl StateMachine for Kv {
    type Command = KvCommand;
    type Reply = KvReply;
    type Query = KvQuery;
    type Answer = KvAnswer;

    fn apply(&mut self, cx: &mut ApplyContext<'_>, command: KvCommand) -> KvReply {
        self.digest.absorb(cx);
        if let Err(refusal) = command.check() {
            return KvReply::Refused(refusal);
        }
        match command {
            KvCommand::Set { key, value } => KvReply::Set { previous: self.put(cx, key, Some(value)) },
            KvCommand::Delete { key } => KvReply::Deleted { previous: self.put(cx, key, None) },
            KvCommand::CompareAndSet { key, expected, value } => {
                let current = self.map.get(key.as_str()).cloned();
                if !expected.holds(current.as_ref()) {
                    return KvReply::Kept { current };
                }
                KvReply::Swapped { previous: self.put(cx, key, value) }
            }
        }
    }

    fn query(&self, query: KvQuery) -> KvAnswer {
        match query {
            KvQuery::Get { key } => KvAnswer::Value(self.map.get(key.as_str()).cloned()),
            KvQuery::List { prefix, after, limit } => self.list(&prefix, after.as_deref(), limit),
            KvQuery::Count => KvAnswer::Count(self.map.len() as u64),
            KvQuery::Digest => KvAnswer::Digest(self.digest.hash()),
        }
    }

    fn snapshot(&self) -> Snapshot {
        let (map, digest) = (self.map.clone(), self.digest);
        Snapshot::new(move |out| {
            write(out, &Head { version: VERSION, count: map.len() as u64, digest })?;
            map.iter().try_for_each(|(key, versioned)| write(out, &(key, versioned.index, &versioned.value)))
        })
    }

    fn restore(mut reader: SnapshotReader<'_>) -> Result<Self, RestoreError> {
        let Head { version, count, digest } = reader.value()?;
        if version != VERSION {
            return Err(RestoreError::Version { what: "a key-value map", found: version, known: VERSION });
        }
        let mut kv = Self { map: Leaves::default(), digest };
        for _ in 0..count {
            let (key, index, value): (Arc<str>, _, Bytes) = reader.value()?;
            if kv.map.insert(key, Versioned { value, index }).is_some() {
                return Err(RestoreError::invalid("a key stands in it twice"));
            }
        }
        reader.end()?;
        Ok(kv)
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    version: u32,
    count: u64,
    digest: AppliedDigest,
}

fn write<T: Serialize>(mut out: &mut dyn std::io::Write, value: &T) -> std::io::Result<()> {
    rmp_serde::encode::write_named(&mut out, value).map_err(std::io::Error::other)
}

impl Kv {
    /// Sets or deletes, and tells those who watch, unless there was nothing to delete.
    fn put(&mut self, cx: &mut ApplyContext<'_>, key: String, value: Option<Bytes>) -> Option<Versioned> {
        let sets = value.is_some();
        let body = if cx.is_heard() { value.clone() } else { None };
        let previous = match value {
            Some(value) => {
                let versioned = Versioned { value, index: cx.index() };
                self.map.insert(key.as_str().into(), versioned)
            }
            None => self.map.remove(key.as_str()),
        };
        if cx.is_heard() && (sets || previous.is_some()) {
            cx.emit(Event { key: key.into(), body });
        }
        previous
    }

    fn list(&self, prefix: &str, after: Option<&str>, limit: u32) -> KvAnswer {
        let limit = (limit as usize).clamp(1, LIST_ITEMS_MAX);
        // A cursor before the prefix changes nothing: the page begins at the prefix.
        let after = after.filter(|after| *after >= prefix);
        let mut found = self.map.from(after.unwrap_or(prefix));
        let mut bytes = 0;
        let mut items: Vec<KvItem> = Vec::new();
        let next = loop {
            let Some((key, versioned)) = found.next() else { break None };
            if after.is_some_and(|after| **key == *after) {
                continue;
            }
            if !key.starts_with(prefix) {
                break None;
            }
            bytes += key.len() + versioned.value.len();
            if let Some(last) = items.last()
                && (items.len() >= limit || bytes > LIST_BYTES_MAX)
            {
                break Some(last.key.clone());
            }
            items.push(KvItem {
                key: key.to_string(),
                value: versioned.value.clone(),
                index: versioned.index,
            });
        };
        KvAnswer::List { items, next }
    }
}

#[cfg(test)]
mod tests;
