//! A test that this machine cannot run says so where it is read, or fails.

use std::fs::OpenOptions;
use std::io::Write;

/// Says why a test is skipped: on its output, which cargo hides, and as a line of the file that `QUORATE_SKIPS` names, which
/// `.ci/run` prints.
///
/// # Panics
///
/// If `QUORATE_NO_SKIP` is set: on a machine that can run everything, what is skipped is a failure.
pub fn skipped(why: &str) {
    println!("SKIPPED: {why}");
    if let Ok(path) = std::env::var("QUORATE_SKIPS") {
        let file = OpenOptions::new().create(true).append(true).open(path);
        file.and_then(|mut file| writeln!(file, "{why}")).expect("the list of what was skipped is written");
    }
    assert!(
        std::env::var_os("QUORATE_NO_SKIP").is_none(),
        "QUORATE_NO_SKIP is set, and this is skipped: {why}"
    );
}
