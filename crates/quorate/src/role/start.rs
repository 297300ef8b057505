//! Starts role actors, so that Group names none of them. A second protocol would be chosen here; its messages are in
//! `codec`.

use quorate_core::{Candidate, Follower, NextRole};
use ractor::{Actor, ActorCell, SpawnErr};
use tokio::task::JoinHandle;

use crate::messages::role::RoleRef;
use crate::role::leader::LeaderActor;
pub(crate) use crate::role::runner::RoleStart;
use crate::role::waiting::WaitingActor;

/// The role's name, in actor names and in the log.
pub(crate) fn role_name(role: NextRole) -> &'static str {
    match role {
        NextRole::Follower => "follower",
        NextRole::Candidate { .. } => "candidate",
        NextRole::Leader => "leader",
    }
}

/// Starts the actor of a role as a child of Group.
pub(crate) async fn start_role(
    role: NextRole,
    name: String,
    start: RoleStart,
    group: ActorCell,
) -> Result<(RoleRef, JoinHandle<()>), SpawnErr> {
    Ok(match role {
        NextRole::Follower => {
            let actor = WaitingActor::<Follower>::new(false);
            let (actor, join) = Actor::spawn_linked(Some(name), actor, start, group).await?;
            (RoleRef::Follower(actor), join)
        }
        NextRole::Candidate { forced } => {
            let actor = WaitingActor::<Candidate>::new(forced);
            let (actor, join) = Actor::spawn_linked(Some(name), actor, start, group).await?;
            (RoleRef::Candidate(actor), join)
        }
        NextRole::Leader => {
            let (actor, join) = Actor::spawn_linked(Some(name), LeaderActor, start, group).await?;
            (RoleRef::Leader(actor), join)
        }
    })
}
