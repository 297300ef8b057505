//! The members of a group, and changes of them, as an application asks for them. The leader is asked, on this node or another one; what it
//! refuses because it does not lead is asked again until the deadline.

use std::pin::Pin;
use std::time::Duration;

use quorate_core::{Change, Member, NodeId};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::attempt::{CallFailure, call_group, deadline_after, waited_ms};
use crate::error::ChangeError;
use crate::handle::retry::{HandleInner, wait_for_change};
use crate::members::{MembersAnswer, MembersCall, MembersOrder, MembersView};
use crate::messages::members::MembersPort;
use crate::protocol::{Request, Response};
use crate::route::{Condition, LeaderRoute};

/// The members of a group. Each change is led through by the leader, one at a time: a change of voters by a joint configuration (Raft thesis,
/// section 4.3). It returns the index of the membership that the change ended in, once that is committed.
///
/// ```no_run
/// # async fn example(count: quorate::GroupHandle<quorate::machine::Counter>) -> anyhow::Result<()> {
/// let members = count.members().list().await?;
/// let node = quorate::NodeId::new("node3")?;
/// count.members().expecting(members.index).remove(node).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Members<'a> {
    inner: &'a HandleInner,
    expected: Option<u64>,
    timeout: Duration,
}

impl std::fmt::Debug for Members<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Members").field("group", &self.inner.name).finish_non_exhaustive()
    }
}

type Asking<'a, T> = Pin<Box<dyn Future<Output = Result<T, ChangeError>> + Send + 'a>>;

impl<'a> Members<'a> {
    pub(crate) fn of(inner: &'a HandleInner) -> Self {
        let timeout = Duration::from_millis(inner.live.call_timeout_ms);
        Self { inner, expected: None, timeout }
    }

    /// A change is begun only if the membership in force is the one of this index ([`MembersView::index`]); otherwise it is refused as
    /// outdated.
    #[must_use]
    pub fn expecting(mut self, index: u64) -> Self {
        self.expected = Some(index);
        self
    }

    /// How long a call may take, in place of the usual timeout of calls.
    #[must_use]
    pub fn within(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The members as the leader has them.
    pub async fn list(&self) -> Result<MembersView, ChangeError> {
        // Nothing changes when the answer is lost.
        let refused = |error| match error {
            ChangeError::Unknown { detail } => ChangeError::NoLeader { detail, waited_ms: 0 },
            error => error,
        };
        let answer = ask(self.inner, MembersCall::View, deadline_after(self.timeout)).await;
        match answer.map_err(refused)? {
            MembersAnswer::View(view) => Ok(view),
            MembersAnswer::NotChanged(error) => Err(error),
            other => Err(unlike(&other)),
        }
    }

    /// Takes a new member in as a learner: it receives the log and has no vote. `raft` is the `host:port` where its bridge is dialled, `api`
    /// that of its API, or empty.
    pub async fn add(&self, node: NodeId, raft: &str, api: &str) -> Result<u64, ChangeError> {
        let member = Member { raft: raft.to_owned(), api: api.to_owned(), ..Member::default() };
        self.change(Change::AddLearner { node, member }).await
    }

    /// Makes a learner a voter. It is refused while it lacks much of the log.
    pub async fn promote(&self, node: NodeId) -> Result<u64, ChangeError> {
        self.change(Change::Promote { node }).await
    }

    /// Makes a voter a learner.
    pub async fn demote(&self, node: NodeId) -> Result<u64, ChangeError> {
        self.change(Change::Demote { node }).await
    }

    /// Removes a member. It may be the leader, or a node that is gone.
    pub async fn remove(&self, node: NodeId) -> Result<u64, ChangeError> {
        self.change(Change::Remove { node }).await
    }

    /// Takes the process that waits under this member's name in its place: a node that lost its disk, started again with an empty directory
    /// and told to [join](crate::NodeBuilder::join). It is a learner then, and becomes a voter by itself once it has caught up.
    pub async fn replace(&self, node: NodeId) -> Result<u64, ChangeError> {
        self.order(MembersOrder::ReplaceByJoiner(node)).await
    }

    /// Any other change.
    pub async fn change(&self, change: Change) -> Result<u64, ChangeError> {
        self.order(MembersOrder::Change(change)).await
    }

    async fn order(&self, order: MembersOrder) -> Result<u64, ChangeError> {
        let call = MembersCall::Change { order, expected: self.expected };
        match ask(self.inner, call, deadline_after(self.timeout)).await? {
            MembersAnswer::Changed { index } => Ok(index),
            MembersAnswer::NotChanged(error) => Err(error),
            other => Err(unlike(&other)),
        }
    }
}

fn unlike(answer: &MembersAnswer) -> ChangeError {
    ChangeError::Unknown { detail: format!("the leader answered something else: {answer:?}") }
}

/// Asks the leader. In a box, so that it is compiled with this crate.
fn ask(inner: &HandleInner, call: MembersCall, deadline: Instant) -> Asking<'_, MembersAnswer> {
    Box::pin(async move {
        let (started, mut routes, mut attempts) = (Instant::now(), inner.route.clone(), 0);
        loop {
            let route = routes.borrow_and_update().clone();
            if let Condition::Stopped(detail) = &route.condition {
                return Err(ChangeError::Stopped { detail: detail.clone() });
            }
            let answer = match &route.leader {
                LeaderRoute::Here(_) => {
                    let (port, answer) = oneshot::channel();
                    route.ask_of_members(call.clone(), MembersPort::Local(port));
                    answer_here(timeout_at(deadline, answer).await)
                }
                LeaderRoute::There(leader) => {
                    let request = Request::Membership(call.clone());
                    answer_there(call_group((leader, &inner.name), &request, deadline).await, &inner.name)
                }
                LeaderRoute::Unknown => Err(ChangeError::NotLeader { leader: None }),
            };
            match answer {
                Ok(MembersAnswer::NotChanged(refused @ ChangeError::NotLeader { .. }))
                | Err(refused @ (ChangeError::NotLeader { .. } | ChangeError::NoLeader { .. })) => {
                    wait_for_change(&mut routes, deadline, attempts).await;
                    attempts += 1;
                    if Instant::now() >= deadline {
                        let detail = refused.to_string();
                        return Err(ChangeError::NoLeader { detail, waited_ms: waited_ms(started) });
                    }
                }
                other => return other,
            }
        }
    })
}

fn answer_here(
    answer: Result<Result<MembersAnswer, oneshot::error::RecvError>, tokio::time::error::Elapsed>,
) -> Result<MembersAnswer, ChangeError> {
    let unknown = |detail: &str| ChangeError::Unknown { detail: detail.to_owned() };
    match answer {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_)) => {
            Err(unknown("the leader stepped down, or its actor ended, before the change had ended"))
        }
        Err(_) => Err(unknown("the deadline passed before the change had ended")),
    }
}

/// What came from the leader's node.
pub(crate) fn answer_there(
    response: Result<Response, CallFailure>,
    group: &str,
) -> Result<MembersAnswer, ChangeError> {
    let group = group.to_owned();
    match response {
        Ok(Response::Membership(answer)) => Ok(answer),
        Ok(other) => Err(ChangeError::Unknown { detail: format!("an answer of another kind: {other:?}") }),
        Err(CallFailure::NoSuchGroup { node }) => Err(ChangeError::NoSuchGroup { group, node }),
        // Nothing was sent: asked again until the deadline.
        Err(CallFailure::NotSent(detail)) => Err(ChangeError::NoLeader { detail, waited_ms: 0 }),
        Err(CallFailure::CannotBeSent(detail)) => Err(ChangeError::Unreadable { detail }),
        Err(CallFailure::Unknown(detail)) => Err(ChangeError::Unknown { detail }),
    }
}
