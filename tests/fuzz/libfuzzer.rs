//! The fuzzer. `QUORATE_FUZZ_TARGET` names the target, the arguments are libFuzzer's.

#![no_main]

use std::sync::OnceLock;

use quorate_fuzz::{ALL, Target};

static TARGET: OnceLock<Target> = OnceLock::new();

fn target() -> Target {
    let name = std::env::var("QUORATE_FUZZ_TARGET").unwrap_or_default();
    let found = ALL.into_iter().find(|target| target.name == name);
    found
        .unwrap_or_else(|| panic!("QUORATE_FUZZ_TARGET={name:?}: one of {:?}", ALL.map(|target| target.name)))
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| TARGET.get_or_init(target).run(bytes));
