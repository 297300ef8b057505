//! Any bytes as a Raft message, as they come out of a frame.

use bytes::Bytes;
use quorate_core::Message;

use super::error_text;

pub(super) fn run(input: &[u8]) {
    match Message::decode(&Bytes::copy_from_slice(input)) {
        Ok(message) => {
            let again = Message::decode(&message.encode());
            assert_eq!(again.as_ref().ok(), Some(&message), "what was decoded survives encoding: {again:?}");
        }
        Err(error) => error_text::check(&error),
    }
}
