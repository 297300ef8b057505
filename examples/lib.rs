//! One idea a file: every example is under `examples/` and runs in CI.
