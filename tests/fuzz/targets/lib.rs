//! What is fuzzed: each target takes any bytes and asserts what must hold of them. No fuzzer is named here: `libfuzzer.rs`
//! drives these functions, and `replay.rs` replays corpus and past crashes through them.

use peak_alloc::PeakAlloc;

mod command;
mod entries;
mod error_text;
mod frame;
mod message;
mod rest;
mod snapshot;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// One target.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name, and that of its directories in `corpus/` and `crashes/`.
    pub name: &'static str,
    run: fn(&[u8]),
    /// What it may allocate at once, for an empty input; `None` where a whole node runs beside it.
    bytes_max: Option<usize>,
}

/// A decoder's own buffers, and the most that serde reserves on a length's word (1 MiB, once per nested list).
const DECODER: Option<usize> = Some(4 << 20);
/// What a byte of input may cost: a list of one-byte values becomes one of structs.
const BYTES_PER_BYTE: usize = 256;

/// All targets.
pub const ALL: [Target; 6] = [
    Target { name: "frame", run: frame::run, bytes_max: DECODER },
    Target { name: "entries", run: entries::run, bytes_max: DECODER },
    Target { name: "message", run: message::run, bytes_max: DECODER },
    Target { name: "snapshot", run: snapshot::run, bytes_max: DECODER },
    Target { name: "command", run: command::run, bytes_max: DECODER },
    Target { name: "rest", run: rest::run, bytes_max: None },
];

impl Target {
    /// Runs one input. Memory is counted over the whole process, so that only one
    /// target may run at a time.
    ///
    /// # Panics
    /// If something does not hold.
    pub fn run(self, bytes: &[u8]) {
        let before = MEMORY.current_usage();
        MEMORY.reset_peak_usage();
        (self.run)(bytes);
        let took = MEMORY.peak_usage().saturating_sub(before);
        if let Some(bytes_max) = self.bytes_max {
            let allowed = bytes_max + BYTES_PER_BYTE * bytes.len();
            assert!(
                took <= allowed,
                "{} bytes of input took {took} bytes, {allowed} are allowed",
                bytes.len()
            );
        }
    }
}
