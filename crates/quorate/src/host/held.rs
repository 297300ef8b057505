//! The replies of a job that have not left yet. A worker thread puts them in while the machine runs, and the task of the job
//! sends them:
//! all together at the end of the job, or what there is every few milliseconds while it lasts. So the reply to a quick command
//! does not wait for a slow one behind it.
//!
//! Shared by one applier and its job. The lock is held to put one reply in, or to take all out. Bound: [`Replies`] sends what
//! is above a megabyte by itself.

use std::sync::{Arc, Mutex};

use quorate_bridge::{Replies, ReplyPort};

use crate::lock::lock;
use crate::protocol::Response;

#[derive(Clone, Default)]
pub(crate) struct HeldReplies(Arc<Mutex<Replies>>);

impl HeldReplies {
    pub(crate) fn add(&self, port: ReplyPort<Response>, response: &Response) {
        let mut replies = lock(&self.0);
        // The caller was told if its answer could not be queued.
        let _ = port.send_with(response, &mut replies);
    }

    pub(crate) fn send(&self) {
        let taken = std::mem::take(&mut *lock(&self.0));
        // They are sent as they are dropped, outside the lock.
        drop(taken);
    }
}
