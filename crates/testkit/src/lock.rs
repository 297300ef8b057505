//! The one place of this crate that handles a poisoned lock.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks. Poisoning is ignored: what a lock here guards is whole at each step, also where its holder panicked.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
