//! Locking that goes on after a panic.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks. A panic while it was locked does not matter: each use leaves the value whole, and the panic is reported elsewhere.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
