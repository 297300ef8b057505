//! The targets, and what drives them under libFuzzer.

#[path = "../targets/mod.rs"]
mod targets;

/// Runs one input of a target.
///
/// # Panics
/// If something does not hold, or there is no such target.
pub fn run(name: &str, bytes: &[u8]) {
    let target = targets::ALL.iter().find(|target| target.name == name).expect("a target of this name");
    target.run(bytes);
}
