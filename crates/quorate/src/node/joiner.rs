//! Joiner: asks the cluster to take this node in, until it is what it was told to become.
//!
//! Owns a client of the cluster, and what it was told of each group. Hears its own timer. Asks the leader of each group, from outside: no member
//! admits this node before it is one. Never changes anything here but whom the node dials. A crash loses nothing: the next one asks
//! again. Bound: one call at a time, of a few seconds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use quorate_bridge::Net;
use quorate_core::Time;
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SpawnErr};
use tokio::task::JoinHandle;

use crate::attempt::deadline_after;
use crate::client::{Client, ClientError, ClientOptions, GroupCalls};
use crate::members::{JoinAnswer, JoinRequest, MembersAnswer, MembersCall};
use crate::node::owner::Owner;
use crate::node::spec::Joins;

/// How often the leader is asked while there is something to ask for.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// How long an answer is waited for.
const ASK_MAX: Duration = Duration::from_secs(5);

/// How often a line repeats the same answer.
const SAY_EVERY: Duration = Duration::from_secs(10);

pub(crate) enum JoinerMessage {
    /// From its own timer: ask.
    Ask,
}

pub(crate) struct JoinerState {
    owner: Arc<Owner>,
    joins: Joins,
    client: Client,
    calls: BTreeMap<String, GroupCalls>,
    /// Groups in which this node is what it was told to become.
    done: BTreeSet<String>,
    /// What was said last of a group, and when.
    said: BTreeMap<String, (String, Time)>,
}

struct Joiner;

/// Starts one as a child of Node.
pub(super) async fn start(
    owner: Arc<Owner>,
    joins: Joins,
    supervisor: ActorCell,
) -> Result<(ActorCell, JoinHandle<()>), SpawnErr> {
    let name = format!("{}/joiner", owner.name_prefix);
    let (actor, join) = Actor::spawn_linked(Some(name), Joiner, (owner, joins), supervisor).await?;
    Ok((actor.get_cell(), join))
}

/// A client of the cluster that is joined.
pub(super) async fn client_of(
    addresses: &[String],
    net: Arc<dyn Net>,
    entropy: u64,
) -> Result<Client, ClientError> {
    let options = ClientOptions { timeout: ASK_MAX, ..ClientOptions::default() };
    Client::connect_over(net, u128::from(entropy), addresses.iter().cloned(), options).await
}

impl Actor for Joiner {
    type Msg = JoinerMessage;
    type State = JoinerState;
    type Arguments = (Arc<Owner>, Joins);

    async fn pre_start(
        &self,
        me: ActorRef<JoinerMessage>,
        (owner, joins): (Arc<Owner>, Joins),
    ) -> Result<JoinerState, ActorProcessingErr> {
        let client = client_of(&joins.addresses, owner.net.clone(), owner.entropy).await?;
        me.cast(JoinerMessage::Ask)?;
        let (calls, done, said) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        Ok(JoinerState { owner, joins, client, calls, done, said })
    }

    async fn handle(
        &self,
        me: ActorRef<JoinerMessage>,
        JoinerMessage::Ask: JoinerMessage,
        state: &mut JoinerState,
    ) -> Result<(), ActorProcessingErr> {
        for group in state.owner.groups().into_keys() {
            if !state.done.contains(&group) {
                state.ask(&group).await;
            }
        }
        // A group may be opened later.
        drop(me.send_after(ASK_EVERY, || JoinerMessage::Ask));
        Ok(())
    }

    async fn post_stop(
        &self,
        _: ActorRef<JoinerMessage>,
        state: &mut JoinerState,
    ) -> Result<(), ActorProcessingErr> {
        state.client.close().await;
        Ok(())
    }
}

impl JoinerState {
    async fn ask(&mut self, group: &str) {
        let client = self.client.clone();
        let calls = self.calls.entry(group.to_owned()).or_insert_with(|| GroupCalls::new(client, group));
        if self.owner.roster.is_outside() {
            let view = self.client.ask_of_members(calls, MembersCall::View, deadline_after(ASK_MAX)).await;
            if let Ok(MembersAnswer::View(view)) = view {
                let members = view.members.into_iter().map(|member| (member.id, member.raft)).collect();
                self.owner.roster.told(members);
            }
        }
        let asks = JoinRequest {
            cluster: self.owner.store.identity().cluster,
            node: self.owner.id.clone(),
            raft: self.joins.raft.clone(),
            api: self.owner.api.clone(),
            incarnation: self.owner.store.identity().incarnation,
            has_joined: self.owner.roster.has_joined(),
            votes: !self.joins.as_learner,
        };
        let answer =
            self.client.ask_of_members(calls, MembersCall::Join(asks), deadline_after(ASK_MAX)).await;
        match answer {
            Ok(MembersAnswer::Join(answer)) => self.hear(group, answer),
            Ok(other) => self.say(group, format!("the leader answers something else: {other:?}")),
            Err(error) => self.say(group, format!("no leader answers: {error}")),
        }
    }

    fn hear(&mut self, group: &str, answer: JoinAnswer) {
        let node = &self.owner.id;
        match answer {
            JoinAnswer::Waits(reason) => self.say(group, reason),
            // It asks on: it may yet be added by command.
            JoinAnswer::Never(reason) => {
                if self.said.get(group).is_none_or(|(before, _)| *before != reason) {
                    tracing::error!(%node, group, reason, "cannot join");
                    self.said.insert(group.to_owned(), (reason, self.owner.clock.now()));
                }
            }
            JoinAnswer::Learner { lag: None } => self.say(group, "taken in as a learner".to_owned()),
            JoinAnswer::Learner { lag: Some(lag) } if self.joins.as_learner => {
                tracing::info!(%node, group, lag, "joined as a learner");
                self.done.insert(group.to_owned());
            }
            JoinAnswer::Learner { lag: Some(lag) } => {
                self.say(group, format!("a learner that lacks {lag} entries"));
            }
            JoinAnswer::Demoted => {
                tracing::info!(%node, group, "a learner that lost its vote by command");
                self.done.insert(group.to_owned());
            }
            JoinAnswer::Voter => {
                tracing::info!(%node, group, "joined as a voter");
                self.done.insert(group.to_owned());
            }
        }
    }

    /// A line for each change, and for the same thing now and then.
    fn say(&mut self, group: &str, how: String) {
        let now = self.owner.clock.now();
        let is_new = |(before, at): &(String, Time)| *before != how || now.since(*at) >= SAY_EVERY;
        if self.said.get(group).is_none_or(is_new) {
            tracing::info!(node = %self.owner.id, group, how, "joining");
            self.said.insert(group.to_owned(), (how, now));
        }
    }
}
