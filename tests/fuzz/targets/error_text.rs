//! What must hold of every error that a target meets.

/// An error is for people: its text is not empty and is short.
#[track_caller]
pub(super) fn check(error: &impl std::error::Error) {
    let text = error.to_string();
    assert!(!text.is_empty() && text.len() < 4_096, "the text of an error: {text:?}");
}
