//! Keys and counters, replicated together so that one log orders them: a key-value map as the library has it, beside a
//! map of named totals.
//!
//! Bounds: the key-value map's, and [`KEY_BYTES_MAX`](quorate::machine::KEY_BYTES_MAX) for a counter's name. The whole
//! store is in memory and has no bound here.

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::Bound;
use std::sync::Arc;

use quorate::StateMachine;
use quorate::machine::{
    AppliedDigest, ApplyContext, Kv, LIST_ITEMS_MAX, RestoreError, Snapshot, SnapshotReader,
};
use serde::{Deserialize, Serialize};

use super::types::{
    CounterCommand, CounterItem, CounterReply, DataAnswer, DataCommand, DataQuery, DataReply, check_name,
};

/// The version of its snapshot.
const VERSION: u32 = 1;

/// The machine.
#[derive(Debug, Clone, Default)]
pub struct DataMachine {
    kv: Kv,
    /// Shared with the snapshots taken of it: a change copies it while a snapshot is being written.
    counters: Arc<BTreeMap<String, Counted>>,
    digest: AppliedDigest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counted {
    value: i64,
    index: u64,
}

/// The head of a snapshot; the counters follow as [`CounterItem`]s, then the key-value map's own snapshot.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    version: u32,
    counters: u64,
    digest: AppliedDigest,
}

impl StateMachine for DataMachine {
    type Command = DataCommand;
    type Reply = DataReply;
    type Query = DataQuery;
    type Answer = DataAnswer;

    fn apply(&mut self, cx: &mut ApplyContext<'_>, command: DataCommand) -> DataReply {
        self.digest.absorb(cx);
        match command {
            DataCommand::Kv(command) => DataReply::Kv(self.kv.apply(cx, command)),
            DataCommand::Counter(command) => DataReply::Counter(self.count(cx.index().0, command)),
        }
    }

    fn query(&self, query: DataQuery) -> DataAnswer {
        match query {
            DataQuery::Kv(query) => DataAnswer::Kv(self.kv.query(query)),
            DataQuery::Counter { name } => {
                let counted = self.counters.get(&name).copied();
                DataAnswer::Counter(counted.map(|counted| item(&name, counted)))
            }
            DataQuery::Counters { prefix, after, limit } => self.list(&prefix, after, limit),
            DataQuery::Digest => DataAnswer::Digest(self.digest.hash().to_string()),
        }
    }

    fn snapshot(&self) -> Snapshot {
        let (kv, counters, digest) = (self.kv.snapshot(), self.counters.clone(), self.digest);
        Snapshot::new(move |out| {
            write(out, &Head { version: VERSION, counters: counters.len() as u64, digest })?;
            counters.iter().try_for_each(|(name, counted)| write(out, &item(name, *counted)))?;
            kv.write_to(out)
        })
    }

    fn restore(mut reader: SnapshotReader<'_>) -> Result<Self, RestoreError> {
        let Head { version, counters: count, digest } = reader.value()?;
        if version != VERSION {
            return Err(RestoreError::Version { what: "keys and counters", found: version, known: VERSION });
        }
        let mut counters = BTreeMap::new();
        for _ in 0..count {
            let CounterItem { name, value, index } = reader.value()?;
            if counters.insert(name, Counted { value, index }).is_some() {
                return Err(RestoreError::invalid("a counter stands in it twice"));
            }
        }
        let rest = reader.remaining();
        let kv = Kv::restore(SnapshotReader::new(&mut reader, rest))?;
        reader.end()?;
        Ok(Self { kv, counters: Arc::new(counters), digest })
    }
}

impl DataMachine {
    fn count(&mut self, index: u64, command: CounterCommand) -> CounterReply {
        let (CounterCommand::Add { name, .. }
        | CounterCommand::Set { name, .. }
        | CounterCommand::Delete { name }) = &command;
        if let Err(refusal) = check_name(name) {
            return CounterReply::Refused(refusal);
        }
        match command {
            CounterCommand::Add { name, amount } => self.add(index, name, amount),
            CounterCommand::Set { name, value } => {
                Arc::make_mut(&mut self.counters).insert(name, Counted { value, index });
                CounterReply::Now { value }
            }
            CounterCommand::Delete { name } => {
                let existed = self.counters.contains_key(&name);
                if existed {
                    Arc::make_mut(&mut self.counters).remove(&name);
                }
                CounterReply::Deleted { existed }
            }
        }
    }

    fn add(&mut self, index: u64, name: String, amount: i64) -> CounterReply {
        let before = self.counters.get(&name).map_or(0, |counted| counted.value);
        let Some(value) = before.checked_add(amount) else {
            return CounterReply::Overflow { value: before };
        };
        Arc::make_mut(&mut self.counters).insert(name, Counted { value, index });
        CounterReply::Now { value }
    }

    fn list(&self, prefix: &str, after: Option<String>, limit: u32) -> DataAnswer {
        let limit = (limit as usize).clamp(1, LIST_ITEMS_MAX);
        // A cursor before the prefix is ignored: the list begins at the prefix.
        let from = match after.filter(|after| after.as_str() >= prefix) {
            Some(after) => Bound::Excluded(after),
            None => Bound::Included(prefix.to_owned()),
        };
        let mut found = self
            .counters
            .range((from, Bound::Unbounded))
            .take_while(|(name, _)| name.starts_with(prefix))
            .map(|(name, counted)| item(name, *counted));
        let items: Vec<CounterItem> = found.by_ref().take(limit).collect();
        let next = found.next().and_then(|_| items.last()).map(|last| last.name.clone());
        DataAnswer::Counters { items, next }
    }
}

fn item(name: &str, Counted { value, index }: Counted) -> CounterItem {
    CounterItem { name: name.to_owned(), value, index }
}

fn write<T: Serialize>(mut out: &mut dyn Write, value: &T) -> std::io::Result<()> {
    rmp_serde::encode::write_named(&mut out, value).map_err(std::io::Error::other)
}

#[cfg(test)]
mod tests {
    use quorate::machine::{Envelope, KvCommand, KvQuery};
    use quorate::{Consistency, Node};

    use super::*;

    async fn filled() -> quorate::GroupHandle<DataMachine> {
        let store = Node::single_memory(DataMachine::default()).await.expect("starts");
        for (name, amount) in [("a/1", 1), ("a/2", 2), ("b", 3)] {
            let now = store.propose(DataCommand::add(name, amount)).await.expect("applies");
            assert_eq!(now, DataReply::Counter(CounterReply::Now { value: amount }));
        }
        store
    }

    async fn names(
        store: &quorate::GroupHandle<DataMachine>,
        after: Option<&str>,
    ) -> (Vec<String>, Option<String>) {
        let query = DataQuery::Counters { prefix: "a/".into(), after: after.map(Into::into), limit: 1 };
        match store.query(query, Consistency::Linearizable).await.expect("answers") {
            DataAnswer::Counters { items, next } => (items.into_iter().map(|item| item.name).collect(), next),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn counters_are_checked_and_listed_by_prefix_in_pages() {
        let store = filled().await;
        let add =
            async |name: &str, amount| store.propose(DataCommand::add(name, amount)).await.expect("applies");
        assert_eq!(add("b", i64::MAX).await, DataReply::Counter(CounterReply::Overflow { value: 3 }));
        assert_eq!(add("b", -4).await, DataReply::Counter(CounterReply::Now { value: -1 }));
        assert!(matches!(add("", 1).await, DataReply::Counter(CounterReply::Refused(_))));
        let send = async |command| store.propose(DataCommand::Counter(command)).await.expect("applies");
        let (set, delete) = (
            CounterCommand::Set { name: "d".into(), value: i64::MIN },
            CounterCommand::Delete { name: "d".into() },
        );
        assert_eq!(send(set).await, DataReply::Counter(CounterReply::Now { value: i64::MIN }));
        assert_eq!(send(delete.clone()).await, DataReply::Counter(CounterReply::Deleted { existed: true }));
        assert_eq!(send(delete).await, DataReply::Counter(CounterReply::Deleted { existed: false }));
        let unnamed = CounterCommand::Delete { name: String::new() };
        assert!(matches!(send(unnamed).await, DataReply::Counter(CounterReply::Refused(_))));
        let (first, next) = names(&store, None).await;
        assert_eq!((first.as_slice(), next.as_deref()), (&["a/1".to_owned()][..], Some("a/1")));
        let (second, end) = names(&store, next.as_deref()).await;
        assert_eq!((second.as_slice(), end), (&["a/2".to_owned()][..], None));
        assert_eq!(names(&store, Some("A")).await.0, ["a/1"], "a cursor before the prefix");
    }

    #[tokio::test]
    async fn a_snapshot_holds_keys_counters_and_the_digest() {
        let machine = |keys: u64| {
            let mut store = DataMachine::default();
            let counters = Arc::make_mut(&mut store.counters);
            counters.extend((0..keys).map(|n| (format!("c{n}"), Counted { value: -1, index: n })));
            store
        };
        for keys in [0, 1, 100] {
            let bytes = machine(keys).snapshot().into_bytes().expect("writes");
            let restore = |bytes: &[u8]| {
                let length = bytes.len() as u64;
                DataMachine::restore(SnapshotReader::new(&mut &bytes[..], length))
            };
            let back = restore(&bytes).expect("restores");
            assert_eq!(back.counters.len() as u64, keys);
            assert_eq!(
                back.snapshot().into_bytes().expect("writes"),
                bytes,
                "the same state, the same bytes"
            );
            assert!(restore(&bytes[..bytes.len() - 1]).is_err());
            assert!(restore(&[&bytes[..], &[0]].concat()).is_err());
        }
    }

    #[tokio::test]
    async fn keys_and_counters_do_not_meet() {
        let store = filled().await;
        let _ = store.propose(KvCommand::set("b", "text")).await.expect("applies");
        let answer = store.query(DataQuery::Counter { name: "b".into() }, Consistency::Linearizable).await;
        let Ok(DataAnswer::Counter(Some(counter))) = answer else { panic!("{answer:?}") };
        assert_eq!(counter.value, 3);
        let answer = store.query(KvQuery::get("a/1"), Consistency::Linearizable).await.expect("answers");
        assert_eq!(answer, DataAnswer::Kv(quorate::machine::KvAnswer::Value(None)));
    }

    /// Logs on disk must stay readable: if this fails, the version has to change.
    #[test]
    fn golden_bytes_of_commands() {
        let hex = |command: DataCommand| {
            let payload = Envelope::encode(&command, None, 1 << 20).expect("encodes");
            payload.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
        };
        // {"Kv":{"Set":{"key":"k","value":b"v"}}} and {"Counter":{"Add":{"name":"n","amount":-3}}}, after the header.
        assert_eq!(
            hex(KvCommand::set("k", "v").into()),
            "010081a24b7681a353657482a36b6579a16ba576616c7565c40176"
        );
        let (set, delete) = (
            CounterCommand::Set { name: "n".into(), value: -3 },
            CounterCommand::Delete { name: "n".into() },
        );
        assert_eq!(
            hex(DataCommand::Counter(set)),
            "010081a7436f756e74657281a353657482a46e616d65a16ea576616c7565fd"
        );
        assert_eq!(
            hex(DataCommand::Counter(delete)),
            "010081a7436f756e74657281a644656c65746581a46e616d65a16e"
        );
        assert_eq!(
            hex(DataCommand::add("n", -3)),
            "010081a7436f756e74657281a341646482a46e616d65a16ea6616d6f756e74fd"
        );
    }
}
