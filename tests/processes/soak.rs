//! What takes too long for CI: with `QUORATE_SOAK` set, `.ci/soak` asks for it.

/// So long in CI, and so long in the soak.
pub(crate) fn either<T>(in_ci: T, in_soak: T) -> T {
    if std::env::var_os("QUORATE_SOAK").is_some() { in_soak } else { in_ci }
}
