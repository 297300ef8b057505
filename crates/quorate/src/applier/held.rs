//! The replies of a job that have not left yet. A worker thread puts them in while the machine runs, and the applier sends them:
//! all together at the end of the job, or what there is every few milliseconds while it lasts. So the reply to a quick command
//! does not wait for a slow one behind it.
//!
//! Shared by one applier and its job. The lock is held to put one reply in, or to take all out. Bound: [`Replies`] sends what
//! is above a megabyte by itself.

use std::sync::{Arc, Mutex, PoisonError};

use quorate_bridge::{Replies, ReplyPort};

use crate::protocol::Response;

#[derive(Clone, Default)]
pub(crate) struct HeldReplies(Arc<Mutex<Replies>>);

impl HeldReplies {
    pub(crate) fn add(&self, port: ReplyPort<Response>, response: &Response) {
        let mut replies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Whose reply cannot be sent has been told.
        let _ = port.send_with(response, &mut replies);
    }

    pub(crate) fn send(&self) {
        let taken = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        // They are sent as they are dropped, outside the lock.
        drop(taken);
    }
}
