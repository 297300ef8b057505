//! What crosses crates is tested here; each file is one test binary.
