//! Any bytes, in two pieces, through the decoder of a connection.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quorate_bridge::{Inspector, WIRE_FRAME_BYTES_MAX};

const MESSAGE_BYTES_MAX: usize = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    let mut inspector = Inspector::new(MESSAGE_BYTES_MAX);
    let (first, second) = bytes.split_at(bytes.len() / 3);
    let _ = inspector.feed(first).and_then(|_| inspector.feed(second));
    assert!(inspector.held_bytes() <= bytes.len() * 2 + WIRE_FRAME_BYTES_MAX);
});
