//! The facade: a plain ractor actor that stands for a group in an application's own tree.
//!
//! Owns a handle. Hears the application. Asks the group. Never holds a message back: each is answered by a task of its
//! own, so that one that waits for a majority does not delay the next. A crash loses nothing of the group's state; the
//! application's supervisor spawns another. It ends by itself, with the reason, when the group is faulted or the node
//! ends. Bound: the permits of the handle, above which it answers busy.

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, RpcReplyPort, SpawnErr};

use crate::error::{ProposeError, QueryError};
use crate::handle::group::GroupHandle;
use crate::machine::StateMachine;
use crate::protocol::Consistency;
use crate::route::Condition;

/// What a facade hears.
pub enum FacadeMessage<M: StateMachine> {
    /// From the application: replicate this command.
    Propose(M::Command, RpcReplyPort<Result<M::Reply, ProposeError>>),
    /// From the application: ask the machine.
    Query(M::Query, Consistency, RpcReplyPort<Result<M::Answer, QueryError>>),
    /// From its own watcher, with the reason: the group takes no more commands.
    Over(String),
}

impl<M: StateMachine> std::fmt::Debug for FacadeMessage<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Propose(..) => "Propose",
            Self::Query(..) => "Query",
            Self::Over(_) => "Over",
        })
    }
}

struct Facade<M>(GroupHandle<M>);

impl<M: StateMachine> GroupHandle<M> {
    /// A plain ractor actor that stands for the group: link it, supervise it, `call!` it. It finds the group again
    /// after every restart and ends only when the group is faulted or the node ends. The group itself is supervised by
    /// its node alone.
    pub async fn spawn_facade(
        &self,
        supervisor: Option<ActorCell>,
    ) -> Result<ActorRef<FacadeMessage<M>>, SpawnErr>
    where
        M::Query: Clone,
    {
        let facade = Facade(self.clone());
        let (actor, _) = match supervisor {
            Some(supervisor) => Actor::spawn_linked(None, facade, (), supervisor).await?,
            None => Actor::spawn(None, facade, ()).await?,
        };
        Ok(actor)
    }
}

impl<M: StateMachine> Actor for Facade<M>
where
    M::Query: Clone,
{
    type Msg = FacadeMessage<M>;
    type State = Watcher;
    type Arguments = ();

    async fn pre_start(&self, me: ActorRef<Self::Msg>, (): ()) -> Result<Watcher, ActorProcessingErr> {
        let mut routes = self.0.routes();
        let watching = detach(async move {
            let over = routes.wait_for(|route| route.condition != Condition::Open).await;
            let reason = match over.map(|route| route.condition.clone()) {
                Ok(Condition::Faulted(index)) => format!("the group faulted at index {index}"),
                Ok(Condition::Stopped(detail)) => format!("the node stopped: {detail}"),
                Ok(Condition::Open) | Err(_) => "the node has ended".to_owned(),
            };
            let _ = me.cast(FacadeMessage::Over(reason));
        });
        Ok(Watcher(watching.abort_handle()))
    }

    async fn handle(
        &self,
        me: ActorRef<Self::Msg>,
        message: Self::Msg,
        _watcher: &mut Watcher,
    ) -> Result<(), ActorProcessingErr> {
        let handle = self.0.clone();
        match message {
            FacadeMessage::Propose(command, reply) => drop(detach(async move {
                let _ = reply.send(handle.propose(command).await);
            })),
            FacadeMessage::Query(query, consistency, reply) => drop(detach(async move {
                let _ = reply.send(handle.query(query, consistency).await);
            })),
            FacadeMessage::Over(reason) => me.stop(Some(reason)),
        }
        Ok(())
    }
}

/// Ends the task that watches the group together with its facade.
struct Watcher(tokio::task::AbortHandle);

impl Drop for Watcher {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The task ends by itself: with the answer, or when the group takes no more commands.
#[expect(clippy::disallowed_methods, reason = "an actor that waited here would serve one caller at a time")]
fn detach(work: impl Future<Output = ()> + Send + 'static) -> tokio::task::JoinHandle<()> {
    tokio::spawn(work)
}
