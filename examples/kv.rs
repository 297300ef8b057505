//! A replicated map: set, compare-and-set, list by prefix, and a retry that takes effect once.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use quorate::machine::{ClientId, Kv, KvAnswer, KvCommand, KvExpected, KvQuery, KvReply, SessionKey};
use quorate::{Consistency, GroupHandle, Node};

#[tokio::main]
async fn main() -> Result<()> {
    let kv = Node::single_memory(Kv::default()).await?;

    set(&kv, "colour/sky", "blue").await?;
    set(&kv, "colour/grass", "green").await?;
    set(&kv, "weight/feather", "light").await?;
    println!("the sky is {:?}", get(&kv, "colour/sky").await?);
    ensure!(get(&kv, "colour/sky").await?.as_deref() == Some("blue"), "what was set is read");

    // Two who both saw blue: one of them swaps, the other is told what is there now.
    let saw_blue = || KvExpected::Value("blue".into());
    let first = kv.propose(KvCommand::compare_and_set("colour/sky", saw_blue(), "grey")).await?;
    let second = kv.propose(KvCommand::compare_and_set("colour/sky", saw_blue(), "red")).await?;
    let KvReply::Kept { current: Some(current) } = &second else {
        bail!("the second was not kept: {second:?}")
    };
    println!("first swapped: {}, second found {:?}", matches!(first, KvReply::Swapped { .. }), current.value);
    ensure!(matches!(first, KvReply::Swapped { .. }) && current.value == "grey", "only one of two swaps");

    let listed = kv.query(KvQuery::list("colour/", 10), Consistency::Linearizable).await?;
    let KvAnswer::List { items, next: None } = listed else { bail!("no single page: {listed:?}") };
    let keys: Vec<&str> = items.iter().map(|item| item.key.as_str()).collect();
    println!("colours: {keys:?}");
    ensure!(keys == ["colour/grass", "colour/sky"], "in order of their bytes");

    // Under a session key a command may be sent again after an unknown outcome: it is applied once.
    let key = SessionKey::new(ClientId::of_name("example/kv"), 1);
    let once =
        |value: &'static str| kv.propose_once(key, KvCommand::set("retry", value), Duration::from_secs(5));
    let (first, second) = (once("first").await?, once("first").await?);
    println!(
        "the same key twice: entry {} and entry {}, value {:?}",
        first.index,
        second.index,
        get(&kv, "retry").await?
    );
    ensure!(
        first.index == second.index && first.reply == second.reply,
        "the retry is answered as the first was"
    );
    // Another command under the same key is no retry: it is not applied, and its caller is told so.
    let other = once("other").await.err().context("another command was taken for a retry")?;
    println!("another command under that key: {other}");
    ensure!(get(&kv, "retry").await?.as_deref() == Some("first"), "and neither changes anything");
    Ok(())
}

async fn set(kv: &GroupHandle<Kv>, key: &str, value: &'static str) -> Result<()> {
    match kv.propose(KvCommand::set(key, value)).await? {
        KvReply::Set { .. } => Ok(()),
        other => bail!("not set: {other:?}"),
    }
}

async fn get(kv: &GroupHandle<Kv>, key: &str) -> Result<Option<String>> {
    let answer = kv.query(KvQuery::get(key), Consistency::Linearizable).await?;
    let KvAnswer::Value(value) = answer else { bail!("no value: {answer:?}") };
    let text = value.map(|versioned| String::from_utf8(versioned.value.to_vec()));
    text.transpose().context("the values here are text")
}
