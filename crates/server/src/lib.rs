//! The `quorate` server library.
