//! Test tools for quorate.
