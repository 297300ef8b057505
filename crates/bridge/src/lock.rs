//! A std mutex for state shared between handles and the tasks of one connection.
//!
//! Invariant: never held across an `.await`, never while calling foreign code. A panic elsewhere must cost its own
//! actor only, so poisoning is ignored: every critical section leaves its data consistent at each step.

use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Default)]
pub(crate) struct Lock<T>(Mutex<T>);

impl<T> Lock<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
