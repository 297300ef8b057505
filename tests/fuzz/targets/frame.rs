//! Any bytes, in pieces, through the decoder of a connection.

use quorate_bridge::{Inspector, WIRE_FRAME_BYTES_MAX};

use super::error_text;

const MESSAGE_BYTES_MAX: usize = 1 << 20;

pub(super) fn run(bytes: &[u8]) {
    let whole = feed(&[bytes]);
    // How the bytes were cut on their way changes nothing.
    let (first, second) = bytes.split_at(bytes.len() / 3);
    assert_eq!(whole, feed(&[first, second]));
}

/// What was found, or what is wrong.
fn feed(pieces: &[&[u8]]) -> Result<usize, String> {
    let mut inspector = Inspector::new(MESSAGE_BYTES_MAX);
    let (mut sent, mut found) = (0, 0);
    for piece in pieces {
        sent += piece.len();
        let result = inspector.feed(piece);
        // What a connection holds is bounded by what was sent to it, whatever the bytes claim.
        assert!(inspector.held_bytes() <= sent * 2 + 1024.min(WIRE_FRAME_BYTES_MAX));
        found += result.inspect_err(error_text::check).map_err(|error| error.to_string())?.len();
    }
    Ok(found)
}
