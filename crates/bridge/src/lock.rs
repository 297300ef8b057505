//! A std mutex for state shared between handles and the tasks of a connection. The one place that handles poisoning.
//!
//! Invariant: never held across an `.await` and never while a caller's code runs. Poisoning is ignored: every critical
//! section leaves its data consistent at each step, so a panic costs only the actor that panicked.

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
