//! An actor around one task: each ends with the other.

use super::messages::TaskMessage;
use crate::task::OwnedTask;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::pin::Pin;

/// The task; it returns the reason of its end.
pub(crate) type Work = Pin<Box<dyn Future<Output = String> + Send>>;

pub(crate) struct TaskActor;

impl Actor for TaskActor {
    type Msg = TaskMessage;
    type State = OwnedTask;
    type Arguments = Work;

    async fn pre_start(
        &self,
        myself: ActorRef<TaskMessage>,
        work: Work,
    ) -> Result<OwnedTask, ActorProcessingErr> {
        let done = |reason| TaskMessage::Ended { reason };
        Ok(OwnedTask::spawn_reporting(myself, work, done, || TaskMessage::Lost))
    }

    async fn handle(
        &self,
        myself: ActorRef<TaskMessage>,
        message: TaskMessage,
        _state: &mut OwnedTask,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            TaskMessage::Ended { reason } => {
                myself.stop(Some(reason));
                Ok(())
            }
            TaskMessage::Lost => Err("its task panicked".into()),
            TaskMessage::Panic => panic!("told to panic"),
        }
    }
}
