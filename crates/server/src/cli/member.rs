//! `quorate member`, and the view of the cluster that `leader` and `bench` share.
//!
//! A change is one request, whose outcome is the exit code. The wait for a voter comes after it and changes nothing: it looks at the members
//! again and again, and says on standard error how far the member is.

use std::time::Duration;

use quorate_server::http::{Method, Request, escape};
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::client::{Api, Effect};
use super::confirm::{Unattended, confirm};
use super::context::Context;
use super::exit::{Exit, Failure};
use super::member_arguments::{Guard, Member, Waiting};
use super::output::{Rows, after_printing, took_effect};

/// Between two looks at a member that is to become a voter.
const LOOK_EVERY: Duration = Duration::from_millis(500);

pub(crate) async fn run(context: &Context, verb: &Member) -> Result<(), Failure> {
    match verb {
        Member::List => list(context).await,
        Member::Add { member, api, guard, waiting } => {
            let (id, raft) = named(member)?;
            let body = json!({"id": id, "raft": raft, "api": api.clone().unwrap_or_default()});
            let request = Request::post(format!("/v1/members{}", query(*guard)), &body);
            let index = changed(context, request).await?;
            let note = format!("{id} is a learner; start its process with --join, unless it runs");
            context.output.note(&note);
            voter(context, id, index, *waiting).await
        }
        Member::Promote { id, guard } => plain(context, id, act(id, "promote", *guard)).await,
        Member::Demote { id, guard, yes } => {
            confirm(&format!("take the vote from member {id:?}"), *yes, Unattended::Refuse)?;
            plain(context, id, act(id, "demote", *guard)).await
        }
        Member::Remove { id, guard, yes } => {
            confirm(&format!("remove member {id:?}"), *yes, Unattended::Refuse)?;
            let path = format!("/v1/members/{}{}", escape(id), query(*guard));
            plain(context, id, Request::new(Method::DELETE, path)).await
        }
        Member::Replace { id, guard, yes, waiting } => {
            let what = format!("replace member {id:?}, whose old data directory then counts no more");
            confirm(&what, *yes, Unattended::Refuse)?;
            let index = changed(context, act(id, "replace", *guard)).await?;
            voter(context, id, index, *waiting).await
        }
        Member::Readdress { member, api, guard } => {
            let (id, raft) = named(member)?;
            let mut body = json!({"raft": raft});
            if let Some(api) = api {
                body["api"] = api.as_str().into();
            }
            let path = format!("/v1/members/{}:readdress{}", escape(id), query(*guard));
            plain(context, id, Request::post(path, &body)).await
        }
    }
}

/// `ID=HOST:PORT`. The node checks both parts.
fn named(member: &str) -> Result<(&str, &str), Failure> {
    member.split_once('=').filter(|(id, raft)| !id.is_empty() && !raft.is_empty()).ok_or_else(|| {
        Failure::usage(format!("{member:?} is not ID=HOST:PORT, for example node3=10.0.0.4:7000"))
    })
}

fn query(Guard { expect }: Guard) -> String {
    expect.map_or_else(String::new, |index| format!("?expect={index}"))
}

fn act(id: &str, act: &str, guard: Guard) -> Request {
    Request::new(Method::POST, format!("/v1/members/{}:{act}{}", escape(id), query(guard)))
}

/// Sends a change; the index of the membership that it ended in.
async fn changed(context: &Context, request: Request) -> Result<Value, Failure> {
    let answer = context.api()?.json(&request, Effect::Write).await?;
    Ok(answer["index"].clone())
}

async fn plain(context: &Context, id: &str, request: Request) -> Result<(), Failure> {
    let index = changed(context, request).await?;
    let record = json!({"id": id, "index": index});
    took_effect("the change", context.output.record(vec!["id", "index"], &record))
}

async fn list(context: &Context) -> Result<(), Failure> {
    let mut columns = vec!["id", "raft", "api", "kind", "lag", "connected"];
    let answer = match context.api()?.json(&Request::get("/v1/members"), Effect::Read).await {
        Ok(answer) => answer,
        Err(failure) if failure.exit == Exit::Unreachable => return listed_by_a_node(context, failure).await,
        Err(failure) => return Err(failure),
    };
    let mut rows = answer["members"].as_array().cloned().unwrap_or_default();
    let waiting = answer["waiting"].as_array().cloned().unwrap_or_default();
    if !waiting.is_empty() {
        columns.push("reason");
    }
    rows.extend(waiting.into_iter().map(|mut waits| {
        waits["kind"] = "waiting".into();
        waits
    }));
    context.output.rows(&Rows { columns, rows }, Some(&answer))
}

/// Without a leader, as the first node that answers knows them.
async fn listed_by_a_node(context: &Context, failure: Failure) -> Result<(), Failure> {
    // That no node is reached was said already.
    let Ok(answer) = cluster(context).await else { return Err(failure) };
    let node = answer["node"].as_str().unwrap_or_default();
    context.output.note(&format!("no leader says how far they are; as {node} knows the members:"));
    let mut rows = answer["members"].as_array().cloned().unwrap_or_default();
    for row in &mut rows {
        row["kind"] = if row["voter"] == true { "voter" } else { "learner" }.into();
    }
    let columns = vec!["id", "raft", "api", "kind"];
    after_printing(context.output.rows(&Rows { columns, rows }, Some(&answer)), Err(failure))
}

/// Waits until a member is a voter, and prints what it is then.
async fn voter(context: &Context, id: &str, index: Value, waiting: Waiting) -> Result<(), Failure> {
    let least = index.as_u64().unwrap_or_default();
    let ended =
        if waiting.no_wait { Ok(Some("learner")) } else { awaited(context, id, least, waiting.within).await };
    let (kind, own) = match ended {
        Ok(kind) => (kind, Ok(())),
        Err(failure) => (None, Err(failure)),
    };
    let record = json!({"id": id, "index": index, "kind": kind});
    let printed = context.output.record(vec!["id", "index", "kind"], &record);
    after_printing(took_effect("the change", printed), own)
}

async fn awaited(
    context: &Context,
    id: &str,
    least: u64,
    within: Duration,
) -> Result<Option<&'static str>, Failure> {
    let (api, deadline) = (context.api()?, Instant::now() + within);
    let mut every = interval(LOOK_EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut said = String::new();
    loop {
        every.tick().await;
        let now = look(&api, (id, least), deadline).await;
        if matches!(now, Seen::Voter) {
            return Ok(Some("voter"));
        }
        let text = now.text();
        if text != said {
            context.output.note(&format!("{id}: {text}"));
            said = text;
        }
        if matches!(now, Seen::Gone) {
            let message =
                format!("the change took effect, but {id} is no member any more: another change removed it");
            return Err(Failure::failed(message));
        }
        if Instant::now() + LOOK_EVERY >= deadline {
            let message = format!(
                "the change took effect, but {id} is no voter after {within:?}: {said}; it goes on by itself once its process \
                 runs with --join, see `quorate member list`"
            );
            return Err(Failure::new(Exit::NotHealthy, message));
        }
    }
}

/// What a look at a member shows.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Voter,
    Learner {
        lag: Option<u64>,
        connected: bool,
        waits: Option<String>,
    },
    /// It is no member.
    Gone,
    /// No leader told.
    Unknown(String),
}

impl Seen {
    /// `least` is the index of the change: a leader that was deposed before it may still answer.
    fn of(answer: &Value, id: &str, least: u64) -> Self {
        if answer["index"].as_u64() < Some(least) {
            return Self::Unknown("the leader that answers has not seen the change".to_owned());
        }
        let entry =
            |list: &str| answer[list].as_array().into_iter().flatten().find(|entry| entry["id"] == id);
        let waits = entry("waiting").and_then(|waits| waits["reason"].as_str()).map(str::to_owned);
        match entry("members") {
            None => Self::Gone,
            Some(member) if member["kind"] == "voter" => Self::Voter,
            Some(member) => {
                Self::Learner { lag: member["lag"].as_u64(), connected: member["connected"] == true, waits }
            }
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Voter => "a voter".to_owned(),
            Self::Learner { waits: Some(reason), .. } => format!("waits: {reason}"),
            Self::Learner { connected: false, .. } => "a learner, not connected".to_owned(),
            Self::Learner { lag: None, .. } => "a learner, which has not answered yet".to_owned(),
            Self::Learner { lag: Some(lag), .. } => format!("a learner, which lacks {lag} entries"),
            Self::Gone => "no member".to_owned(),
            Self::Unknown(why) => format!("not known: {why}"),
        }
    }
}

async fn look(api: &Api, (id, least): (&str, u64), deadline: Instant) -> Seen {
    let timeout = api.timeout.min(deadline.saturating_duration_since(Instant::now()));
    let api = Api { endpoints: api.endpoints.clone(), timeout: timeout.max(LOOK_EVERY) };
    match api.json(&Request::get("/v1/members"), Effect::Read).await {
        Ok(answer) => Seen::of(&answer, id, least),
        Err(failure) => Seen::Unknown(failure.to_string()),
    }
}

/// The cluster as the node that answers knows it.
pub(crate) async fn cluster(context: &Context) -> Result<Value, Failure> {
    context.api()?.json(&Request::get("/v1/cluster"), Effect::Read).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_named_with_its_address() {
        assert_eq!(named("node3=h:7000"), Ok(("node3", "h:7000")));
        for wrong in ["node3", "=h:7000", "node3=", "h:7000"] {
            assert_eq!(named(wrong).expect_err(wrong).exit, Exit::Usage);
        }
    }

    #[test]
    fn a_member_is_looked_at_until_it_votes() {
        let answer = json!({
            "index": 7,
            "members": [
                {"id": "node1", "kind": "voter", "lag": 0, "connected": true},
                {"id": "node2", "kind": "learner", "lag": 40, "connected": true},
                {"id": "node3", "kind": "learner", "lag": null, "connected": false},
                {"id": "node4", "kind": "outgoing", "lag": 0, "connected": true},
            ],
            "waiting": [{"id": "node3", "reason": "another data directory"}],
        });
        assert_eq!(Seen::of(&answer, "node1", 7), Seen::Voter);
        assert_eq!(Seen::of(&answer, "node2", 7).text(), "a learner, which lacks 40 entries");
        assert_eq!(Seen::of(&answer, "node3", 7).text(), "waits: another data directory");
        assert!(matches!(Seen::of(&answer, "node4", 7), Seen::Learner { .. }), "it votes no more, soon");
        assert_eq!(Seen::of(&answer, "node5", 7), Seen::Gone);
        assert!(matches!(Seen::of(&answer, "node1", 8), Seen::Unknown(_)), "as it was before the change");
    }
}
