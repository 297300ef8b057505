//! What a process that is to join asks a cluster from outside: which one it is, and its leader to be taken in.

use std::sync::Arc;

use quorate_bridge::LinkChange;
use quorate_core::Hash;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::client::calls::GroupCalls;
use crate::client::connection::Client;
use crate::error::ChangeError;
use crate::handle::members::answer_there;
use crate::members::{MembersAnswer, MembersCall};
use crate::protocol::Request;

impl Client {
    /// The cluster of the first node that can be reached; otherwise why none can, for each address.
    pub(crate) async fn reach_cluster(&self, deadline: Instant) -> Result<Hash, String> {
        let up = Arc::new(Notify::new());
        let told = up.clone();
        self.inner.bridge.on_link_event(move |event| {
            if matches!(event.change, LinkChange::Up { .. }) {
                told.notify_one();
            }
        });
        loop {
            let links = self.inner.bridge.links();
            if let Some(peer) = links.iter().find_map(|link| link.peer.as_ref()) {
                return Ok(Hash(peer.cluster));
            }
            if timeout_at(deadline, up.notified()).await.is_err() {
                let why = |link: &quorate_bridge::LinkStatus| {
                    link.last_error.clone().unwrap_or_else(|| format!("{}: no answer", link.address))
                };
                return Err(links.iter().map(why).collect::<Vec<_>>().join("; "));
            }
        }
    }

    /// Asks the leader of this group about the members.
    pub(crate) async fn ask_of_members(
        &self,
        calls: &GroupCalls,
        call: MembersCall,
        deadline: Instant,
    ) -> Result<MembersAnswer, ChangeError> {
        let mut rounds = 0;
        loop {
            let response = calls.ask_node(&Request::Membership(call.clone()), &mut rounds, deadline).await;
            let refused = match answer_there(response, &calls.name) {
                Ok(MembersAnswer::NotChanged(
                    refused @ (ChangeError::NotLeader { .. } | ChangeError::Stopped { .. }),
                ))
                | Err(refused @ (ChangeError::NoLeader { .. } | ChangeError::NoSuchGroup { .. })) => refused,
                other => return other,
            };
            if Instant::now() >= deadline {
                return Err(refused);
            }
        }
    }
}
